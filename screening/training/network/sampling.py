"""Which films an epoch draws where they come from several sources or in several views."""

from typing import Final

import numpy as np
import numpy.typing as npt

from screening.training.data.films import Labels
from screening.training.data.manifest import VIEWS

_Indices = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

#: Entropy that keeps these draws apart from others with the same seed.
_STREAM: Final = 7


def draw_epoch(
    labels: Labels, strata: _Indices, films: int, most_repeats: int, seed: tuple[int, int]
) -> _Indices:
    """Indices of the films of one epoch, class by class; both classes have half of them.

    Within a class each source counts the same, and within a source each view. A stratum is a class
    of one source and view. None of its films is drawn twice before all others were drawn, also over
    several epochs.

    Args:
        labels: class indices, shape (n,).
        strata: as of :func:`screening.training.data.sources.strata_of`, shape (n,).
        films: how many; 0 for twice the smaller class.
        most_repeats: how often a film of one stratum is drawn in an epoch, on average, at most;
            what is beyond that goes to the other strata of the class. It is exceeded only if the
            class has too few films for `films`.
        seed: the run's seed and the epoch; the same pair gives the same films.
    """
    half = films // 2 or int(np.bincount(labels, minlength=2).min())
    drawn = []
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        names, sizes = np.unique(strata[own], return_counts=True)
        numbers = _whole(_shares(names, sizes, most_repeats / half) * half, half)
        for name, number in zip(names, numbers, strict=True):
            members = own[strata[own] == name]
            drawn.append(_in_turn(members, int(number), (seed[0], label, int(name)), seed[1]))
    return np.concatenate(drawn)


def _shares(names: _Indices, sizes: _Indices, most: float) -> _Floats:
    """The share of each stratum of a class, shape (k,), sum 1.

    Args:
        names: of the strata, ascending, shape (k,).
        sizes: number of films in each.
        most: share that a stratum may have for each of its films, if the class has enough films.
    """
    sources, views = np.unique(names // len(VIEWS), return_counts=True)
    wanted = np.repeat(1 / (len(sources) * views), views)
    limits = sizes * max(most, 1 / sizes.sum())
    shares = np.zeros(len(names))
    free = np.ones(len(names), bool)
    while free.any():
        # What the limits of the others leave is divided as wanted among those below theirs.
        left = max(0.0, 1 - float(limits[~free].sum()))
        shares = np.where(free, wanted * left / wanted[free].sum(), limits)
        if not (over := free & (shares > limits * (1 + 1e-9))).any():
            break
        free &= ~over
    return np.asarray(shares / shares.sum(), np.float64)


def _whole(wanted: _Floats, total: int) -> _Indices:
    """Whole numbers next to `wanted` with the sum `total`; the largest remainders are rounded up."""
    numbers = np.floor(wanted).astype(np.int64)
    up = np.argsort(numbers - wanted, kind="stable")[: total - int(numbers.sum())]
    numbers[up] += 1
    return numbers


def _in_turn(members: _Indices, number: int, stratum: tuple[int, int, int], epoch: int) -> _Indices:
    """The next `number` members of an endless row of permutations, after those of earlier epochs."""
    first, size = epoch * number, len(members)
    rounds = range(first // size, (first + number - 1) // size + 1)
    row = [np.random.default_rng((*stratum, turn, _STREAM)).permutation(members) for turn in rounds]
    start = first - rounds.start * size
    return np.concatenate([np.empty(0, np.int64), *row])[start : start + number]
