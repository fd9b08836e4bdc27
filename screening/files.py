"""File discovery, display names, atomic directories and timestamps."""

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

# Names that are not UTF-8 reach Python with surrogates, which no database or CSV can store. The
# surrogates are mapped to the private-use area and back; existing private-use letters are escaped.
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
        size: bytes; 0 if the entry is not a file.
        is_file: False for links that point outside the folder, pipes, sockets and devices.
        modified_ns: time of the last modification, nanoseconds since 1970 in UTC, signed 64 bits; 0
            if it is unknown, if the entry is not a file, or if the file has vanished. Ignored when
            entries are compared.
    """

    film: str
    size: int
    is_file: bool = True
    modified_ns: int = field(default=0, compare=False)


def discover(folder: Path) -> list[Found]:
    """List every file below `folder`, with or without a suffix, hidden or not, sorted by path.

    Folders are searched recursively. A link to a folder is an entry of its own, because following
    it could leave the folder or never end.

    Raises:
        OSError: if a folder cannot be listed; a film must not be missed silently.
    """
    found: list[Found] = []
    pending = [folder]
    while pending:
        directory = pending.pop()
        try:
            entries = os.scandir(directory)
        except FileNotFoundError:
            if directory == folder:
                raise
            # The folder was deleted, with its contents, after its parent was listed.
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    found.append(_found(entry, folder))
    return sorted(found)


def film_path(folder: Path, film: str) -> Path:
    """Return the path of a film; the inverse of the name that :func:`discover` returns."""
    return folder / path_of(film)


def text_of(path: str) -> str:
    """Return a path or name as text that any database or CSV can store."""
    return path.translate(_TO_TEXT)


def path_of(text: str) -> str:
    """Return the path or name that was passed to :func:`text_of`."""
    return _MOVED.sub(lambda match: match[1] or chr(ord(match[2]) - 0xF700 + 0xDC00), text)


def modified_ns(status: os.stat_result) -> int:
    """Return the modification time, nanoseconds since 1970; 0 if it does not fit signed 64 bits."""
    # A wrong clock can write any year; after 2262 the nanoseconds no longer fit a database column.
    time = status.st_mtime_ns
    return time if -(2**63) <= time < 2**63 else 0


def found_at(path: Path) -> Found:
    """Return the entry that :func:`discover` would return for the file `path` in its own folder."""
    status = path.stat()
    return Found(text_of(path.name), status.st_size, modified_ns=modified_ns(status))


def is_inside(path: Path, folder: Path) -> bool:
    """Return True if `path` is in `folder` after all links are resolved."""
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
        # The file vanished after it was listed; reading it will report that.
        return Found(film, 0)
    return Found(film, status.st_size, modified_ns=modified_ns(status))


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; rename it to `folder` when the block succeeds.

    All files are synced to disk before the rename, so a crash leaves either everything or nothing.
    The next writer of the same folder removes leftovers of a crash. If two processes write the
    same folder at the same time, one of them succeeds and the other one gets an error.

    Raises:
        OSError: if `folder` exists and is not empty, or cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f".{escape(folder.name)}.{'[0-9a-f]' * 8}.partial"):
        _clear(leftover, _temporary_path(folder))
    temporary = _temporary_path(folder)
    temporary.mkdir()
    try:
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            sync(path)
        temporary.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _temporary_path(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"


def _clear(leftover: Path, doomed: Path) -> None:
    # Rename first, so that a process that still writes here cannot publish a half-deleted folder.
    with suppress(OSError):
        leftover.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def display_name(text: str) -> str:
    """Return the text on one line, with terminal control characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def now() -> str:
    """Return the current time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
