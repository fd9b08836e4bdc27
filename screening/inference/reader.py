"""Read one file into a tensor: bytes, header gate, decoding, pixel gate, preprocessing."""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Final, Protocol, Self

from screening.errors import NotAFilm, UnreadableFilm
from screening.files import Found, film_path, is_inside
from screening.imaging.film import DecodeLimits, Film, Header
from screening.imaging.readers import open_film
from screening.inference.costs import Cost, Stopwatch
from screening.inference.header_gate import refuse_by_header, refuse_by_pixels
from screening.model.preprocess import Preprocessing, Tensor
from screening.results import FilmWarning, Reason, Status

#: Larger files are not read into memory. A 17 x 17 inch film at 100 um and 16 bit has 37 MB.
MAX_BYTES: Final = 1_000_000_000

_PIECE: Final = 1024**2


@dataclass(frozen=True, eq=False)
class ReadFilm:
    """A film that was read: either a tensor to score, or the reason why there is none.

    Attributes:
        rows: rows of the decoded film; 0 if it was not decoded.
        columns: columns of the decoded film; 0 if it was not decoded.
        decoding: how it was decoded; see :class:`~screening.imaging.film.Decoded`.
        cost: cost of the stages so far.
    """

    film: str
    sha256: str = ""
    header: Header = field(default_factory=Header)
    status: Status = Status.SCORED
    reason: Reason | None = None
    tensor: Tensor | None = None
    tensor_sha256: str = ""
    warnings: tuple[FilmWarning, ...] = ()
    seconds: float = 0.0
    rows: int = 0
    columns: int = 0
    decoding: str = ""
    cost: Cost = field(default_factory=Cost)


class FilmReader(Protocol):
    """Reads the films of one folder."""

    @property
    def folder(self) -> Path:
        """The folder of the films."""

    @property
    def recipe(self) -> "Reader":
        """A reader that gives the same results and can be sent to another machine."""

    def known(self, found: Found) -> ReadFilm | None:
        """Return what this machine knows of a film without decoding it; None if it must be read."""

    def read(self, found: Found) -> ReadFilm:
        """Read, decode, gate and preprocess one film. Never raises because of a file's content."""

    def close(self) -> None:
        """Release the resources used for reading."""


@dataclass(frozen=True)
class Reader:
    """Reads films in the current process: for plain formats, and inside a decoder process.

    Attributes:
        folder: the folder of the films.
        preprocessing: preprocessing of the model that they are read for.
        exact: decode every film in full.
    """

    folder: Path
    preprocessing: Preprocessing
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    exact: bool = False

    @property
    def recipe(self) -> Self:
        """Itself."""
        return self

    def known(self, _found: Found) -> None:
        """Return None: every film must be read."""

    def read(self, found: Found) -> ReadFilm:
        """Read, decode, gate and preprocess one film; see :class:`FilmReader`.

        Raises:
            MemoryError: if memory runs out; every other problem becomes a status and a reason.
        """
        started, watch = time.perf_counter(), Stopwatch()
        path = film_path(self.folder, found.film)
        # A link may have replaced the file since it was listed.
        if not found.is_file or not is_inside(path, self.folder):
            return refused(found.film, "not_followed")
        try:
            data = read_file(path)
        except NotAFilm:
            return refused(found.film, "not_followed")
        except UnreadableFilm as error:
            return failed(found.film, error)
        sha256 = hashlib.sha256(data).hexdigest()
        reading = watch.lap()
        opened = self._opened(found.film, sha256, data)
        del data  # it may be as large as the decoded film
        read = (
            self._prepared(found.film, sha256, opened, watch)
            if isinstance(opened, Film)
            else opened
        )
        # The lap holds decoding time only if the film was refused or failed.
        cost = read.cost + Cost(reading=reading, decoding=watch.lap())
        return replace(read, seconds=time.perf_counter() - started, cost=cost)

    def close(self) -> None:
        """Do nothing: there are no resources to release."""

    def _opened(self, name: str, sha256: str, data: bytes) -> Film | ReadFilm:
        """Return a film to decode, or the result for one that is refused or failed."""
        try:
            film = open_film(data, name, max_pixels=self.limits.pixels)
        except NotAFilm as error:
            return refused(name, "not_image", str(error), sha256)
        except UnreadableFilm as error:
            return failed(name, error, sha256)
        refusal = refuse_by_header(film.header)
        # No later stage needs the free texts, and they may hold names.
        film = replace(film, header=film.header.without_text())
        if refusal is not None:
            return ReadFilm(name, sha256, film.header, Status.REFUSED, refusal)
        return film

    def _prepared(self, name: str, sha256: str, film: Film, watch: Stopwatch) -> ReadFilm:
        try:
            decoded = film.decoded(None if self.exact else self.preprocessing.side)
        except UnreadableFilm as error:
            return failed(name, error, sha256, film.header)
        cost = Cost(decoding=watch.lap())
        read = ReadFilm(
            name,
            sha256,
            film.header,
            warnings=decoded.warnings,
            rows=decoded.rows,
            columns=decoded.columns,
            decoding=decoded.decoding,
        )
        refusal = refuse_by_pixels(decoded)
        if refusal is not None:
            return replace(read, status=Status.REFUSED, reason=refusal, warnings=(), cost=cost)
        tensor = self.preprocessing.normalise(self.preprocessing.shown(decoded))
        digest = hashlib.sha256(tensor.tobytes()).hexdigest()
        cost += Cost(preparing=watch.lap())
        return replace(read, tensor=tensor, tensor_sha256=digest, cost=cost)


def read_file(path: Path, most: int | None = None) -> bytes:
    """Return the bytes of a regular file, or its first `most` bytes.

    Raises:
        NotAFilm: if a pipe, socket or device has replaced the file; this never blocks on one.
        UnreadableFilm: if the file is gone, cannot be opened, or is larger than :data:`MAX_BYTES`.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is None and size > MAX_BYTES:
            raise UnreadableFilm("too_large", f"{size:,} bytes")
        return file.read(most)


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a regular file of any size, one mebibyte at a time.

    Raises:
        NotAFilm: as in :func:`read_file`.
        UnreadableFilm: if the file is gone or cannot be read.
    """
    with _opened(path) as file:
        while piece := file.read(_PIECE):
            yield piece


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits; empty if it cannot be read."""
    try:
        with _opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (NotAFilm, UnreadableFilm):
        return ""


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotAFilm("not a regular file")
            yield file
    except FileNotFoundError as error:
        raise UnreadableFilm("vanished", "") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without a driver
            raise NotAFilm("not a regular file") from error
        raise UnreadableFilm("unreadable", error.strerror or type(error).__name__) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def refused(film: str, code: str, detail: str = "", sha256: str = "") -> ReadFilm:
    """Return a film that is refused: it is not one for this model."""
    return ReadFilm(film, sha256, status=Status.REFUSED, reason=Reason(code, detail))


def failed(
    film: str,
    error: UnreadableFilm,
    sha256: str = "",
    header: Header | None = None,
    seconds: float = 0.0,
) -> ReadFilm:
    """Return a film that could not be read."""
    why = Reason(error.code, error.detail)
    return ReadFilm(film, sha256, header or Header(), Status.FAILED, why, seconds=seconds)
