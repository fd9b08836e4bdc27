"""Labelled films as arrays, and the batches that a network is fitted on."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from screening.errors import NotAFilm, TrainingDataError, UnreadableFilm
from screening.pixels.film import Grey
from screening.pixels.readers import open_film
from screening.preprocess import Preprocessing, Tensor
from screening.training.augment import augment
from screening.training.manifest import LabelledFilm

Labels = npt.NDArray[np.int64]


def read_grey(film: LabelledFilm, preprocessing: Preprocessing) -> Grey:
    """One film at the model's size, read exactly as a night would read it.

    Raises:
        TrainingDataError: naming the film, if it cannot be read.
    """
    try:
        grey, _warnings = open_film(film.path.read_bytes(), film.name).decode()
    except (OSError, NotAFilm, UnreadableFilm) as error:
        raise TrainingDataError(f"{film.path} cannot be used for training: {error}") from error
    return preprocessing.resize(grey)


def read_films(
    films: list[LabelledFilm], preprocessing: Preprocessing, pool: Executor
) -> npt.NDArray[np.float32]:
    """All films at the model's size, shape (n, rows, columns), 0..1."""
    shape = (len(films), preprocessing.rows, preprocessing.columns)
    greys = np.empty(shape, np.float32)
    reads = pool.map(read_grey, films, [preprocessing] * len(films), chunksize=16)
    for index, grey in enumerate(reads):
        greys[index] = grey
    return greys


def labels_of(films: list[LabelledFilm]) -> Labels:
    """Class indices, shape (n,)."""
    return np.array([film.label for film in films], np.int64)


def class_weights(labels: Labels) -> npt.NDArray[np.float32]:
    """Weight of each class so that both count the same in total: n / (2 n_class)."""
    counts = np.bincount(labels, minlength=2)
    return np.asarray(len(labels) / (2 * counts), np.float32)


def augmented_batches(
    films: npt.NDArray[np.uint8],
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
    waiting: deque[tuple[npt.NDArray[np.int64], list[object]]] = deque()

    def prepare(indices: npt.NDArray[np.int64]) -> None:
        waiting.append(
            (indices, [pool.submit(_augment, films[i], (*seed, int(i))) for i in indices])
        )

    ahead = 4
    for indices in batches[:ahead]:
        prepare(indices)
    for following in [*batches[ahead:], *([None] * min(ahead, len(batches)))]:
        indices, futures = waiting.popleft()
        if following is not None:
            prepare(following)
        greys = np.stack([future.result() for future in futures])  # type: ignore[attr-defined]
        yield indices, preprocessing.normalise(greys.astype(np.float32) / np.float32(255))


def _augment(film: npt.NDArray[np.uint8], seed: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return augment(film, np.random.default_rng(seed))
