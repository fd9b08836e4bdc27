"""Files and folders: discovery, hashes, names for people, folders that appear whole, the clock."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Final

# A name that is not UTF-8 reaches Python with surrogates, which no database or CSV can hold. They
# are moved to the private-use area and back; a private-use letter that was there is marked.
_MARK: Final = "\uf700"
_TO_TEXT: Final = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)} | {
    letter: _MARK + chr(letter) for letter in (0xF700, *range(0xF780, 0xF800))
}
_MOVED: Final = re.compile("\uf700(.)|([\uf780-\uf7ff])")


@dataclass(frozen=True, order=True)
class Found:
    """One entry of a folder.

    Attributes:
        film: path relative to the folder, with POSIX slashes.
        size: bytes; 0 for what is not a file.
        is_file: False for links that leave the folder, pipes, sockets and devices.
        modified_ns: when its content last changed, nanoseconds since 1970 in UTC, 64 bits with
            sign; 0 if that is not known, for what is not a file and for what has vanished. Two
            that differ in this alone are equal.
    """

    film: str
    size: int
    is_file: bool = True
    modified_ns: int = field(default=0, compare=False)


def discover(folder: Path) -> list[Found]:
    """Every file below `folder`, with or without a suffix, hidden or not, sorted by path.

    Folders are walked; a link to a folder is an entry of its own, because following it could
    leave the folder or never end.

    Raises:
        OSError: if a folder cannot be listed; a film must not be missed silently.
    """
    found: list[Found] = []
    waiting = [folder]
    while waiting:
        walked = waiting.pop()
        try:
            entries = os.scandir(walked)
        except FileNotFoundError:
            if walked == folder:
                raise
            # It was taken away, with all that was in it, since the folder above was listed.
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    found.append(_found(entry, folder))
    return sorted(found)


def film_path(folder: Path, film: str) -> Path:
    """Where the film with this name is; the inverse of the name that :func:`discover` gave."""
    return folder / path_of(film)


def text_of(path: str) -> str:
    """A path or name as text that any database or CSV can hold."""
    return path.translate(_TO_TEXT)


def path_of(text: str) -> str:
    """The path or name that :func:`text_of` was given."""
    return _MOVED.sub(lambda match: match[1] or chr(ord(match[2]) - 0xF700 + 0xDC00), text)


def modified_ns(status: os.stat_result) -> int:
    """When it was last modified, nanoseconds since 1970; 0 if no 64 bits with sign can hold that."""
    # A clock that is wrong writes any year, and after 2262 no database holds the nanoseconds.
    time = status.st_mtime_ns
    return time if -(2**63) <= time < 2**63 else 0


def found_at(path: Path) -> Found:
    """The file `path`, as :func:`discover` would give it for the folder that it lies in."""
    status = path.stat()
    return Found(text_of(path.name), status.st_size, modified_ns=modified_ns(status))


def is_inside(path: Path, folder: Path) -> bool:
    """True if `path` is in `folder` when all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _found(entry: "os.DirEntry[str]", folder: Path) -> Found:
    film = text_of(Path(entry.path).relative_to(folder).as_posix())
    if entry.is_symlink():
        inside = is_inside(Path(entry.path), folder)
        is_file = inside and os.path.isfile(entry.path)  # noqa: PTH113  # never raises
    else:
        is_file = entry.is_file(follow_symlinks=False)
    if not is_file:
        return Found(film, 0, is_file=False)
    try:
        status = entry.stat()
    except FileNotFoundError:
        # It was here a moment ago; reading it will say that it vanished.
        return Found(film, 0)
    return Found(film, status.st_size, modified_ns=modified_ns(status))


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Give a folder aside to write into; rename it to `folder` when the block ends well.

    Everything is on the disk before the name changes, so a crash leaves all or nothing. What a crash
    left is cleared away by the next who writes the same folder. Two may write it at once, one of them
    late: the folder is that of one, and the other has an error.

    Raises:
        OSError: if `folder` holds something already, or cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{escape(folder.name)}.{'[0-9a-f]' * 8}.partial"):
        _clear(left, _aside(folder))
    aside = _aside(folder)
    aside.mkdir()
    try:
        yield aside
        for path in [*aside.rglob("*"), aside]:
            sync(path)
        aside.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _aside(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"


def _clear(left: Path, doomed: Path) -> None:
    # Renamed first: who still writes it must not rename it to its place while it is emptied.
    with suppress(OSError):
        left.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def sync(path: Path) -> None:
    """What was written to a file, or into a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def display_name(text: str) -> str:
    """The same on one line, and without anything that a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def now() -> str:
    """The current time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
