"""Curves over all thresholds, each with a band from resampling patients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.decision import Floats
from screening.report.intervals import LEVEL
from screening.report.metrics import Scored

_RESAMPLES: Final = 400

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
    """All thresholds of some films, sorted once for every curve and resample.

    Args:
        seed: the same films and seed give the same bands.
    """

    def __init__(self, films: Scored, seed: int = 0) -> None:
        self._seed = seed
        self._order = np.argsort(-films.probability, kind="stable")
        self._positive = films.positive[self._order]
        ordered = films.probability[self._order]
        # Films with equal probability are called together: only the last of them is a threshold.
        self._ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
        self._thresholds = ordered[self._ends]
        patients, patient = np.unique(films.patient, return_inverse=True)
        self._patients, self._patient = len(patients), patient[self._order]

    def roc(self) -> Curve:
        """Sensitivity over 1 - specificity."""
        tp, fp = self._counts(np.ones(len(self._order)))
        return self._curve(fp / max(fp[-1], 1), tp / max(tp[-1], 1), GRID, _sensitivities)

    def precision_recall(self) -> Curve:
        """Precision over recall; between two thresholds as Davis and Goadrich (ICML 2006)."""
        tp, fp = self._counts(np.ones(len(self._order)))
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
        y = read(*self._counts(np.ones(len(self._order))))
        return self._curve(GRID, np.full(len(GRID), np.nan) if y is None else y, GRID, read)

    def _steps(self) -> npt.NDArray[np.intp]:
        """How many of the films' own thresholds reach each threshold of the grid."""
        return np.searchsorted(-self._thresholds, -GRID, side="right")

    def _curve(self, x: Floats, y: Floats, grid: Floats, read: _Read) -> Curve:
        rng = np.random.default_rng(self._seed)
        draws = []
        for _ in range(_RESAMPLES if self._patients > 1 else 0):
            chosen = rng.integers(0, self._patients, self._patients)
            times = np.bincount(chosen, minlength=self._patients).astype(np.float64)
            drawn = read(*self._counts(times[self._patient]))
            if drawn is not None:
                draws.append(drawn)
        if not draws:
            return Curve(x, y, grid, None, None)
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.percentile(draws, (tail, 100 - tail), axis=0)
        return Curve(x, y, grid, low, high)

    def _counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weighted true and false positives at each threshold; `weights` as the films are sorted."""
        tp, fp = (
            np.append(0.0, np.cumsum(weights * which)[self._ends])
            for which in (self._positive, ~self._positive)
        )
        return tp, fp


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
