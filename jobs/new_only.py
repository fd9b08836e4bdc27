"""Films that a finished job has scored are not screened again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.folder import hash_now
from screening.films import Found
from screening.reading import FilmReader, Reader, ReadFilm
from screening.reasons import reason
from screening.row import Status


@dataclass(frozen=True)
class NewOnly:
    """A :class:`~screening.reading.FilmReader` that reads only what is new.

    Attributes:
        scored_before: the job that has scored the file with this hash, or ``""``.
    """

    reader: FilmReader
    scored_before: Callable[[str], str]

    @property
    def folder(self) -> Path:
        """Where the films are."""
        return self.reader.folder

    @property
    def recipe(self) -> Reader:
        """What reads the new ones."""
        return self.reader.recipe

    def known(self, found: Found) -> ReadFilm | None:
        """A film whose very bytes were scored before."""
        sha256 = hash_now(self.folder, found)
        job = self.scored_before(sha256) if sha256 else ""
        if not job:
            return None
        why = reason("already_screened", f"job {job}")
        return ReadFilm(found.film, sha256, status=Status.DUPLICATE, reason=why)

    def read(self, found: Found) -> ReadFilm:
        """Read one film, unless it is known."""
        return self.known(found) or self.reader.read(found)

    def close(self) -> None:
        """Let go of what reading needed."""
        self.reader.close()
