"""A number with its uncertainty and its denominator."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

LEVEL: Final = 0.95
_RESAMPLES: Final = 1000
_TAIL: Final = (1 + LEVEL) / 2

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
    note: str = ""


NOTES: Final = {"no_labels": "no film has a label and an answer"}


def proportion(successes: int, n: int, design_effect: float = 1.0) -> Figure:
    """A share with its Wilson score interval (Wilson, JASA 22, 1927); undefined for n = 0.

    Args:
        design_effect: how many times fewer films, each of another patient, would say as much.
    """
    if n == 0:
        return Figure(None, None, None, 0)
    p, effective, z = successes / n, n / design_effect, float(norm.ppf(_TAIL))
    middle = p + z**2 / (2 * effective)
    half = z * sqrt(p * (1 - p) / effective + z**2 / (4 * effective**2))
    low, high = ((middle + side) / (1 + z**2 / effective) for side in (-half, half))
    # No share is outside 0 to 1, and what never or always happened ends there: not beside it.
    return Figure(p, low if successes else 0.0, high if successes < n else 1.0, n)


def share(which: npt.NDArray[np.bool_], patient: npt.NDArray[np.int64]) -> Figure:
    """The share of films that are True, with Wilson's interval for films in patients.

    Args:
        which: shape (n,).
        patient: patient of each film as an integer, shape (n,).
    """
    return proportion(int(which.sum()), len(which), _design_effect(which, patient))


def _design_effect(which: npt.NDArray[np.bool_], patient: npt.NDArray[np.int64]) -> float:
    """The variance of a share of films in patients over that of as many unrelated films.

    Kish (Survey Sampling, 1965), at least 1; by the linearised variance of a ratio, and with
    the quantiles of Student's t that few patients need (Korn and Graubard, Surv. Methodol. 24,
    1998).
    """
    n = len(which)
    names, index = np.unique(patient, return_inverse=True)
    patients = len(names)
    if patients == n:
        return 1.0
    sizes = np.bincount(index).astype(np.float64)
    p = float(which.mean())
    if patients == 1 or p in {0.0, 1.0}:
        # How alike the films of a patient are cannot be seen: as if all said the same.
        return float((sizes**2).sum() / n)
    hits = np.bincount(index, which)
    between = float(((hits - p * sizes) ** 2).sum()) * patients / (patients - 1)
    ratio = between / (p * (1 - p) * n) * (n - 1) / n
    quantiles = t.ppf(_TAIL, patients - 1) / t.ppf(_TAIL, n - 1)
    return max(ratio, 1.0) * float(quantiles) ** 2


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
