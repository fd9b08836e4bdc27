"""Text from outside, for people: a file may be called anything."""


def printable(text: str) -> str:
    """The same on one line, and without anything that a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
