"""Set aside copies of the films that were failed or refused, each with the reason beside it."""

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
    """Copy films that were failed or refused out of `folder`, which is only read.

    A copy has the content and the time of the film and mode 0600, and lies where the film lay, by
    its shown name. Beside it is ``NAME.reason.txt``: what became of the film and why, the SHA-256
    that was screened, and whether the copy is the same. A film that is no regular file inside the
    folder, or is gone, has only that. Films that a job did not reach (``not_screened``) are left
    out: nothing is known against them.

    Copies and reasons appear whole, and are on the disk at the end. What an earlier try left is
    kept where it is right, so it may be called again after a crash.

    Args:
        rows: of one job, all of them, by the names that the films have in `folder`.
        into: a folder of this job alone, outside `folder`; made with mode 0700. While this runs,
            there is a hidden one beside it, on the same disk.
        shown_name: how a film may be named.

    Returns:
        How many films are in quarantine.

    Raises:
        QuarantineError: naming the first film, as shown, that could not be set aside, and the
            cause. The others are there: one film must not keep the rest from being looked at.
    """
    kept = [row for row in rows if _is_wanted(row)]
    shown = [shown_name(row.film) for row in kept]
    if not kept:
        return 0
    ward = _Ward(folder, into, into.with_name(f".{into.name}.partial"))
    errors = []
    try:
        ward.open()
        for row, name, reason in zip(kept, shown, reason_names(shown), strict=True):
            try:
                ward.take(row, name, reason)
            except OSError as error:
                errors.append(f"{into / name}: {error.strerror}")
        ward.sync()
    except OSError as error:
        raise QuarantineError(f"{into} cannot be written: {error.strerror}") from error
    finally:
        ward.clear()
    if errors:
        raise QuarantineError(
            f"{len(errors)} of {len(kept)} films could not be set aside; the first is {errors[0]}"
        )
    return len(kept)


def reason_names(films: Sequence[str]) -> list[str]:
    """What the file with the reason for each film is called: ``FILM.reason.txt`` where it can be.

    A film, or a folder with films, may have that name itself; then it is ``FILM.reason-2.txt``.
    The same films have the same names again.
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
class _Ward:
    """Where films are set aside.

    Attributes:
        folder: where they come from.
        aside: where copies wait until they are whole.
    """

    folder: Path
    into: Path
    aside: Path

    def open(self) -> None:
        """Make the folders; what a killed process left half done goes away."""
        self.clear()
        self.into.parent.mkdir(parents=True, exist_ok=True)
        self.into.mkdir(mode=0o700, exist_ok=True)
        self.aside.mkdir(mode=0o700)

    def take(self, row: Row, shown: str, reason: str) -> None:
        """Set one film aside."""
        place = film_path(self.into, shown)
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (
            f"film: {shown if shown.isprintable() else ascii(shown)}\n"
            f"status: {row.status.value}\n"
            f"reason: {row.reason}\n"
            f"sha256: {row.sha256 or 'none, it could not be read'}\n"
            f"copy: {self._copy(row, place)}\n"
        )
        self._put([text.encode()], film_path(self.into, reason))

    def sync(self) -> None:
        """All names are on the disk."""
        for path, _folders, _files in os.walk(self.into):
            sync(Path(path))
        sync(self.into.parent)

    def clear(self) -> None:
        """Nothing is half done any more."""
        shutil.rmtree(self.aside, ignore_errors=True)

    def _copy(self, row: Row, place: Path) -> str:
        """Copy the film, if it can be, and say how the copy relates to the row."""
        sha256 = hash_of(place)
        if not sha256 or sha256 != row.sha256:
            film = film_path(self.folder, row.film)
            try:
                if row.reason.startswith("not_followed:") or not is_inside(film, self.folder):
                    raise NotAFilm
                sha256 = self._put(pieces(film), place, like=film)
            except NotAFilm:
                return "none, it is no regular file inside the folder"
            except UnreadableFilm as error:
                # An earlier try may have been in time.
                if not sha256:
                    return f"none, {error.code} {error.detail}".rstrip()
        return "what was screened" if sha256 == row.sha256 else f"another content, SHA-256 {sha256}"

    def _put(self, content: Iterable[bytes], place: Path, like: Path | None = None) -> str:
        """Write a whole file, unless the same is there already; its SHA-256 as 64 hex digits."""
        digest = hashlib.sha256()
        # Another name each time: a worker that lost its job may be at it, too.
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
    return status and not row.reason.startswith("not_screened:")


def _candidates(film: str) -> Iterable[str]:
    yield film + _REASON
    for number in count(2):
        yield f"{film}.reason-{number}.txt"


def _date(copy: int, film: Path) -> None:
    """Give a copy the time of the film, which may be gone by now."""
    with suppress(OSError):
        modified = film.stat().st_mtime_ns
        os.utime(copy, ns=(modified, modified))
