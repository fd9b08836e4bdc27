"""Films that a finished job has scored are not screened again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.folder import hash_now
from screening.films import Found
from screening.reading import FilmReader, ReadFilm
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

    def read(self, found: Found) -> ReadFilm:
        """Read one film, unless its very bytes were scored before."""
        sha256 = hash_now(self.folder, found)
        job = self.scored_before(sha256) if sha256 else ""
        if job:
            why = reason("already_screened", f"job {job}")
            return ReadFilm(found.film, sha256, status=Status.DUPLICATE, reason=why)
        return self.reader.read(found)

    def close(self) -> None:
        """Let go of what reading needed."""
        self.reader.close()
