"""Control charts: the limits of a night's share or mean if nothing has changed.

A share is compared as its angle, ``2 arcsin sqrt((k + 3/8) / (n + 3/4))`` (Anscombe, 1948), whose
variance by chance is ``1 / (n + 1/2)``, however rare the counts; a mean is compared unchanged.
Nights differ by more than chance if films come in groups or weekends are different, so limits are
widened by the variation between the nights of the baseline, as in Laney's p' chart (Quality
Engineering 14, 2002); they are never narrowed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, kolmogi, ndtr, ndtri

Floats = npt.NDArray[np.float64]

#: Standard errors from the centre to a limit: about one false alarm in 2,000 comparisons. A night
#: has about forty comparisons, which are correlated (benchmarks/README.md, "Drift").
WIDTH: Final = 3.5

#: PSI from which a shift counts as large (Siddiqi, Credit Risk Scorecards, 2006).
LARGE_PSI: Final = 0.25

#: Steps of chance size that are added, because a few nights say little about their variation.
_PRIOR: Final = 4

#: Mean of the absolute value of a standard normal variable.
_STEP: Final = math.sqrt(2 / math.pi)

# A bin of the PSI holds at least this share of the baseline; the logarithm of an empty bin is
# meaningless.
_LEAST: Final = 0.1


@dataclass(frozen=True)
class ChartPoint:
    """A night's figure on the scale on which nights are compared.

    Attributes:
        at: the figure.
        error: its standard error by chance alone.
    """

    at: float
    error: float

    @classmethod
    def share(cls, count: int, n: int) -> Self:
        """Return the point of a share: `count` of `n` films."""
        return cls(2 * math.asin(math.sqrt((count + 0.375) / (n + 0.75))), 1 / math.sqrt(n + 0.5))


@dataclass(frozen=True)
class ControlLimits:
    """Limits within which a night may lie by chance, on the scale of its :class:`ChartPoint`."""

    low: float
    high: float

    @classmethod
    def around(
        cls, whole: ChartPoint, nights: Sequence[ChartPoint], error: float, width: float = WIDTH
    ) -> Self:
        """Return the limits for a night with the standard error `error`.

        Args:
            whole: all nights of the baseline as one.
            nights: the nights of the baseline in chronological order.
            width: standard errors from the centre to a limit.
        """
        reach = width * overdispersion(nights) * math.hypot(error, whole.error)
        return cls(whole.at - reach, whole.at + reach)

    def breached_by(self, point: ChartPoint) -> bool:
        """True if the point lies outside the limits."""
        return self.nearness(point) > 1

    def nearness(self, point: ChartPoint) -> float:
        """Return the distance of a point from the centre; 1 at a limit."""
        middle = (self.low + self.high) / 2
        return abs(point.at - middle) / (self.high - middle)


def overdispersion(nights: Sequence[ChartPoint]) -> float:
    """Return how much nights differ in units of chance variation; at least 1.

    Each night is compared with the next, as in Laney's chart: a lasting change is one large step,
    so the limits stay narrow while the change is recent.
    """
    steps = [
        abs(one.at - other.at) / math.hypot(one.error, other.error)
        for one, other in pairwise(nights)
    ]
    mean = (_PRIOR + sum(steps) / _STEP) / (_PRIOR + len(steps))
    return max(1.0, mean)


def share_of(angle: float) -> float:
    """Return the share that has this angle; angles beyond the ends give 0 and 1."""
    return math.sin(min(max(angle, 0.0), math.pi) / 2) ** 2


def ks(night: Floats, baseline: Floats) -> tuple[float, int]:
    """Return the largest distance between two distributions and the bin after which it occurs.

    Args:
        night: number of films by bin, shape (bins,).
        baseline: number of films in the same bins, shape (bins,).
    """
    gaps = np.abs(np.cumsum(night) / night.sum() - np.cumsum(baseline) / baseline.sum())
    at = int(gaps.argmax())
    return float(gaps[at]), at


def ks_limit(n: float, m: float, spread: float, width: float = WIDTH) -> float:
    """Return the limit of :func:`ks` by chance for n and m films.

    Asymptotic (Smirnov, 1948), and wider than necessary because films share bins.

    Args:
        spread: :func:`overdispersion` of the share below the distance.
    """
    return float(kolmogi(_tail(width)) * spread * math.sqrt(1 / n + 1 / m))


def psi(night: Floats, baseline: Floats) -> tuple[float, int]:
    """Return the population stability index and the number of bins that it was summed over.

    Neighbouring bins are pooled until each holds a tenth of the baseline. Half a film is added to
    each, so that an empty bin does not give infinity.

    Args:
        night: number of films by bin, shape (bins,).
        baseline: number of films in the same bins, shape (bins,).
    """
    share = np.cumsum(baseline) / baseline.sum()
    group = np.minimum((share - baseline / baseline.sum() / 2) / _LEAST, 1 / _LEAST - 1).astype(int)
    pooled = np.array(
        [np.bincount(group, weights=films)[np.unique(group)] for films in (night, baseline)]
    )
    shares = pooled + 0.5
    p, q = shares / shares.sum(axis=1, keepdims=True)
    return float(((p - q) * np.log(p / q)).sum()), pooled.shape[1]


def psi_limit(n: float, m: float, bins: int, spread: float, width: float = WIDTH) -> float:
    """Return the limit of :func:`psi` by chance for n and m films, at least :data:`LARGE_PSI`.

    By chance the index is a chi-square times ``1/n + 1/m`` (Yurdakul and Naranjo, 2020).
    """
    if bins < 2:
        return LARGE_PSI
    chance = chdtri(bins - 1, _tail(width)) * (1 / n + 1 / m) * spread**2
    return max(LARGE_PSI, float(chance))


def width_for(looks: int, width: float = WIDTH) -> float:
    """Return the width of limits for the most extreme of `looks` figures (Bonferroni)."""
    return float(-ndtri(ndtr(-width) / looks))


def _tail(width: float) -> float:
    """Return the probability of both tails beyond `width` standard errors."""
    return float(2 * ndtr(-width))
