"""Labelled films as arrays, and the batches that a network is fitted on."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.errors import NotAFilm, TrainingDataError, UnreadableFilm
from screening.pixels.film import Grey
from screening.pixels.readers import open_film
from screening.pixels.signature import kind_of
from screening.preprocess import Preprocessing, Tensor
from screening.training.augment import augment
from screening.training.manifest import LabelledFilm

Labels = npt.NDArray[np.int64]

#: Shape (n, rows, columns) or (rows, columns), 0..255: what is augmented, a quarter of the memory.
Bytes = npt.NDArray[np.uint8]

# Films of other places that the gate looks at.
_ENOUGH: Final = 1200

# Batches that are augmented while the network is busy with one.
_AHEAD: Final = 4


def read_grey(path: Path, preprocessing: Preprocessing) -> Grey:
    """One film at the model's size, read exactly as a night would read it.

    Raises:
        TrainingDataError: naming the film, if it cannot be read.
    """
    try:
        grey, _warnings = open_film(path.read_bytes(), path.name).decode()
    except (OSError, NotAFilm, UnreadableFilm) as error:
        raise TrainingDataError(f"{path} cannot be used for training: {error}") from error
    return preprocessing.resize(grey)


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
    """All films at the model's size, shape (n, rows, columns), 0..1."""
    paths = [film.path for film in films]
    return np.stack(list(pool.map(read_grey, paths, [preprocessing] * len(paths))))


def read_bytes(films: list[LabelledFilm], preprocessing: Preprocessing, pool: Executor) -> Bytes:
    """All films at the model's size, shape (n, rows, columns), 0..255."""
    shape = (len(films), preprocessing.rows, preprocessing.columns)
    values = np.empty(shape, np.uint8)
    paths = [film.path for film in films]
    reads = pool.map(read_grey, paths, [preprocessing] * len(paths), chunksize=16)
    for index, grey in enumerate(reads):
        values[index] = np.rint(grey * 255)
    return values


def labels_of(films: list[LabelledFilm]) -> Labels:
    """Class indices, shape (n,)."""
    return np.array([film.label for film in films], np.int64)


def class_weights(labels: Labels) -> npt.NDArray[np.float32]:
    """Weight of each class so that both count the same in total: n / (2 n_class)."""
    counts = np.bincount(labels, minlength=2)
    return np.asarray(len(labels) / (2 * counts), np.float32)


def augmented_batches(
    films: Bytes,
    preprocessing: Preprocessing,
    batch: int,
    seed: tuple[int, int],
    pool: Executor,
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """One epoch in random order: indices and augmented tensors, a few batches ahead of use.

    Args:
        films: shape (n, rows, columns), 0..255.
        seed: the run's seed and the epoch; the same pair gives the same batches.
    """
    order = np.random.default_rng(seed).permutation(len(films))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]

    def begin(indices: npt.NDArray[np.int64]) -> list[Future[Bytes]]:
        return [pool.submit(_augment, films[i], (*seed, int(i))) for i in indices]

    coming = deque(begin(indices) for indices in batches[:_AHEAD])
    for number, indices in enumerate(batches):
        greys = np.stack([future.result() for future in coming.popleft()])
        if number + _AHEAD < len(batches):
            coming.append(begin(batches[number + _AHEAD]))
        yield indices, preprocessing.normalise(greys.astype(np.float32) / np.float32(255))


def _augment(film: Bytes, seed: tuple[int, ...]) -> Bytes:
    return augment(film, np.random.default_rng(seed))
