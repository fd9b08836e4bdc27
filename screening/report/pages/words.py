"""Values as a page writes them."""

from typing import Final

from screening.printable import printable

#: Where there is no value.
DASH: Final = "\N{EN DASH}"

# A path may have 4,096 letters, each of which takes six in HTML.
_LONGEST: Final = 160


def shown(text: str, longest: int = _LONGEST) -> str:
    """Text from outside: nothing invisible, and what is too long is cut in its middle."""
    text = printable(text)
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}\N{HORIZONTAL ELLIPSIS}{text[-(longest // 2) :]}"


def number(value: float | None, digits: int = 3) -> str:
    """With so many decimals."""
    return DASH if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """A whole number, thousands set apart."""
    return DASH if value is None else f"{value:,.0f}"


def counted(value: int, one: str, many: str = "") -> str:
    """A number with what it counts: ``1 film``, ``2,000 films``."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def between(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval; nothing if there is none."""
    if low is None or high is None:
        return ""
    return f"{low:.{digits}f}{DASH}{high:.{digits}f}"
