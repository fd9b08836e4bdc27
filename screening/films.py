"""The files of a folder: every one of them, each named once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# A name that is not UTF-8 reaches Python with surrogates, which no database or CSV can hold.
# They are moved to the private-use area and back; see `film_path`.
_SURROGATES: Final = 0xDC00
_PRIVATE_USE: Final = 0xF700
_UNDECODABLE: Final = range(0x80, 0x100)
_TO_TEXT: Final = {_SURROGATES + byte: _PRIVATE_USE + byte for byte in _UNDECODABLE}
_TO_NAME: Final = {text: name for name, text in _TO_TEXT.items()}


@dataclass(frozen=True, order=True)
class Found:
    """One entry of a folder.

    Attributes:
        film: path relative to the folder, with POSIX slashes.
        size: bytes; 0 for what is not a file.
        is_file: False for links that leave the folder, pipes, sockets and devices.
    """

    film: str
    size: int
    is_file: bool = True


def discover(folder: Path) -> list[Found]:
    """Every file below `folder`, with or without a suffix, hidden or not, sorted by path.

    Folders are walked; a link to a folder is an entry of its own, because following it could
    leave the folder or never end.

    Raises:
        OSError: if a folder cannot be listed; a film must not be missed silently.
    """
    root = os.path.realpath(folder)
    found: list[Found] = []
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    found.append(_found(entry, folder, root))
    return sorted(found)


def film_path(folder: Path, film: str) -> Path:
    """Where the film with this name is; the inverse of the name that :func:`discover` gave."""
    path = folder / film
    return path if path.exists() else folder / film.translate(_TO_NAME)


def _found(entry: "os.DirEntry[str]", folder: Path, root: str) -> Found:
    film = Path(entry.path).relative_to(folder).as_posix().translate(_TO_TEXT)
    if entry.is_symlink():
        inside = os.path.realpath(entry.path).startswith(root + os.sep)
        if not (inside and entry.is_file()):
            return Found(film, 0, is_file=False)
    elif not entry.is_file():
        return Found(film, 0, is_file=False)
    return Found(film, entry.stat().st_size)
