"""The batches that a network is fitted on: films in random order, each changed anew."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.preprocess import Preprocessing, Tensor
from screening.training.data.films import Bytes, Labels
from screening.training.network.augment import augment, move
from screening.training.network.recipe import HOSPITALS

# Batches that are augmented while the network is busy with one.
_AHEAD: Final = 4


def class_weights(labels: Labels) -> npt.NDArray[np.float32]:
    """Weight of each class so that both count the same in total: n / (2 n_class)."""
    counts = np.bincount(labels, minlength=2)
    return np.asarray(len(labels) / (2 * counts), np.float32)


def order_of_epoch(
    labels: Labels, batch: int, balanced: bool, seed: tuple[int, int]
) -> list[npt.NDArray[np.int64]]:
    """Indices of the films of each batch of one epoch.

    Args:
        balanced: all films of the smaller class and as many of the larger one, chosen anew for
            each epoch; otherwise all films.
        seed: the run's seed and the epoch; the same pair gives the same batches.
    """
    rng = np.random.default_rng(seed)
    chosen = np.arange(len(labels))
    if balanced:
        fewest = int(np.bincount(labels, minlength=2).min())
        sides = [rng.permutation(np.flatnonzero(labels == label))[:fewest] for label in (0, 1)]
        chosen = np.concatenate(sides)
    order = rng.permutation(chosen)
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def augmented_batches(
    films: Bytes,
    preprocessing: Preprocessing,
    batches: Sequence[npt.NDArray[np.int64]],
    augmentation: str,
    seed: tuple[int, int],
    pool: Executor,
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """The films of each batch and their augmented tensors, a few batches ahead of use.

    Args:
        films: shape (n, rows, columns), 0..255.
        augmentation: how, see :mod:`screening.training.network.recipe`.
        seed: the run's seed and the epoch; the same pair gives the same changes.
    """

    def begin(indices: npt.NDArray[np.int64]) -> list[Future[Bytes]]:
        return [pool.submit(_changed, films, int(i), augmentation, seed) for i in indices]

    coming = deque(begin(indices) for indices in batches[:_AHEAD])
    for number, indices in enumerate(batches):
        greys = np.stack([future.result() for future in coming.popleft()])
        if number + _AHEAD < len(batches):
            coming.append(begin(batches[number + _AHEAD]))
        yield indices, preprocessing.normalise(greys.astype(np.float32) / np.float32(255))


def _changed(films: Bytes, index: int, augmentation: str, seed: tuple[int, int]) -> Bytes:
    rng = np.random.default_rng((*seed, index))
    if augmentation != HOSPITALS:
        return move(films[index], rng)
    return augment(films[index], rng, lender=films[rng.integers(len(films))])
