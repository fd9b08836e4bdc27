"""The batches that a network is fitted on: films in random order, each changed anew."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.findings import CLASSES
from screening.preprocess import Preprocessing, Tensor
from screening.training.data.films import Bytes, Labels
from screening.training.network.augment import augment, move
from screening.training.network.recipe import HOSPITALS, Recipe
from screening.training.network.sampling import draw_epoch, repeats

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


def batches_of_epoch(
    recipe: Recipe, labels: Labels, strata: npt.NDArray[np.int64], epoch: int
) -> list[npt.NDArray[np.int64]]:
    """Indices of the films of each batch of one epoch, as the recipe says.

    Films of one source and view are drawn by :func:`order_of_epoch`, others, and where the recipe
    gives the length of an epoch, by :func:`screening.training.network.sampling.draw_epoch`.

    Args:
        labels: class indices, shape (n,).
        strata: source and view of each film, shape (n,).
    """
    seed = (recipe.seed, epoch)
    if not recipe.balanced or (not recipe.films_per_epoch and len(np.unique(strata)) == 1):
        return order_of_epoch(labels, recipe.batch, recipe.balanced, seed)
    drawn = draw_epoch(labels, strata, recipe.films_per_epoch, recipe.most_repeats, seed)
    order = np.random.default_rng(seed).permutation(drawn)
    return [order[start : start + recipe.batch] for start in range(0, len(order), recipe.batch)]


def soft_targets(labels: Labels, confidence: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The probability of each class, shape (n, 2): that of the label is its confidence."""
    one_hot = np.eye(len(CLASSES), dtype=np.float32)[labels]
    sure = confidence[:, np.newaxis].astype(np.float32)
    return np.asarray(one_hot * sure + (1 - one_hot) * (1 - sure), np.float32)


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
        seed: the run's seed and the epoch; the same pair gives the same changes. A film that is
            drawn again in an epoch is changed in another way.
    """
    drawn_before = repeats(batches)

    def begin(number: int) -> list[Future[Bytes]]:
        own = zip(batches[number].tolist(), drawn_before[number], strict=True)
        seeds = [(*seed, index, *([again] if again else [])) for index, again in own]
        return [pool.submit(_changed, films, each[2], augmentation, each) for each in seeds]

    coming = deque(begin(number) for number in range(min(_AHEAD, len(batches))))
    for number, indices in enumerate(batches):
        greys = np.stack([future.result() for future in coming.popleft()])
        if number + _AHEAD < len(batches):
            coming.append(begin(number + _AHEAD))
        yield indices, preprocessing.normalise(greys.astype(np.float32) / np.float32(255))


def _changed(films: Bytes, index: int, augmentation: str, seed: tuple[int, ...]) -> Bytes:
    rng = np.random.default_rng(seed)
    if augmentation != HOSPITALS:
        return move(films[index], rng)
    return augment(films[index], rng, lender=films[rng.integers(len(films))])
