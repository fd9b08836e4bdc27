"""What each threshold would mean: films found, missed and referred, here and where disease is rarer.

The table of WHO's toolkit for calibrating the threshold of computer-aided detection ("Determining
the local calibration of computer-assisted detection (CAD) thresholds and other parameters", 2021):
a programme chooses its threshold by what it can find and what it can follow up.
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

# What the marks of a row say of its threshold.
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
    """The same threshold where pneumonia is as common as given; by Bayes, None if undefined.

    Attributes:
        prevalence: share of the films that show pneumonia, 0..1.
        referrals: films called pneumonia, of 100.
    """

    prevalence: float
    ppv: float | None
    npv: float | None
    referrals: float | None


@dataclass(frozen=True)
class ThresholdRow:
    """One row of the table.

    Attributes:
        threshold: from which probability on a film is called pneumonia.
        marks: what this threshold is: :data:`STEP`, ``sensitivity 0.95``, ``specificity 0.9``
            (the highest and the lowest threshold that reaches it), :data:`YOUDEN`, :data:`CHOSEN`.
        referrals: films called pneumonia, of 100; None without films.
        projected: the same at another prevalence, if one was given.
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
        """The fields as plain values, for JSON."""
        return asdict(self) | {"marks": list(self.marks)}


def operating_points(
    films: Scored, chosen: float, prevalence: float | None = None
) -> list[ThresholdRow]:
    """The table, by rising threshold; what several marks share is one row.

    Args:
        films: labelled films; their `called` is not looked at.
        chosen: the threshold in use.
        prevalence: share of films with pneumonia where the model is to be used, 0..1.

    Raises:
        ValueError: if the prevalence is no share.
    """
    marks: dict[float, list[str]] = {}
    for threshold, mark in _marked(films, chosen):
        marks.setdefault(threshold, []).append(mark)
    return [_point(films, t, tuple(marks[t]), prevalence) for t in sorted(marks)]


def write_points(path: Path, points: Sequence[ThresholdRow]) -> None:
    """Write ``operating_points.csv``, one line a threshold; what is undefined is an empty cell."""
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
            there = point.projected
            elsewhere = (
                (there.prevalence, there.ppv, there.npv, there.referrals) if there else (None,) * 4
            )
            rest = map(_cell, (point.referrals, *elsewhere))
            threshold, marks = f"{point.threshold:.{DECIMALS}f}", "; ".join(point.marks)
            writer.writerow([threshold, marks, *counts, *shares, *rest])


def project(sensitivity: float | None, specificity: float | None, prevalence: float) -> Projection:
    """Predictive values and referrals at another prevalence, from Bayes' theorem.

    Raises:
        ValueError: if the prevalence is no share.
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
    """The highest threshold whose sensitivity reaches the target; None without pneumonia films.

    Args:
        probabilities: six decimals, as the calibration gives them, shape (n,).
        labels: 1 or True for pneumonia, shape (n,).
        target: above 0, at most 1.

    Returns:
        A threshold of six decimals, half-way between the last film that is called and the first
        that is not: a runtime that differs in the last decimal decides alike. No film lies between,
        so all are decided as at the film's own probability.
    """
    micros, positive = _micros(probabilities), np.asarray(labels, bool)
    ranked = np.sort(micros[positive])[::-1]
    if not len(ranked):
        return None
    return _below(micros, int(ranked[max(_needed(target, len(ranked)), 1) - 1]))


def threshold_for_specificity(probabilities: Floats, labels: Labels, target: float) -> float | None:
    """The lowest threshold whose specificity reaches the target, likewise.

    None without normal films, and where too many of them have probability 1.
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
    """The threshold with the largest sensitivity + specificity - 1 (Youden, Cancer 3, 1950).

    The lowest of several: it finds more. None without films of both classes.
    """
    micros, positive = _micros(probabilities), np.asarray(labels, bool)
    if positive.all() or not positive.any():
        return None
    values, which = np.unique(micros, return_inverse=True)
    # Called at each value: all films from it on. Whole numbers, so that equal ones are equal.
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
    """In millionths: whole numbers have exact neighbours and exact middles."""
    return np.rint(np.asarray(probabilities) * _ONE).astype(np.int64)


def _needed(target: float, films: int) -> int:
    # 0.55 x 100 is a little more than 55 in binary; nobody means 56 of 100 by it.
    return int(np.ceil(target * films - 1e-9))


def _below(micros: Micros, lowest_called: int) -> float:
    """Half-way from the last film that is called down to the next; to 0 if there is none."""
    under = micros[micros < lowest_called]
    return _half_way(int(under.max()) if len(under) else 0, lowest_called)


def _half_way(not_called: int, called: int) -> float:
    """In the middle, and never at the film that is not called: above it, at most at the other."""
    return round((not_called + called + 1) // 2 / _ONE, DECIMALS)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
