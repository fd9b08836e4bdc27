"""Folders that appear whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
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
