"""Read labelled films into arrays."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.errors import NotAFilm, TrainingDataError, UnreadableFilm
from screening.imaging.film import Decoded, Film, Grey
from screening.imaging.readers import open_film
from screening.imaging.sniff import kind_of
from screening.model.preprocess import Preprocessing
from screening.results import CLASSES
from screening.training.data.manifest import LabelledFilm

Labels = npt.NDArray[np.int64]

#: Shape (n, rows, columns) or (rows, columns), 0..255. Augmentation works on bytes, which need a
#: quarter of the memory.
Bytes = npt.NDArray[np.uint8]

#: Rows and columns to which a film for training, validation or test is reduced before it is resized
#: to the model's size. Collections come in different sizes: if a model smaller than this read large
#: films directly, those would be sharper than films stored at this size. Sharpness would then
#: reveal the source, and with it the class.
COMMON_SIDE: Final = 224

# Maximum number of films from elsewhere for the gate.
_ENOUGH: Final = 1200

# Maximum share of unreadable films; with more, something else is wrong.
_MOST_UNREADABLE: Final = 0.2


@dataclass(frozen=True)
class Source:
    """Properties of a film's file.

    Attributes:
        sha256: hash of the whole file, in hex.
        kind: file format, from :mod:`screening.imaging.sniff`.
        size: in bytes.
        rows: rows of the film as displayed, before it is resized to the model's size.
        columns: columns of the film as displayed, in the same way.
    """

    sha256: str
    kind: str
    size: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Unreadable:
    """A film that was left out, and the reason."""

    film: LabelledFilm
    reason: str


@dataclass(frozen=True, eq=False)
class Collection:
    """All readable films, each read once.

    Attributes:
        films: in the order in which they were given.
        greys: grey values at the model's size, shape (n, rows, columns), 0..255.
        sources: properties of the files.
        unreadable: films that were left out.
    """

    films: list[LabelledFilm]
    greys: Bytes
    sources: list[Source]
    unreadable: list[Unreadable]

    @property
    def sha256(self) -> list[str]:
        """Hash of each film's file, in hex."""
        return [source.sha256 for source in self.sources]

    def indices(self, films: Iterable[LabelledFilm]) -> Labels:
        """Indices of `films` in :attr:`films`, matched by name, shape (n,)."""
        at = {film.name: index for index, film in enumerate(self.films)}
        return np.array([at[film.name] for film in films], np.int64)


def read_collection(
    films: list[LabelledFilm],
    preprocessing: Preprocessing,
    pool: Executor,
    progress: Callable[[int, int], None] = lambda _done, _films: None,
) -> Collection:
    """Read every film once, for training and for the data report.

    A film that cannot be read is left out.

    Args:
        progress: receives the number of finished films and the number of all films.

    Raises:
        TrainingDataError: if more than a fifth of the films, or all films of a class, cannot be
            read, or if two films with different labels are the same file.
    """
    greys = np.empty((len(films), preprocessing.rows, preprocessing.columns), np.uint8)
    kept: list[LabelledFilm] = []
    sources: list[Source] = []
    unreadable: list[Unreadable] = []
    reads = pool.map(_read, [film.path for film in films], [preprocessing] * len(films))
    for done, (film, read) in enumerate(zip(films, reads, strict=True), start=1):
        if isinstance(read, str):
            unreadable.append(Unreadable(film, read))
        else:
            greys[len(kept)], source = read
            kept.append(film)
            sources.append(source)
        progress(done, len(films))
    _refuse_too_many_unreadable(kept, unreadable)
    _refuse_two_labels(kept, sources)
    return Collection(kept, greys[: len(kept)], sources, unreadable)


def _read(path: Path, preprocessing: Preprocessing) -> tuple[Bytes, Source] | str:
    """A film at the model's size and the properties of its file, or why it cannot be read."""
    try:
        data = path.read_bytes()
        grey, film = _reduced_first(open_film(data, path.name), preprocessing)
    except OSError as error:
        return error.strerror or "it cannot be opened"
    except (NotAFilm, UnreadableFilm) as error:
        return str(error)
    sha256, kind = hashlib.sha256(data).hexdigest(), kind_of(data[:132], path.name) or ""
    source = Source(sha256, kind, len(data), film.rows, film.columns)
    return np.rint(grey * 255).astype(np.uint8), source


def _reduced_first(film: Film, preprocessing: Preprocessing) -> tuple[Grey, Decoded]:
    """A film at the model's size, first reduced to :data:`COMMON_SIDE` if larger; and the original.

    Raises:
        UnreadableFilm: if the film cannot be decoded.
    """
    original = film.decoded(preprocessing.side)
    rows, columns = (min(side, COMMON_SIDE) for side in (original.rows, original.columns))
    if (rows, columns) in {
        (original.rows, original.columns),
        (preprocessing.rows, preprocessing.columns),
    }:
        return preprocessing.shown(original), original
    common = Preprocessing(rows, columns)
    reduced = common.shown(film.decoded(common.side))
    return preprocessing.resize(reduced), original


def _refuse_too_many_unreadable(kept: list[LabelledFilm], unreadable: list[Unreadable]) -> None:
    if not unreadable:
        return
    films = len(kept) + len(unreadable)
    named = "; ".join(f"{lost.film.path}: {lost.reason}" for lost in unreadable[:3])
    if len(unreadable) > _MOST_UNREADABLE * films:
        raise TrainingDataError(f"{len(unreadable)} of {films} films cannot be read: {named}")
    for label, finding in enumerate(CLASSES):
        if not any(film.label == label for film in kept):
            raise TrainingDataError(f"no film labelled {finding} can be read: {named}")


def _refuse_two_labels(films: list[LabelledFilm], sources: list[Source]) -> None:
    first: dict[str, LabelledFilm] = {}
    for film, source in zip(films, sources, strict=True):
        other = first.setdefault(source.sha256, film)
        if film.label != other.label:
            raise TrainingDataError(
                f"{other.name} and {film.name} are the same file, but labelled "
                f"{CLASSES[other.label]} and {CLASSES[film.label]}; remove the wrong one"
            )


def read_grey(path: Path, preprocessing: Preprocessing) -> Grey:
    """Read one film at the model's size, exactly as a screening run reads it.

    Raises:
        TrainingDataError: if it cannot be read; the message names the film.
    """
    with _named(path):
        return preprocessing.shown(
            open_film(path.read_bytes(), path.name).decoded(preprocessing.side)
        )


def _read_reduced(path: Path, preprocessing: Preprocessing) -> Grey:
    with _named(path):
        return _reduced_first(open_film(path.read_bytes(), path.name), preprocessing)[0]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn the errors of an unreadable film into an error that names it."""
    try:
        yield
    except (OSError, NotAFilm, UnreadableFilm) as error:
        raise TrainingDataError(f"{path} cannot be used for training: {error}") from error


def read_folder(
    folder: Path | None, preprocessing: Preprocessing, pool: Executor
) -> npt.NDArray[np.float32]:
    """Read the films below `folder` at the model's size, shape (n, rows, columns); none for None.

    Files that are not images, such as a list of the films, are skipped. From more films than the
    gate needs, a fixed random sample is taken.

    Raises:
        TrainingDataError: if a film cannot be read, or the folder has none.
    """
    if folder is None:
        return np.empty((0, preprocessing.rows, preprocessing.columns), np.float32)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    paths = [path for path in files if _is_image(path)]
    if not paths:
        raise TrainingDataError(f"{folder} has no films")
    if len(paths) > _ENOUGH:
        chosen = np.random.default_rng(0).permutation(len(paths))[:_ENOUGH]
        paths = [paths[index] for index in sorted(chosen)]
    return np.stack(list(pool.map(read_grey, paths, [preprocessing] * len(paths))))


def _is_image(path: Path) -> bool:
    with path.open("rb") as file:
        return kind_of(file.read(132), path.name) is not None


def read_films(
    films: list[LabelledFilm], preprocessing: Preprocessing, pool: Executor
) -> npt.NDArray[np.float32]:
    """Read films at the model's size, shape (n, rows, columns), 0..1; `films` may be empty.

    They are reduced first, as films for training are, see :data:`COMMON_SIDE`.

    Raises:
        TrainingDataError: if a film cannot be read; the message names it.
    """
    greys = np.empty((len(films), preprocessing.rows, preprocessing.columns), np.float32)
    reads = pool.map(_read_reduced, [film.path for film in films], [preprocessing] * len(films))
    for index, grey in enumerate(reads):
        greys[index] = grey
    return greys


def labels_of(films: list[LabelledFilm]) -> Labels:
    """Class indices, shape (n,)."""
    return np.array([film.label for film in films], np.int64)
