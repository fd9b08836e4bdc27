"""What labels say about probabilities and decisions."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.findings import CLASSES, POSITIVE
from screening.report.intervals import Figure, bootstrap, share

_BINS: Final = 10

# A probability has six decimals; one that is written as 0 or 1 is at most this far from it.
_NEXT_TO_NOTHING: Final = 5e-7

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scored and labelled films, one array element each.

    Attributes:
        positive: True where the label is pneumonia.
        probability: calibrated P(pneumonia).
        called: True where the film was called pneumonia.
        patient: patients as integers, for resampling.
    """

    positive: Booleans
    probability: Floats
    called: Booleans
    patient: npt.NDArray[np.int64]


def confusion(films: Scored) -> dict[str, int]:
    """The counts TP, FP, TN and FN."""
    return {
        "TP": int(np.sum(films.positive & films.called)),
        "FP": int(np.sum(~films.positive & films.called)),
        "TN": int(np.sum(~films.positive & ~films.called)),
        "FN": int(np.sum(films.positive & ~films.called)),
    }


def proportions(films: Scored) -> dict[str, Figure]:
    """Precision, recall, specificity, negative predictive value and accuracy."""
    right = films.positive == films.called
    of = {
        "precision": films.called,
        "recall": films.positive,
        "specificity": ~films.positive,
        "npv": ~films.called,
        "accuracy": np.ones(len(right), bool),
    }
    return {name: share(right[these], films.patient[these]) for name, these in of.items()}


def performance(films: Scored) -> dict[str, Figure]:
    """All metrics by name, in the order of the summary.

    Proportions carry Wilson intervals that know of films of the same patient, the others
    percentile intervals from resampling patients.
    A metric that the films do not define (no positives, say) has no value.
    """
    ranking = _Ranking(films)
    return {
        **proportions(films),
        "balanced_accuracy": bootstrap(lambda w: _balanced_accuracy(films, w), films.patient),
        "f1": bootstrap(lambda w: _f1(films, w), films.patient),
        "auroc": bootstrap(ranking.auroc, films.patient),
        "average_precision": bootstrap(ranking.average_precision, films.patient),
        "brier": bootstrap(lambda w: _brier(films, w), films.patient),
        "calibration_error": bootstrap(
            lambda w: calibration_error(films.positive, films.probability, w), films.patient
        ),
    }


def auroc(films: Scored) -> Figure:
    """Area under the ROC curve alone."""
    return bootstrap(_Ranking(films).auroc, films.patient)


class _Ranking:
    """Films in the order of their probability, sorted once for a thousand resamples.

    The same figures as scikit-learn's ``roc_auc_score`` and ``average_precision_score``, which
    check and sort their arguments anew at every call.
    """

    def __init__(self, films: Scored) -> None:
        self._order = np.argsort(-films.probability, kind="stable")
        self._positive = films.positive[self._order]
        ordered = films.probability[self._order]
        # Films with equal probability are called together: only the last of them is a threshold.
        self._ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))

    def auroc(self, weights: Floats) -> float | None:
        """Area under the ROC curve by the trapezoidal rule; undefined without both classes."""
        tp, fp = self._cumulated(weights)
        if not tp[-1] or not fp[-1]:
            return None
        return float(np.trapezoid(tp, fp) / (tp[-1] * fp[-1]))

    def average_precision(self, weights: Floats) -> float | None:
        """Precision averaged over the steps in recall; undefined without positives."""
        tp, fp = self._cumulated(weights)
        if not tp[-1]:
            return None
        precision = tp[1:] / np.maximum(tp[1:] + fp[1:], np.finfo(float).tiny)
        return float(np.sum(np.diff(tp) * precision) / tp[-1])

    def _cumulated(self, weights: Floats) -> tuple[Floats, Floats]:
        """True and false positives at each threshold, from none called to all called."""
        ordered = weights[self._order]
        tp = np.cumsum(ordered * self._positive)[self._ends]
        fp = np.cumsum(ordered * ~self._positive)[self._ends]
        return np.append(0.0, tp), np.append(0.0, fp)


def calibration_error(
    positive: Booleans, probability: Floats, weights: Floats | None = None
) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015)."""
    weights = np.ones(len(positive)) if weights is None else weights
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights * (probability - positive), _BINS)
    return float(np.abs(gaps).sum() / weights.sum())


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
        labels: class of each film, an index of :data:`screening.findings.CLASSES`, shape (n,).
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


def _balanced_accuracy(films: Scored, weights: Floats) -> float | None:
    positives = float(weights[films.positive].sum())
    negatives = float(weights.sum()) - positives
    if not positives or not negatives:
        return None
    found = float(weights[films.positive & films.called].sum()) / positives
    cleared = float(weights[~films.positive & ~films.called].sum()) / negatives
    return (found + cleared) / 2


def _f1(films: Scored, weights: Floats) -> float | None:
    either = float(weights[films.positive].sum() + weights[films.called].sum())
    return 2 * float(weights[films.positive & films.called].sum()) / either if either else None


def _brier(films: Scored, weights: Floats) -> float:
    return float(np.average((films.probability - films.positive) ** 2, weights=weights))
