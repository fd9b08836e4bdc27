"""Curves over all thresholds, each with a band from resampling patients."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.decision import Floats
from screening.report.intervals import LEVEL
from screening.report.metrics import Scored

_RESAMPLES: Final = 400

# No picture shows more corners of a curve; of more thresholds, so many are looked at.
_CORNERS: Final = 2000

#: Where bands are drawn, and thresholds tried.
GRID: Final[Floats] = np.linspace(0, 1, 401)


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve with its band.

    Attributes:
        x: the curve's corners, shape (k,).
        y: likewise.
        grid: where the band is known, ascending, shape (m,).
        low: the lower end of the pointwise 95 % band, shape (m,); None where patients are too few.
        high: its upper end.
    """

    x: Floats
    y: Floats
    grid: Floats
    low: Floats | None
    high: Floats | None


# Weighted true and false positives, from none called to all called, to the curve over a grid;
# None where these films do not define it.
_Read = Callable[[Floats, Floats], Floats | None]


class Sweep:
    """The thresholds of some films, sorted and resampled once for every curve.

    Of more films than a picture has pixels some thresholds are left out, evenly by rank, but none
    of those next to :data:`GRID`.

    Args:
        seed: the same films and seed give the same bands.
    """

    def __init__(self, films: Scored, seed: int = 0) -> None:
        self._seed = seed
        order = np.argsort(-films.probability, kind="stable")
        ordered = films.probability[order]
        # Films with equal probability are called together: only the last of them is a threshold.
        ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
        ends = ends[_looked_at(ordered[ends])]
        self._thresholds = ordered[ends]
        self._cells = len(ends)
        # Between which two thresholds a film lies.
        self._cell = np.searchsorted(ends, np.arange(len(order)))
        self._positive = films.positive[order]
        patients, patient = np.unique(films.patient, return_inverse=True)
        self._patients, self._patient = len(patients), patient[order]

    def roc(self) -> Curve:
        """Sensitivity over 1 - specificity."""
        tp, fp = self._all
        return self._curve(fp / max(fp[-1], 1), tp / max(tp[-1], 1), GRID, _sensitivities)

    def precision_recall(self) -> Curve:
        """Precision over recall; between two thresholds as Davis and Goadrich (ICML 2006)."""
        tp, fp = self._all
        x, y = tp[1:] / max(tp[-1], 1), tp[1:] / (tp[1:] + fp[1:])
        return self._curve(x, y, GRID[1:], _precisions)

    def sensitivity(self) -> Curve:
        """Sensitivity over the threshold."""
        at = self._steps()
        return self._over_thresholds(lambda tp, _fp: tp[at] / tp[-1] if tp[-1] else None)

    def specificity(self) -> Curve:
        """Specificity over the threshold."""
        at = self._steps()
        return self._over_thresholds(lambda _tp, fp: 1 - fp[at] / fp[-1] if fp[-1] else None)

    def _over_thresholds(self, read: _Read) -> Curve:
        y = read(*self._all)
        return self._curve(GRID, np.full(len(GRID), np.nan) if y is None else y, GRID, read)

    def _steps(self) -> npt.NDArray[np.intp]:
        """How many of the films' own thresholds reach each threshold of the grid."""
        return np.searchsorted(-self._thresholds, -GRID, side="right")

    def _curve(self, x: Floats, y: Floats, grid: Floats, read: _Read) -> Curve:
        read_ones = (read(tp, fp) for tp, fp in self._resampled)
        draws = [drawn for drawn in read_ones if drawn is not None]
        if not draws:
            return Curve(x, y, grid, None, None)
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.percentile(draws, (tail, 100 - tail), axis=0)
        return Curve(x, y, grid, low, high)

    @cached_property
    def _all(self) -> tuple[Floats, Floats]:
        return self._counts(np.ones(len(self._cell)))

    @cached_property
    def _resampled(self) -> list[tuple[Floats, Floats]]:
        """The counts of each resample; none of one patient alone."""
        rng = np.random.default_rng(self._seed)
        resampled = []
        for _ in range(_RESAMPLES if self._patients > 1 else 0):
            chosen = rng.integers(0, self._patients, self._patients)
            times = np.bincount(chosen, minlength=self._patients).astype(np.float64)
            resampled.append(self._counts(times[self._patient]))
        return resampled

    def _counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weighted true and false positives at each threshold; `weights` as the films are sorted."""
        tp, fp = (
            np.append(0.0, np.cumsum(np.bincount(self._cell, weights * which, self._cells)))
            for which in (self._positive, ~self._positive)
        )
        return tp, fp


def _looked_at(thresholds: Floats) -> npt.NDArray[np.intp]:
    """Which of the descending thresholds curves are drawn through, as ascending indices."""
    last = len(thresholds) - 1
    if last < _CORNERS:
        return np.arange(last + 1)
    even = np.rint(np.linspace(0, last, _CORNERS)).astype(np.intp)
    # The lowest that reach each threshold of the grid.
    exact = np.searchsorted(-thresholds, -GRID, side="right") - 1
    return np.unique(np.concatenate([even, exact[exact >= 0]]))


def _sensitivities(tp: Floats, fp: Floats) -> Floats | None:
    if not tp[-1] or not fp[-1]:
        return None
    # Where the curve rises steeply, the interpolation takes the upper end.
    return np.asarray(np.interp(GRID, fp / fp[-1], tp / tp[-1]))


def _precisions(tp: Floats, fp: Floats) -> Floats | None:
    if not tp[-1]:
        return None
    wanted = GRID[1:] * tp[-1]
    # Backwards, so that where recall stands still the fewest false positives are taken.
    false = np.interp(-wanted, -tp[::-1], fp[::-1])
    return np.asarray(wanted / (wanted + false))
