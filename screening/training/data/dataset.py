"""Labelled films as arrays."""

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

#: Shape (n, rows, columns) or (rows, columns), 0..255: what is augmented, a quarter of the memory.
Bytes = npt.NDArray[np.uint8]

#: Rows and columns that a film for training, validation or test is reduced to before it is brought
#: to the model's size. Collections come at different sizes: if a model smaller than this took large
#: films directly, those would be sharper than films that were stored at this size, and sharpness
#: would name the source, and so the class.
COMMON_SIDE: Final = 224

# Films of other places that the gate looks at.
_ENOUGH: Final = 1200

# Share of the films that may be unreadable: more, and something else is wrong.
_MOST_UNREADABLE: Final = 0.2


@dataclass(frozen=True)
class Source:
    """What a film's file is like.

    Attributes:
        sha256: of the whole file, in hex.
        kind: its format, from :mod:`screening.imaging.sniff`.
        size: in bytes.
        rows: of the film as it is shown, before it is brought to the model's size.
        columns: likewise.
    """

    sha256: str
    kind: str
    size: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Unreadable:
    """A film that was left out, and why."""

    film: LabelledFilm
    reason: str


@dataclass(frozen=True, eq=False)
class Collection:
    """All films that can be read, each of them read once.

    Attributes:
        films: in the order in which they were given.
        greys: of these at the model's size, shape (n, rows, columns), 0..255.
        sources: their files.
        unreadable: films that were left out.
    """

    films: list[LabelledFilm]
    greys: Bytes
    sources: list[Source]
    unreadable: list[Unreadable]

    @property
    def sha256(self) -> list[str]:
        """Of each film's file, in hex."""
        return [source.sha256 for source in self.sources]

    def indices(self, films: Iterable[LabelledFilm]) -> Labels:
        """Where `films` are in :attr:`films`, by name, shape (n,)."""
        at = {film.name: index for index, film in enumerate(self.films)}
        return np.array([at[film.name] for film in films], np.int64)


def read_collection(
    films: list[LabelledFilm],
    preprocessing: Preprocessing,
    pool: Executor,
    progress: Callable[[int, int], None] = lambda _done, _films: None,
) -> Collection:
    """Read every film once: what is trained on, and what its data report says.

    A film that cannot be read is left out.

    Args:
        progress: told the number of films that are done, and of all.

    Raises:
        TrainingDataError: if more than a fifth of the films, or all of a class, cannot be read,
            or if two films of different labels are the same file.
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
    _refuse_what_is_left(kept, unreadable)
    _refuse_two_labels(kept, sources)
    return Collection(kept, greys[: len(kept)], sources, unreadable)


def _read(path: Path, preprocessing: Preprocessing) -> tuple[Bytes, Source] | str:
    """A film at the model's size and its source, or why it cannot be read."""
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
    """A film at the model's size, by way of :data:`COMMON_SIDE` if it is larger; and its original.

    Raises:
        UnreadableFilm: if it does not decode.
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


def _refuse_what_is_left(kept: list[LabelledFilm], unreadable: list[Unreadable]) -> None:
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
                f"{CLASSES[other.label]} and {CLASSES[film.label]}; remove the one that is wrong"
            )


def read_grey(path: Path, preprocessing: Preprocessing) -> Grey:
    """One film at the model's size, read exactly as a night would read it.

    Raises:
        TrainingDataError: naming the film, if it cannot be read.
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
    """Turn what makes a film unreadable into an error that names it."""
    try:
        yield
    except (OSError, NotAFilm, UnreadableFilm) as error:
        raise TrainingDataError(f"{path} cannot be used for training: {error}") from error


def read_folder(
    folder: Path | None, preprocessing: Preprocessing, pool: Executor
) -> npt.NDArray[np.float32]:
    """The films below `folder` at the model's size, shape (n, rows, columns); none without one.

    Files that are no images, such as a list of the films, are passed over. Of very many films some
    are chosen, always the same ones.

    Raises:
        TrainingDataError: if a film cannot be read, or there is none.
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
    """All films at the model's size, shape (n, rows, columns), 0..1; there may be none.

    They are reduced first, as films for training are, see :data:`COMMON_SIDE`.

    Raises:
        TrainingDataError: naming the film, if one cannot be read.
    """
    greys = np.empty((len(films), preprocessing.rows, preprocessing.columns), np.float32)
    reads = pool.map(_read_reduced, [film.path for film in films], [preprocessing] * len(films))
    for index, grey in enumerate(reads):
        greys[index] = grey
    return greys


def labels_of(films: list[LabelledFilm]) -> Labels:
    """Class indices, shape (n,)."""
    return np.array([film.label for film in films], np.int64)
