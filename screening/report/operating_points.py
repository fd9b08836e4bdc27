"""Tabulate the effect of each threshold: films found, missed and referred.

Optionally projects the figures to another prevalence. This is the table of WHO's toolkit for
calibrating the threshold of computer-aided detection ("Determining the local calibration of
computer-assisted detection (CAD) thresholds and other parameters", 2021): a programme chooses its
threshold by the number of cases it finds and the number of referrals it can follow up.
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.model.calibration import DECIMALS, Floats
from screening.report.intervals import Figure
from screening.report.metrics import Scored, confusion, proportions
from screening.results import LINE_END

POINTS: Final = "operating_points.csv"

STEPS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))
SENSITIVITIES: Final = (0.80, 0.85, 0.90, 0.95, 0.98, 0.99)
SPECIFICITIES: Final = (0.90, 0.95, 0.98, 0.99)

# Marks of a row, which say how its threshold was chosen.
STEP: Final = "step"
YOUDEN: Final = "Youden"
CHOSEN: Final = "chosen"

_ONE: Final = 10**DECIMALS

_SHARES: Final = ("sensitivity", "specificity", "ppv", "npv")
_COLUMNS: Final = (
    *("threshold", "marks", "tp", "fp", "tn", "fn"),
    *(f"{name}{end}" for name in _SHARES for end in ("", "_ci_low", "_ci_high")),
    *("referrals_of_100", "prevalence", "ppv_projected", "npv_projected"),
    "referrals_of_100_projected",
)

Micros = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Projection:
    """Figures of a threshold at another prevalence, from Bayes' theorem; None where undefined.

    Attributes:
        prevalence: share of the films that show pneumonia, 0..1.
        referrals: films called pneumonia per 100 films.
    """

    prevalence: float
    ppv: float | None
    npv: float | None
    referrals: float | None


@dataclass(frozen=True)
class ThresholdRow:
    """One row of the table.

    Attributes:
        threshold: probability from which a film is called pneumonia.
        marks: how the threshold was chosen: :data:`STEP`, ``sensitivity 0.95`` (the highest
            threshold that reaches it), ``specificity 0.9`` (the lowest threshold that reaches it),
            :data:`YOUDEN`, :data:`CHOSEN`.
        referrals: films called pneumonia per 100 films; None without films.
        projected: the figures at another prevalence, if one was given.
    """

    threshold: float
    marks: tuple[str, ...]
    tp: int
    fp: int
    tn: int
    fn: int
    sensitivity: Figure
    specificity: Figure
    ppv: Figure
    npv: Figure
    referrals: float | None
    projected: Projection | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        return asdict(self) | {"marks": list(self.marks)}


def operating_points(
    films: Scored, chosen: float, prevalence: float | None = None
) -> list[ThresholdRow]:
    """Return the table by ascending threshold; equal thresholds become one row with all marks.

    Args:
        films: labelled films; their `called` is ignored.
        chosen: the threshold in use.
        prevalence: share of films with pneumonia where the model will be used, 0..1.

    Raises:
        ValueError: if the prevalence is outside 0..1.
    """
    marks: dict[float, list[str]] = {}
    for threshold, mark in _marked(films, chosen):
        marks.setdefault(threshold, []).append(mark)
    return [_point(films, t, tuple(marks[t]), prevalence) for t in sorted(marks)]


def write_points(path: Path, points: Sequence[ThresholdRow]) -> None:
    """Write ``operating_points.csv``, one line per threshold; undefined values are empty cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(_COLUMNS)
        for point in points:
            counts = (point.tp, point.fp, point.tn, point.fn)
            shares = [
                _cell(end)
                for name in _SHARES
                for figure in (getattr(point, name),)
                for end in (figure.value, figure.ci_low, figure.ci_high)
            ]
            at = point.projected
            projected = (at.prevalence, at.ppv, at.npv, at.referrals) if at else (None,) * 4
            rest = map(_cell, (point.referrals, *projected))
            threshold, marks = f"{point.threshold:.{DECIMALS}f}", "; ".join(point.marks)
            writer.writerow([threshold, marks, *counts, *shares, *rest])


def project(sensitivity: float | None, specificity: float | None, prevalence: float) -> Projection:
    """Return predictive values and referrals at another prevalence, from Bayes' theorem.

    Raises:
        ValueError: if the prevalence is outside 0..1.
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"the prevalence is {prevalence}, expected a number from 0 to 1")
    if sensitivity is None or specificity is None:
        return Projection(prevalence, None, None, None)
    found, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, cleared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return Projection(
        prevalence,
        found / (found + false) if found + false else None,
        cleared / (cleared + missed) if cleared + missed else None,
        100 * (found + false),
    )


def threshold_for_sensitivity(probabilities: Floats, labels: Labels, target: float) -> float | None:
    """Return the highest threshold whose sensitivity reaches the target; None without pneumonia.

    Args:
        probabilities: with six decimals, as the calibration gives them, shape (n,).
        labels: 1 or True for pneumonia, shape (n,).
        target: above 0, at most 1.

    Returns:
        A threshold with six decimals, half-way between the last film that is called pneumonia and
        the first that is not, so that a runtime that differs in the last decimal decides the same.
        No film lies between, so all are classified as at the film's own probability.
    """
    micros, positive = _micros(probabilities), np.asarray(labels, bool)
    ranked = np.sort(micros[positive])[::-1]
    if not len(ranked):
        return None
    return _below(micros, int(ranked[max(_needed(target, len(ranked)), 1) - 1]))


def threshold_for_specificity(probabilities: Floats, labels: Labels, target: float) -> float | None:
    """Return the lowest threshold whose specificity reaches the target.

    As in :func:`threshold_for_sensitivity`, it lies half-way between two films. None without normal
    films, and if too many of them have probability 1.
    """
    micros, positive = _micros(probabilities), np.asarray(labels, bool)
    ranked = np.sort(micros[~positive])
    if not len(ranked):
        return None
    last = int(ranked[max(_needed(target, len(ranked)), 1) - 1])
    above = micros[micros > last]
    if not len(above):
        return None if last == _ONE else _half_way(last, _ONE)
    return _half_way(last, int(above.min()))


def youden_threshold(probabilities: Floats, labels: Labels) -> float | None:
    """Return the threshold with the largest sensitivity + specificity - 1 (Youden, Cancer 3, 1950).

    Of several, the lowest: it finds more. None without films of both classes.
    """
    micros, positive = _micros(probabilities), np.asarray(labels, bool)
    if positive.all() or not positive.any():
        return None
    values, which = np.unique(micros, return_inverse=True)
    # Positives at each threshold: all films at or above it. In integers, so that ties are exact.
    tp = np.cumsum(np.bincount(which, positive)[::-1])[::-1].astype(np.int64)
    fp = np.cumsum(np.bincount(which, ~positive)[::-1])[::-1].astype(np.int64)
    index = tp * int((~positive).sum()) - fp * int(positive.sum())
    return _below(micros, int(values[index.argmax()]))


def _marked(films: Scored, chosen: float) -> list[tuple[float, str]]:
    p, y = films.probability, films.positive
    marked: list[tuple[float | None, str]] = [(step, STEP) for step in STEPS]
    marked += [
        (threshold_for_sensitivity(p, y, target), f"sensitivity {target:g}")
        for target in SENSITIVITIES
    ]
    marked += [
        (threshold_for_specificity(p, y, target), f"specificity {target:g}")
        for target in SPECIFICITIES
    ]
    marked += [(youden_threshold(p, y), YOUDEN), (chosen, CHOSEN)]
    return [(threshold, mark) for threshold, mark in marked if threshold is not None]


def _point(
    films: Scored, threshold: float, marks: tuple[str, ...], prevalence: float | None
) -> ThresholdRow:
    called = films.probability >= threshold
    decided = Scored(films.positive, films.probability, called, films.patient)
    count, share = confusion(decided), proportions(decided)
    return ThresholdRow(
        threshold=threshold,
        marks=marks,
        tp=count["TP"],
        fp=count["FP"],
        tn=count["TN"],
        fn=count["FN"],
        sensitivity=share["recall"],
        specificity=share["specificity"],
        ppv=share["precision"],
        npv=share["npv"],
        referrals=100 * float(called.mean()) if len(called) else None,
        projected=None
        if prevalence is None
        else project(share["recall"].value, share["specificity"].value, prevalence),
    )


def _micros(probabilities: Floats) -> Micros:
    """Convert to integer millionths, in which neighbours and middles are exact."""
    return np.rint(np.asarray(probabilities) * _ONE).astype(np.int64)


def _needed(target: float, films: int) -> int:
    # 0.55 x 100 is slightly more than 55 in binary; without the margin it would need 56 of 100.
    return int(np.ceil(target * films - 1e-9))


def _below(micros: Micros, lowest_called: int) -> float:
    """Return the middle between the lowest film called and the next below; 0 if there is none."""
    under = micros[micros < lowest_called]
    return _half_way(int(under.max()) if len(under) else 0, lowest_called)


def _half_way(not_called: int, called: int) -> float:
    """Return the middle, rounded up: always above `not_called`, at most `called`."""
    return round((not_called + called + 1) // 2 / _ONE, DECIMALS)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
