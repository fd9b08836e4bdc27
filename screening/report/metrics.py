"""What labels say about probabilities and decisions, by film, patient and study."""

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
    """Films that are sorted once for all resamples.

    The same figures as scikit-learn's ``roc_auc_score`` and ``average_precision_score``, which
    check and sort their arguments anew at every call. A threshold that matters is the probability
    of a positive film; films of equal probability are called together.

    Args:
        positive: True where the label is pneumonia, shape (n,).
        probability: falling, shape (n,).
        patient: patients numbered from 0, shape (n,).
    """

    def __init__(self, positive: Booleans, probability: Floats, patient: Patients) -> None:
        self._positives, self._negatives = patient[positive], patient[~positive]
        thresholds, others = -probability[positive], -probability[~positive]
        # At the threshold of each positive film: the last positive film that is called, and how
        # many negative ones lie above it, and above it or at it.
        self._last = np.searchsorted(thresholds, thresholds, side="right") - 1
        self._above = np.searchsorted(others, thresholds)
        self._called = np.searchsorted(others, thresholds, side="right")

    def areas(self, times: Floats) -> tuple[Floats, Floats]:
        """Areas under the ROC curve (by trapezoids) and average precisions, one each a draw.

        Args:
            times: how often each patient was drawn, whole numbers, shape (draws, patients).

        Returns:
            Two arrays of the shape (draws,): NaN where a draw lacks a class, or positives.
        """
        found = times.take(self._positives, axis=1)
        tp = np.cumsum(found, axis=1)
        fp = np.zeros((len(times), len(self._negatives) + 1))
        np.cumsum(times.take(self._negatives, axis=1), axis=1, out=fp[:, 1:])
        positives, negatives = found.sum(axis=1), fp[:, -1]
        above, called = fp.take(self._above, axis=1), fp.take(self._called, axis=1)
        # Pairs in the wrong order, and half of those that are equal.
        wrong = np.einsum("ij,ij->i", found, above + called) / 2
        tp = tp.take(self._last, axis=1)
        precisions = np.einsum("ij,ij->i", found, tp / np.maximum(tp + called, 1))
        pairs = positives * negatives
        return _share(pairs - wrong, pairs), _share(precisions, positives)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


_BINS: Final = 10

# A probability has six decimals; one that is written as 0 or 1 is at most this far from it.
_NEXT_TO_NOTHING: Final = 5e-7

# Fewer films, or fewer patients of a kind of films, and a figure carries the note "few".
_MANY_FILMS: Final = 100
_MANY_PATIENTS: Final = 10

# The kinds of films that a metric depends on, first those it is a share of, and what it means if
# there are none.
_KINDS: Final = {
    "positive": "no_positives",
    "negative": "no_negatives",
    "called": "none_called",
    "cleared": "none_cleared",
}
_BOTH: Final = ("positive", "negative")
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
        called: True where the film was called pneumonia.
        patient: the patient of each film as a small number, 0 or more.
    """

    positive: Booleans
    probability: Floats
    called: Booleans
    patient: Patients


def confusion(films: Scored) -> dict[str, int]:
    """The counts TP, FP, TN and FN."""
    return {
        "TP": int(np.sum(films.positive & films.called)),
        "FP": int(np.sum(~films.positive & films.called)),
        "TN": int(np.sum(~films.positive & ~films.called)),
        "FN": int(np.sum(films.positive & ~films.called)),
    }


def proportions(films: Scored) -> dict[str, Figure]:
    """Precision, recall, specificity, negative predictive value and accuracy, with their notes."""
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
    """All metrics by name, in the order of the summary.

    Proportions, and what is made of them, carry Wilson intervals that know of films of the same
    patient, the others intervals from resampling patients. A metric that the films do not define
    (no positives, say) has no value; its note says why. The order of the films is of no account.
    """
    shares = proportions(films)
    composed = {
        "balanced_accuracy": mean_of_two(shares["recall"], shares["specificity"]),
        "f1": _f1(films),
    }
    return {**shares, **_noted({**composed, **_resampled(films)}, films)}


def auroc(films: Scored) -> Figure:
    """Area under the ROC curve alone."""
    return performance(films)["auroc"]


def calibration_error(positive: Booleans, probability: Floats) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015)."""
    gaps = np.bincount(_bins(probability), probability - positive, _BINS)
    return float(np.abs(gaps).sum() / len(positive))


def log_loss(positive: Booleans, probability: Floats) -> float | None:
    """Mean negative log-likelihood of the labels; undefined without films."""
    if not len(positive):
        return None
    p = np.clip(probability, _NEXT_TO_NOTHING, 1 - _NEXT_TO_NOTHING)
    return float(-np.mean(np.where(positive, np.log(p), np.log1p(-p))))


def results_table(
    labels: npt.NDArray[np.integer] | Booleans, probabilities: Floats, called: Booleans
) -> dict[str, Any]:
    """How well the films of one side are told apart, as plain values for the card.

    Args:
        labels: class of each film, an index of :data:`screening.results.CLASSES`, shape (n,).
        probabilities: calibrated P(pneumonia), shape (n,).
        called: True where the film was called pneumonia, shape (n,).

    Returns:
        ``n``, ``loss`` (log loss), ``accuracy``, ``classes`` (``precision``, ``recall``, ``f1`` and
        ``support``, the films of that class, by name) and ``confusion`` (``[label][called]``).
        What the films do not define is None.
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
    """F1 and its interval, those of a share: of films found among those called or positive.

    F1 is 2 J / (1 + J) of that share J: Wilson's indirect method (Lam, Gopal and Qian,
    arXiv:2309.14621, 2023).
    """
    either = films.positive | films.called
    found = (films.positive & films.called)[either]
    part = share(found, films.patient[either])
    value, low, high = (
        None if j is None else 2 * j / (1 + j) for j in (part.value, part.ci_low, part.ci_high)
    )
    return Figure(value, low, high, len(films.positive))


def _resampled(films: Scored) -> dict[str, Figure]:
    """What no formula gives an interval: all from the same draws of patients."""
    n = len(films.positive)
    if not n:
        names = ("auroc", "average_precision", "brier", "calibration_error")
        return dict.fromkeys(names, Figure(None, None, None, 0))
    films = _ordered(films)
    each = _kinds(films)
    patients, rarer = each["all"], min(each["positive"], each["negative"])
    # Errors are known without both classes, too.
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
    """AUROC, average precision, Brier score and the gaps of the calibration, for many draws.

    What is a sum over films is added up by patient once, so that a draw is a row of a product of
    matrices; only the two areas need each film.

    Args:
        films: by falling probability, patients numbered without gaps.
    """

    def __init__(self, films: Scored) -> None:
        self._ranking = Ranking(films.positive, films.probability, films.patient)
        difference = films.probability - films.positive
        cell = films.patient * _BINS + _bins(films.probability)
        sizes = np.bincount(films.patient)
        gaps = np.bincount(cell, difference, len(sizes) * _BINS).reshape(-1, _BINS)
        self._sums = np.column_stack([sizes, np.bincount(films.patient, difference**2), gaps])

    def __call__(self, times: Floats) -> Floats:
        """All of them for draws of shape (k, patients): shape (k, 3 + bins)."""
        sums = times @ self._sums
        return np.column_stack([*self._ranking.areas(times), sums[:, 1:] / sums[:, :1]])


def _ordered(films: Scored) -> Scored:
    """By falling probability, patients numbered from 0: the same films in the same order, always."""
    order = np.lexsort((films.patient, films.called, films.positive, -films.probability))
    _patients, patient = np.unique(films.patient[order], return_inverse=True)
    return Scored(films.positive[order], films.probability[order], films.called[order], patient)


def _bins(probability: Floats) -> npt.NDArray[np.int64]:
    return np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)


def _kinds(films: Scored) -> dict[str, int]:
    """How many patients have films of each kind."""
    of = {
        "all": np.ones(len(films.positive), bool),
        "positive": films.positive,
        "negative": ~films.positive,
        "called": films.called,
        "cleared": ~films.called,
    }
    return {kind: int(np.count_nonzero(np.bincount(films.patient[w]))) for kind, w in of.items()}


def _noted(figures: Mapping[str, Figure], films: Scored) -> dict[str, Figure]:
    """The figures, each with a note where it has no interval, or one of few films or patients."""
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
    """What is counted as one case."""

    FILM = "film"
    PATIENT = "patient"
    STUDY = "study"


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """What a summary needs of rows, one line a film.

    Beside columns of :class:`Row`: `folder`, the first folder of the film's path (``.`` if it lies in
    none), and `owner`, its patient or, where that is not known, itself.
    """
    films = pd.DataFrame(
        [[getattr(row, name) for name in _COLUMNS] for row in rows], columns=list(_COLUMNS)
    ).astype({"probability": np.float64})
    films["folder"] = [film.partition("/")[0] if "/" in film else "." for film in films.film]
    films["owner"] = films.patient.where(films.patient != "", "film " + films.film)
    return films


def judged(films: pd.DataFrame) -> pd.DataFrame:
    """Films that have a label and an answer."""
    return films[films.outcome != ""]


def unscored(films: pd.DataFrame) -> pd.DataFrame:
    """Films that have a label and no answer, because they were refused or failed."""
    return films[(films.label != "") & films.status.isin([Status.REFUSED, Status.FAILED])]


def cases(films: pd.DataFrame, unit: Unit = Unit.FILM) -> Scored:
    """Judged films, or their patients or studies, as the metrics take them.

    A patient or study has pneumonia if any of its films is labelled so, is called if any of them is
    called, and has the highest of their probabilities. A film whose patient is not known is its own
    patient; one whose study is not known is in no study.

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
        # The first owner: files of one study that name two patients are of one.
        how = {"positive": "any", "probability": "max", "called": "any", "owner": "first"}
        one = one[name != ""].groupby(name[name != ""], sort=False).agg(how)
    return Scored(
        positive=one.positive.to_numpy(bool),
        probability=one.probability.to_numpy(np.float64),
        called=one.called.to_numpy(bool),
        patient=numbers(one.owner),
    )


def numbers(owners: "pd.Series[str]") -> npt.NDArray[np.int64]:
    """Owners as whole numbers, the same in whatever order the films are."""
    return owners.factorize(sort=True)[0].astype(np.int64)
