"""Control charts: the limits of a night's share or mean if nothing has changed.

A share is compared as its angle, ``2 arcsin sqrt((k + 3/8) / (n + 3/4))`` (Anscombe, 1948), whose
variance is that of chance alone, ``1 / (n + 1/2)``, however rare the counts; a mean as itself.
Nights differ by more than chance where films come in groups or weekends in other ways, so limits
are widened by what the baseline's nights differ by, as in Laney's p' chart (Quality Engineering
14, 2002); they are never narrowed.
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

#: Standard errors from the centre to a limit: about one false alarm in 2,000 looks. There are some
#: forty looks a night, which hang together (benchmarks/README.md, "Drift").
WIDTH: Final = 3.5

#: PSI from which a shift is called large (Siddiqi, Credit Risk Scorecards, 2006).
LARGE_PSI: Final = 0.25

#: What a few nights differ by says little: so many steps are assumed to be those of chance.
_PRIOR: Final = 4

#: Mean of the absolute value of a standard normal variable.
_STEP: Final = math.sqrt(2 / math.pi)

# A bin of the PSI holds at least this share of the baseline: of an empty bin the logarithm is
# anything.
_LEAST: Final = 0.1


@dataclass(frozen=True)
class ChartPoint:
    """A night's figure on the scale on which nights are compared.

    Attributes:
        at: the figure.
        error: its standard error, if nothing but chance is at work.
    """

    at: float
    error: float

    @classmethod
    def share(cls, count: int, n: int) -> Self:
        """Of `count` of `n` films."""
        return cls(2 * math.asin(math.sqrt((count + 0.375) / (n + 0.75))), 1 / math.sqrt(n + 0.5))


@dataclass(frozen=True)
class ControlLimits:
    """Between these a night may lie by chance, on the scale of its :class:`ChartPoint`."""

    low: float
    high: float

    @classmethod
    def around(
        cls, whole: ChartPoint, nights: Sequence[ChartPoint], error: float, width: float = WIDTH
    ) -> Self:
        """For a night with the standard error `error`.

        Args:
            whole: all of the baseline's nights as one.
            nights: these nights, in the order of time.
            width: standard errors to a limit.
        """
        reach = width * overdispersion(nights) * math.hypot(error, whole.error)
        return cls(whole.at - reach, whole.at + reach)

    def breached_by(self, point: ChartPoint) -> bool:
        """True if chance does not explain it."""
        return self.nearness(point) > 1

    def nearness(self, point: ChartPoint) -> float:
        """How far it is from the centre; 1 at a limit."""
        middle = (self.low + self.high) / 2
        return abs(point.at - middle) / (self.high - middle)


def overdispersion(nights: Sequence[ChartPoint]) -> float:
    """By how much nights differ, in units of what they would by chance; at least 1.

    Each is compared with the next, as in Laney's chart: a change that lasts is one large step, and
    the limits stay narrow while it is news.
    """
    steps = [
        abs(one.at - other.at) / math.hypot(one.error, other.error)
        for one, other in pairwise(nights)
    ]
    mean = (_PRIOR + sum(steps) / _STEP) / (_PRIOR + len(steps))
    return max(1.0, mean)


def share_of(angle: float) -> float:
    """The share that has this angle; angles beyond the ends are 0 and 1."""
    return math.sin(min(max(angle, 0.0), math.pi) / 2) ** 2


def ks(night: Floats, baseline: Floats) -> tuple[float, int]:
    """Largest distance of two distributions, and the bin after which it is found.

    Args:
        night: films by bin, shape (bins,).
        baseline: likewise, in the same bins.
    """
    gaps = np.abs(np.cumsum(night) / night.sum() - np.cumsum(baseline) / baseline.sum())
    at = int(gaps.argmax())
    return float(gaps[at]), at


def ks_limit(n: float, m: float, spread: float, width: float = WIDTH) -> float:
    """What :func:`ks` may be by chance for n and m films.

    Asymptotic (Smirnov, 1948), and wider than need be, as films share bins.

    Args:
        spread: :func:`overdispersion` of the share below the distance.
    """
    return float(kolmogi(_tail(width)) * spread * math.sqrt(1 / n + 1 / m))


def psi(night: Floats, baseline: Floats) -> tuple[float, int]:
    """Population stability index, and the number of bins that it was summed over.

    Bins are pooled with their neighbours until each holds a tenth of the baseline. Half a film is
    added to each, so that an empty one is no infinity.

    Args:
        night: films by bin, shape (bins,).
        baseline: likewise, in the same bins.
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
    """What :func:`psi` may be by chance for n and m films, or what is not large if that is more.

    By chance it is a chi-square times ``1/n + 1/m`` (Yurdakul and Naranjo, 2020).
    """
    if bins < 2:
        return LARGE_PSI
    chance = chdtri(bins - 1, _tail(width)) * (1 / n + 1 / m) * spread**2
    return max(LARGE_PSI, float(chance))


def width_for(looks: int, width: float = WIDTH) -> float:
    """Standard errors to a limit where the furthest of so many figures is looked at (Bonferroni)."""
    return float(-ndtri(ndtr(-width) / looks))


def _tail(width: float) -> float:
    """Probability of both tails beyond so many standard errors."""
    return float(2 * ndtr(-width))
