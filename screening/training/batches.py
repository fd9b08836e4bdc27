"""Training batches: choice and order of films, and their augmentation."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from screening.model.lungs import coverage
from screening.model.preprocess import Preprocessing, Tensor
from screening.results import CLASSES
from screening.training.augment import LIGHT, change_contrast, change_look, view_of
from screening.training.data.dataset import Bytes, Labels
from screening.training.data.manifest import VIEWS
from screening.training.film_edits import exchange_outside
from screening.training.recipe import CONTRAST, GEOMETRY, Recipe

_Indices = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

#: Entropy that separates these draws from others with the same seed.
_STREAM: Final = 7


def draw_epoch(
    labels: Labels, strata: _Indices, films: int, most_repeats: int, seed: tuple[int, int]
) -> _Indices:
    """Draw the films of one epoch; return their indices, class by class, half for each class.

    Within a class each source counts the same, and within a source each view. A stratum is a class
    of one source and view. No film of a stratum is drawn twice before all others have been drawn,
    also across epochs.

    Args:
        labels: class indices, shape (n,).
        strata: from :func:`screening.training.data.manifest.strata_of`, shape (n,).
        films: number of films to draw; 0 for twice the smaller class.
        most_repeats: maximum number of times that a film of one stratum is drawn in an epoch, on
            average; draws beyond this go to the other strata of the class. It is exceeded only if
            the class has too few films for `films`.
        seed: the run's seed and the epoch; the same pair gives the same films.
    """
    half = films // 2 or int(np.bincount(labels, minlength=2).min())
    drawn = []
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        names, sizes = np.unique(strata[own], return_counts=True)
        numbers = _rounded_to_sum(_shares(names, sizes, most_repeats / half) * half, half)
        for name, number in zip(names, numbers, strict=True):
            members = own[strata[own] == name]
            drawn.append(_in_turn(members, int(number), (seed[0], label, int(name)), seed[1]))
    return np.concatenate(drawn)


def _shares(names: _Indices, sizes: _Indices, most: float) -> _Floats:
    """The share of each stratum of a class, shape (k,), sum 1.

    Args:
        names: numbers of the strata, ascending, shape (k,).
        sizes: number of films in each stratum.
        most: maximum share of a stratum per film in it, if the class has enough films.
    """
    sources, views = np.unique(names // len(VIEWS), return_counts=True)
    wanted = np.repeat(1 / (len(sources) * views), views)
    limits = sizes * max(most, 1 / sizes.sum())
    shares = np.zeros(len(names))
    free = np.ones(len(names), bool)
    while free.any():
        # Divide what strata at their limit leave among the others, in the wanted proportions.
        left = max(0.0, 1 - float(limits[~free].sum()))
        shares = np.where(free, wanted * left / wanted[free].sum(), limits)
        if not (over := free & (shares > limits * (1 + 1e-9))).any():
            break
        free &= ~over
    return np.asarray(shares / shares.sum(), np.float64)


def _rounded_to_sum(wanted: _Floats, total: int) -> _Indices:
    """Round `wanted` to integers with the sum `total`; the largest remainders are rounded up."""
    numbers = np.floor(wanted).astype(np.int64)
    up = np.argsort(numbers - wanted, kind="stable")[: total - int(numbers.sum())]
    numbers[up] += 1
    return numbers


def _in_turn(members: _Indices, number: int, stratum: tuple[int, int, int], epoch: int) -> _Indices:
    """The next `number` members of an endless series of permutations, after earlier epochs."""
    first, size = epoch * number, len(members)
    rounds = range(first // size, (first + number - 1) // size + 1)
    row = [np.random.default_rng((*stratum, turn, _STREAM)).permutation(members) for turn in rounds]
    start = first - rounds.start * size
    return np.concatenate([np.empty(0, np.int64), *row])[start : start + number]


# Number of batches that are augmented ahead of the network.
_AHEAD: Final = 4

# Seed component for donors, distinct from the batch numbers in the other seeds.
_DONORS: Final = 2**32 - 1

#: An augmented film, and the share of each cell of the map that is lung.
_View = tuple[Bytes, npt.NDArray[np.float32] | None]


def class_weights(labels: Labels) -> npt.NDArray[np.float32]:
    """Weight of each class so that both classes have the same total: n / (2 n_class)."""
    counts = np.bincount(labels, minlength=2)
    return np.asarray(len(labels) / (2 * counts), np.float32)


def order_of_epoch(
    labels: Labels, batch: int, balanced: bool, seed: tuple[int, int]
) -> list[npt.NDArray[np.int64]]:
    """Indices of the films of each batch of one epoch.

    Args:
        balanced: use all films of the smaller class and as many of the larger one, drawn again for
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
    """Indices of the films of each batch of one epoch, following the recipe.

    Uses :func:`order_of_epoch` if the recipe is not balanced, or if all films are of one source and
    view and the recipe does not limit the epoch; otherwise
    :func:`screening.training.batches.draw_epoch`.

    Args:
        labels: class indices, shape (n,).
        strata: source and view of each film, shape (n,).
    """
    seed = (recipe.seed, epoch)
    most = 2 * int(np.bincount(labels, minlength=2).min())
    films = min(recipe.films_per_epoch or most, most)
    if not recipe.balanced or (films == most and len(np.unique(strata)) == 1):
        return order_of_epoch(labels, recipe.batch, recipe.balanced, seed)
    drawn = draw_epoch(labels, strata, films, recipe.most_repeats, seed)
    order = np.random.default_rng(seed).permutation(drawn)
    return [order[start : start + recipe.batch] for start in range(0, len(order), recipe.batch)]


def soft_targets(labels: Labels, confidence: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The probability of each class, shape (n, 2); the label's class has its confidence."""
    one_hot = np.eye(len(CLASSES), dtype=np.float32)[labels]
    sure = confidence[:, np.newaxis].astype(np.float32)
    return np.asarray(one_hot * sure + (1 - one_hot) * (1 - sure), np.float32)


@dataclass(frozen=True, eq=False)
class Material:
    """Input data of the augmentation.

    Attributes:
        films: shape (n, rows, columns), 0..255.
        lungs: their lung fields, shape (n, rows, columns), 0 or 255; None if unknown.
        alphas: how much of each pixel belongs to the lungs, from
            :func:`screening.training.film_edits.soft_mask`, times 255; None without lungs.
        cells: rows and columns of the network's map; None without lungs, or without a map.
    """

    films: Bytes
    lungs: Bytes | None = None
    alphas: Bytes | None = None
    cells: tuple[int, int] | None = None


class Batch(NamedTuple):
    """Augmented films, ready for a training step.

    Attributes:
        indices: indices of the films, shape (n,).
        tensors: shape (n, rows, columns, channels).
        coverage: share of each cell of the map that is lung, shape (n, r, c, 1), 0..1; 1 in all
            cells of a film without known lungs. None if the material has no cells.
    """

    indices: npt.NDArray[np.int64]
    tensors: Tensor
    coverage: npt.NDArray[np.float32] | None


def augmented_batches(
    material: Material,
    preprocessing: Preprocessing,
    batches: Sequence[npt.NDArray[np.int64]],
    recipe: Recipe,
    epoch: int,
    pool: Executor,
) -> Iterator[Batch]:
    """The films of each batch and their augmented tensors, computed a few batches ahead.

    The donor of a film whose outside is exchanged is drawn from the films of the same epoch, so
    donors are as balanced as the films.

    Args:
        epoch: determines all changes, together with the seed of the recipe.
    """
    seed = (recipe.seed, epoch)
    rng = np.random.default_rng((*seed, _DONORS))
    donors = [rng.choice(np.concatenate(batches), len(indices)) for indices in batches]

    def begin(number: int) -> list[Future[_View]]:
        pairs = zip(batches[number], donors[number], strict=True)
        return [
            pool.submit(_changed, material, int(i), int(donor), recipe, (*seed, number, place))
            for place, (i, donor) in enumerate(pairs)
        ]

    pending = deque(begin(number) for number in range(min(_AHEAD, len(batches))))
    for number, indices in enumerate(batches):
        views = [future.result() for future in pending.popleft()]
        if number + _AHEAD < len(batches):
            pending.append(begin(number + _AHEAD))
        greys = np.stack([film for film, _share in views]).astype(np.float32)
        covered = [share for _film, share in views if share is not None]
        yield Batch(
            indices,
            preprocessing.normalise(greys / np.float32(255)),
            np.stack(covered)[..., np.newaxis] if covered else None,
        )


def _changed(
    material: Material, index: int, donor: int, recipe: Recipe, seed: tuple[int, ...]
) -> _View:
    rng = np.random.default_rng(seed)
    films = material.films
    film = films[index]
    lungs = None if material.lungs is None else material.lungs[index]
    if material.alphas is not None and rng.random() < recipe.exchange:
        film = _with_outside_of(film, material.alphas[index], films[donor])
    only_moved = recipe.augmentation == GEOMETRY
    lender = None if only_moved else films[rng.integers(len(films))]
    light = 1.0 if only_moved else LIGHT
    look = change_contrast if recipe.augmentation == CONTRAST else change_look
    view, moved_lungs = view_of(film, lungs, rng, lender, light=light, flip=recipe.flip, look=look)
    if material.cells is None or moved_lungs is None:
        return view, None
    return view, _coverage(moved_lungs, material.cells)


def _with_outside_of(film: Bytes, alpha: Bytes, donor: Bytes) -> Bytes:
    """Put the lungs of a film into another film's outside; a film without lungs is unchanged."""
    if alpha.min() == 255:
        return film
    return exchange_outside(film, alpha.astype(np.float32) / np.float32(255), donor)


def _coverage(lungs: Bytes, cells: tuple[int, int]) -> npt.NDArray[np.float32]:
    if not lungs.any():
        return np.ones(cells, np.float32)
    return coverage(lungs.astype(np.float32) / np.float32(255), *cells)
