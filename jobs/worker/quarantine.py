"""Copy failed and refused films to a quarantine folder, each with a file that gives the reason."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Final

from jobs.errors import QuarantineError
from screening.errors import NotAFilm, UnreadableFilm
from screening.files import film_path, is_inside, sync
from screening.inference.reader import hash_of, pieces
from screening.results import Row, Status

_REASON: Final = ".reason.txt"


def quarantine(
    rows: Iterable[Row], folder: Path, into: Path, shown_name: Callable[[str], str]
) -> int:
    """Copy failed and refused films out of `folder`, which is only read.

    A copy has the content and modification time of the film and mode 0600, and keeps the film's
    relative path, under its shown name. Next to it, ``NAME.reason.txt`` gives the film's status and
    reason, the SHA-256 of the screened content, and whether the copy has the same content. For a
    film that is missing, or is not a regular file inside the folder, only this file is written.
    Films that the job did not reach (``not_screened``) are left out, because nothing is known to be
    wrong with them.

    Copies and reason files appear atomically, and are flushed to disk before the function returns.
    Correct files of an earlier call are kept, so it may be called again after a crash.

    Args:
        rows: all rows of one job, with the films' names in `folder`.
        into: a folder for this job only, outside `folder`; created with mode 0700. While the
            function runs, a hidden folder next to it, on the same disk, holds partial files.
        shown_name: returns the name under which a film may be shown.

    Returns:
        The number of films in quarantine.

    Raises:
        QuarantineError: with the shown name of the first film that could not be copied, and the
            cause. The other films are copied all the same, so that they can be inspected.
    """
    kept = [row for row in rows if _is_wanted(row)]
    shown = [shown_name(row.film) for row in kept]
    if not kept:
        return 0
    writer = _Writer(folder, into, into.with_name(f".{into.name}.partial"))
    errors = []
    try:
        writer.open()
        for row, name, reason in zip(kept, shown, reason_names(shown), strict=True):
            try:
                writer.take(row, name, reason)
            except OSError as error:
                errors.append(f"{into / name}: {error.strerror}")
        writer.sync()
    except OSError as error:
        raise QuarantineError(f"{into} cannot be written: {error.strerror}") from error
    finally:
        writer.clear()
    if errors:
        raise QuarantineError(
            f"{len(errors)} of {len(kept)} films could not be copied to {into}; the first: {errors[0]}"
        )
    return len(kept)


def reason_names(films: Sequence[str]) -> list[str]:
    """Return the name of each film's reason file: ``FILM.reason.txt`` where possible.

    If a film, or a folder that contains films, has that name itself, the reason file is
    ``FILM.reason-2.txt``. The names are the same for the same films.
    """
    taken = set(films)
    for film in films:
        taken.update(str(parent) for parent in PurePosixPath(film).parents)
    names = []
    for film in films:
        free = (name for name in _candidates(film) if name not in taken)
        names.append(next(free))
        taken.add(names[-1])
    return names


@dataclass(frozen=True)
class _Writer:
    """Writes copies into a quarantine folder.

    Attributes:
        folder: source folder.
        aside: folder for copies until they are complete.
    """

    folder: Path
    into: Path
    aside: Path

    def open(self) -> None:
        """Create the folders and remove partial files left by a killed process."""
        self.clear()
        self.into.parent.mkdir(parents=True, exist_ok=True)
        self.into.mkdir(mode=0o700, exist_ok=True)
        self.aside.mkdir(mode=0o700)

    def take(self, row: Row, shown: str, reason: str) -> None:
        """Copy one film and write its reason file."""
        place = film_path(self.into, shown)
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (
            f"film: {shown if shown.isprintable() else ascii(shown)}\n"
            f"status: {row.status.value}\n"
            f"reason: {row.reason}\n"
            f"sha256: {row.sha256 or 'none, the film could not be read'}\n"
            f"copy: {self._copy(row, place)}\n"
        )
        self._put([text.encode()], film_path(self.into, reason))

    def sync(self) -> None:
        """Flush all directory entries to disk."""
        for path, _folders, _files in os.walk(self.into):
            sync(Path(path))
        sync(self.into.parent)

    def clear(self) -> None:
        """Remove partial files."""
        shutil.rmtree(self.aside, ignore_errors=True)

    def _copy(self, row: Row, place: Path) -> str:
        """Copy the film if possible, and describe how the copy relates to the row."""
        sha256 = hash_of(place)
        if not sha256 or sha256 != row.sha256:
            film = film_path(self.folder, row.film)
            try:
                if row.reason_code == "not_followed" or not is_inside(film, self.folder):
                    raise NotAFilm
                sha256 = self._put(pieces(film), place, like=film)
            except NotAFilm:
                return "none, the film is not a regular file inside the folder"
            except UnreadableFilm as error:
                # An earlier call may have copied it in time.
                if not sha256:
                    return f"none, {error.code} {error.detail}".rstrip()
        return "as screened" if sha256 == row.sha256 else f"not as screened, SHA-256 {sha256}"

    def _put(self, content: Iterable[bytes], place: Path, like: Path | None = None) -> str:
        """Write a file atomically unless an identical one exists; return its SHA-256 in hex."""
        digest = hashlib.sha256()
        # A unique name: a worker that has lost the job may still be writing the same file.
        handle, name = tempfile.mkstemp(dir=self.aside)
        with os.fdopen(handle, "wb") as file:
            for piece in content:
                digest.update(piece)
                file.write(piece)
            file.flush()
            if like is not None:
                _date(handle, like)
            os.fsync(handle)
        if hash_of(place) != digest.hexdigest():
            Path(name).replace(place)
        return digest.hexdigest()


def _is_wanted(row: Row) -> bool:
    status = row.status in (Status.FAILED, Status.REFUSED)
    return status and row.reason_code != "not_screened"


def _candidates(film: str) -> Iterable[str]:
    yield film + _REASON
    for number in count(2):
        yield f"{film}.reason-{number}.txt"


def _date(copy: int, film: Path) -> None:
    """Give a copy the modification time of the film, which may have been deleted by now."""
    with suppress(OSError):
        modified = film.stat().st_mtime_ns
        os.utime(copy, ns=(modified, modified))
