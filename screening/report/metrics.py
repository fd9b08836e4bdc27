"""Metrics of probabilities and decisions against labels, by film, patient and study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from screening.report.intervals import (
    Booleans,
    Figure,
    Floats,
    Patients,
    draws,
    mean_of_two,
    share,
    studentised,
    sum_of_gaps,
)
from screening.results import CLASSES, PNEUMONIA, POSITIVE, Row, Status


class Ranking:
    """Films sorted once for all resamples.

    Gives the same figures as scikit-learn's ``roc_auc_score`` and ``average_precision_score``,
    which check and sort their arguments on every call. Only probabilities of positive films matter
    as thresholds; films of equal probability are classified together.

    Args:
        positive: True where the label is pneumonia, shape (n,).
        probability: in descending order, shape (n,).
        patient: patients numbered from 0, shape (n,).
    """

    def __init__(self, positive: Booleans, probability: Floats, patient: Patients) -> None:
        self._positives, self._negatives = patient[positive], patient[~positive]
        thresholds, others = -probability[positive], -probability[~positive]
        # At the threshold of each positive film: the last positive film that reaches it, and the
        # number of negative films above it, and at or above it.
        self._last = np.searchsorted(thresholds, thresholds, side="right") - 1
        self._above = np.searchsorted(others, thresholds)
        self._called = np.searchsorted(others, thresholds, side="right")

    def areas(self, times: Floats) -> tuple[Floats, Floats]:
        """Return the area under the ROC curve (by trapezoids) and average precision of each draw.

        Args:
            times: how often each patient was drawn, whole numbers, shape (draws, patients).

        Returns:
            Two arrays of shape (draws,): NaN where a draw lacks a class, or positives.
        """
        found = times.take(self._positives, axis=1)
        tp = np.cumsum(found, axis=1)
        fp = np.zeros((len(times), len(self._negatives) + 1))
        np.cumsum(times.take(self._negatives, axis=1), axis=1, out=fp[:, 1:])
        positives, negatives = found.sum(axis=1), fp[:, -1]
        above, called = fp.take(self._above, axis=1), fp.take(self._called, axis=1)
        # Pairs in the wrong order, plus half of the ties.
        wrong = np.einsum("ij,ij->i", found, above + called) / 2
        tp = tp.take(self._last, axis=1)
        precisions = np.einsum("ij,ij->i", found, tp / np.maximum(tp + called, 1))
        pairs = positives * negatives
        return _share(pairs - wrong, pairs), _share(precisions, positives)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


_BINS: Final = 10

# A probability has six decimals; one written as 0 or 1 is at most this far from it.
_NEXT_TO_NOTHING: Final = 5e-7

# With fewer films, or fewer patients of a kind of films, a figure gets the note "few".
_MANY_FILMS: Final = 100
_MANY_PATIENTS: Final = 10

# The note of a metric for each kind of films that it depends on, if there are none.
_KINDS: Final = {
    "positive": "no_positives",
    "negative": "no_negatives",
    "called": "none_called",
    "cleared": "none_cleared",
}
_BOTH: Final = ("positive", "negative")
# The kinds of films that a metric depends on, its denominator first; otherwise _BOTH.
_NEEDS: Final = {
    "precision": ("called", *_BOTH),
    "recall": ("positive",),
    "specificity": ("negative",),
    "npv": ("cleared", *_BOTH),
}


@dataclass(frozen=True, eq=False)
class Scored:
    """Scored and labelled films, one array element each.

    Attributes:
        positive: True where the label is pneumonia.
        probability: calibrated P(pneumonia).
        called: True where the prediction is pneumonia.
        patient: the patient of each film as a small number, 0 or more.
    """

    positive: Booleans
    probability: Floats
    called: Booleans
    patient: Patients


def confusion(films: Scored) -> dict[str, int]:
    """Return the counts TP, FP, TN and FN."""
    return {
        "TP": int(np.sum(films.positive & films.called)),
        "FP": int(np.sum(~films.positive & films.called)),
        "TN": int(np.sum(~films.positive & ~films.called)),
        "FN": int(np.sum(films.positive & ~films.called)),
    }


def proportions(films: Scored) -> dict[str, Figure]:
    """Return precision, recall, specificity, NPV and accuracy, with their notes."""
    right = films.positive == films.called
    of = {
        "precision": films.called,
        "recall": films.positive,
        "specificity": ~films.positive,
        "npv": ~films.called,
        "accuracy": np.ones(len(right), bool),
    }
    return _noted(
        {name: share(right[these], films.patient[these]) for name, these in of.items()}, films
    )


def performance(films: Scored) -> dict[str, Figure]:
    """Return all metrics by name, in the order of the summary.

    Proportions, and metrics derived from them, have Wilson intervals that account for several films
    of one patient; the others have intervals from resampling patients. A metric that is undefined
    for these films (no positives, for example) has no value, and its note says why. The result does
    not depend on the order of the films.
    """
    shares = proportions(films)
    composed = {
        "balanced_accuracy": mean_of_two(shares["recall"], shares["specificity"]),
        "f1": _f1(films),
    }
    return {**shares, **_noted({**composed, **_resampled(films)}, films)}


def auroc(films: Scored) -> Figure:
    """Return only the area under the ROC curve."""
    return performance(films)["auroc"]


def calibration_error(positive: Booleans, probability: Floats) -> float:
    """Return the expected calibration error, ten bins of equal width (Naeini et al., AAAI 2015)."""
    gaps = np.bincount(_bins(probability), probability - positive, _BINS)
    return float(np.abs(gaps).sum() / len(positive))


def log_loss(positive: Booleans, probability: Floats) -> float | None:
    """Return the mean negative log-likelihood of the labels; None without films."""
    if not len(positive):
        return None
    p = np.clip(probability, _NEXT_TO_NOTHING, 1 - _NEXT_TO_NOTHING)
    return float(-np.mean(np.where(positive, np.log(p), np.log1p(-p))))


def results_table(
    labels: npt.NDArray[np.integer] | Booleans, probabilities: Floats, called: Booleans
) -> dict[str, Any]:
    """Return the classification results of one side of a split as plain values for the card.

    Args:
        labels: class of each film, an index of :data:`screening.results.CLASSES`, shape (n,).
        probabilities: calibrated P(pneumonia), shape (n,).
        called: True where the prediction is pneumonia, shape (n,).

    Returns:
        ``n``, ``loss`` (log loss), ``accuracy``, ``classes`` (``precision``, ``recall``, ``f1`` and
        ``support``, the number of films of that class, by class name) and ``confusion``
        (``[label][called]``). Undefined values are None.
    """
    positive = np.asarray(labels) == POSITIVE
    prediction = np.where(called, POSITIVE, 1 - POSITIVE)
    cells = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(cells, (np.asarray(labels, int), prediction), 1)
    of_class, as_class = cells.sum(axis=1), cells.sum(axis=0)
    return {
        "n": len(positive),
        "loss": log_loss(positive, probabilities),
        "accuracy": _ratio(np.trace(cells), cells.sum()),
        "classes": {
            name: {
                "precision": _ratio(cells[k, k], as_class[k]),
                "recall": _ratio(cells[k, k], of_class[k]),
                "f1": _ratio(2 * cells[k, k], of_class[k] + as_class[k]),
                "support": int(of_class[k]),
            }
            for k, name in enumerate(CLASSES)
        },
        "confusion": {
            name: dict(zip(CLASSES, map(int, row), strict=True))
            for name, row in zip(CLASSES, cells, strict=True)
        },
    }


def _ratio(part: np.integer | int, whole: np.integer | int) -> float | None:
    return int(part) / int(whole) if whole else None


def _f1(films: Scored) -> Figure:
    """Return F1 with an interval derived from that of a share.

    With J the share of true positives among films that are called or positive, F1 is 2 J / (1 + J):
    Wilson's indirect method (Lam, Gopal and Qian, arXiv:2309.14621, 2023).
    """
    either = films.positive | films.called
    found = (films.positive & films.called)[either]
    part = share(found, films.patient[either])
    value, low, high = (
        None if j is None else 2 * j / (1 + j) for j in (part.value, part.ci_low, part.ci_high)
    )
    return Figure(value, low, high, len(films.positive))


def _resampled(films: Scored) -> dict[str, Figure]:
    """Return the metrics whose intervals need resampling, all from the same draws of patients."""
    n = len(films.positive)
    if not n:
        names = ("auroc", "average_precision", "brier", "calibration_error")
        return dict.fromkeys(names, Figure(None, None, None, 0))
    films = _ordered(films)
    each = _kinds(films)
    patients, rarer = each["all"], min(each["positive"], each["negative"])
    # Brier score and calibration error are defined with one class, too.
    known = rarer if rarer > 1 else patients
    statistics = _Statistics(films)
    (seen,) = statistics(np.ones((1, patients)))
    drawn = np.concatenate([statistics(times) for times in draws(patients, n)])
    auroc, precision, brier = (
        Figure(None, None, None, n)
        if np.isnan(seen[k])
        else studentised(float(seen[k]), drawn[:, k], of, n)
        for k, of in enumerate((rarer, rarer, known))
    )
    return {
        "auroc": auroc,
        "average_precision": precision,
        "brier": brier,
        "calibration_error": sum_of_gaps(seen[3:], drawn[:, 3:], patients, n),
    }


class _Statistics:
    """AUROC, average precision, Brier score and calibration gaps of many draws.

    Sums over films are added up once by patient, so that a draw is one row of a matrix product;
    only the two areas need every film.

    Args:
        films: in order of descending probability, patients numbered without gaps.
    """

    def __init__(self, films: Scored) -> None:
        self._ranking = Ranking(films.positive, films.probability, films.patient)
        difference = films.probability - films.positive
        cell = films.patient * _BINS + _bins(films.probability)
        sizes = np.bincount(films.patient)
        gaps = np.bincount(cell, difference, len(sizes) * _BINS).reshape(-1, _BINS)
        self._sums = np.column_stack([sizes, np.bincount(films.patient, difference**2), gaps])

    def __call__(self, times: Floats) -> Floats:
        """Return all statistics, shape (k, 3 + bins), for draws of shape (k, patients)."""
        sums = times @ self._sums
        return np.column_stack([*self._ranking.areas(times), sums[:, 1:] / sums[:, :1]])


def _ordered(films: Scored) -> Scored:
    """Sort by descending probability and number patients from 0, independent of input order."""
    order = np.lexsort((films.patient, films.called, films.positive, -films.probability))
    _patients, patient = np.unique(films.patient[order], return_inverse=True)
    return Scored(films.positive[order], films.probability[order], films.called[order], patient)


def _bins(probability: Floats) -> npt.NDArray[np.int64]:
    return np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)


def _kinds(films: Scored) -> dict[str, int]:
    """Count the patients with films of each kind."""
    of = {
        "all": np.ones(len(films.positive), bool),
        "positive": films.positive,
        "negative": ~films.positive,
        "called": films.called,
        "cleared": ~films.called,
    }
    return {kind: int(np.count_nonzero(np.bincount(films.patient[w]))) for kind, w in of.items()}


def _noted(figures: Mapping[str, Figure], films: Scored) -> dict[str, Figure]:
    """Add a note to figures without an interval, or from few films or patients."""
    patients = _kinds(films)
    few = len(films.positive) < _MANY_FILMS

    def note(name: str, figure: Figure) -> str:
        if not patients["all"]:
            return "no_films"
        needed = _NEEDS.get(name, _BOTH)
        lacking = [_KINDS[kind] for kind in needed if not patients[kind]]
        if figure.value is None or (figure.ci_low is None and lacking and patients["all"] > 1):
            return lacking[0]
        if figure.ci_low is None:
            return "one_patient"
        return "few" if few or min(patients[kind] for kind in needed) < _MANY_PATIENTS else ""

    return {name: replace(figure, note=note(name, figure)) for name, figure in figures.items()}


_COLUMNS: Final = (
    "film",
    "status",
    "probability",
    "prediction",
    "label",
    "outcome",
    "patient",
    "study",
    "view",
    "sex",
    "age_band",
    "manufacturer",
)


class Unit(StrEnum):
    """The unit that counts as one case."""

    FILM = "film"
    PATIENT = "patient"
    STUDY = "study"


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the columns of rows that a summary needs, one line per film.

    In addition to columns of :class:`Row`: `folder`, the first folder of the film's path (``.`` if
    it is in none), and `owner`, the patient or, if unknown, the film itself.
    """
    films = pd.DataFrame(
        [[getattr(row, name) for name in _COLUMNS] for row in rows], columns=list(_COLUMNS)
    ).astype({"probability": np.float64})
    films["folder"] = [film.partition("/")[0] if "/" in film else "." for film in films.film]
    films["owner"] = films.patient.where(films.patient != "", "film " + films.film)
    return films


def judged(films: pd.DataFrame) -> pd.DataFrame:
    """Return films that have a label and a prediction."""
    return films[films.outcome != ""]


def unscored(films: pd.DataFrame) -> pd.DataFrame:
    """Return films that have a label but no prediction, because they were refused or failed."""
    return films[(films.label != "") & films.status.isin([Status.REFUSED, Status.FAILED])]


def cases(films: pd.DataFrame, unit: Unit = Unit.FILM) -> Scored:
    """Return judged films, or their patients or studies, in the form that the metrics take.

    A patient or study has pneumonia if any of its films is labelled so, is called pneumonia if any
    of its films is, and has the highest of their probabilities. A film of an unknown patient is its
    own patient; a film of an unknown study is in no study.

    Args:
        films: from :func:`judged`.
    """
    one = pd.DataFrame(
        {
            "positive": films.label == PNEUMONIA,
            "probability": films.probability,
            "called": films.prediction == PNEUMONIA,
            "owner": films.owner,
        }
    )
    if unit is not Unit.FILM:
        name = films.owner if unit is Unit.PATIENT else films.study
        # Take the first owner: a study whose files name two patients counts for one.
        how = {"positive": "any", "probability": "max", "called": "any", "owner": "first"}
        one = one[name != ""].groupby(name[name != ""], sort=False).agg(how)
    return Scored(
        positive=one.positive.to_numpy(bool),
        probability=one.probability.to_numpy(np.float64),
        called=one.called.to_numpy(bool),
        patient=numbers(one.owner),
    )


def numbers(owners: "pd.Series[str]") -> npt.NDArray[np.int64]:
    """Number the owners with whole numbers that do not depend on the order of the films."""
    return owners.factorize(sort=True)[0].astype(np.int64)
