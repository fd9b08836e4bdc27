"""A number with its uncertainty and its denominator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

LEVEL: Final = 0.95
_RESAMPLES: Final = 1000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A metric's value, its 95 % interval and the number of films (or cases) behind it.

    None stands for "undefined", which the report shows as an empty cell.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int


def proportion(successes: int, n: int) -> Figure:
    """A share with its Wilson score interval (Wilson, JASA 22, 1927); undefined for n = 0."""
    if n == 0:
        return Figure(None, None, None, 0)
    interval = binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return Figure(successes / n, float(interval.low), float(interval.high), n)


def bootstrap(
    statistic: Callable[[Floats], float | None],
    groups: npt.NDArray[np.int64],
    seed: int = 0,
) -> Figure:
    """A statistic with a percentile interval from resampling whole patients.

    Args:
        statistic: computes the value from a weight for each film, shape (n,): how often the film
            was drawn; None where it is undefined.
        groups: patient of each film as an integer, shape (n,).
    """
    n = len(groups)
    value = statistic(np.ones(n)) if n else None
    if value is None:
        return Figure(None, None, None, n)
    patients, patient = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(0, len(patients), len(patients))
        times = np.bincount(chosen, minlength=len(patients)).astype(np.float64)
        drawn = statistic(times[patient])
        if drawn is not None:
            draws.append(drawn)
    if len(patients) < 2 or not draws:
        return Figure(value, None, None, n)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(draws, (tail, 100 - tail))
    return Figure(value, float(low), float(high), n)
