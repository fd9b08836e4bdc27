"""What labels say about probabilities and decisions."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.report.intervals import Figure, bootstrap, proportion

_BINS: Final = 10

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


def performance(films: Scored) -> dict[str, Figure]:
    """All metrics by name, in the order of the summary.

    Proportions carry Wilson intervals, the others percentile intervals from resampling patients.
    A metric that the films do not define (no positives, say) has no value.
    """
    count = confusion(films)
    tp, fp, tn, fn = count["TP"], count["FP"], count["TN"], count["FN"]
    total = tp + fp + tn + fn
    ranking = _Ranking(films)
    return {
        "precision": proportion(tp, tp + fp),
        "recall": proportion(tp, tp + fn),
        "specificity": proportion(tn, tn + fp),
        "npv": proportion(tn, tn + fn),
        "accuracy": proportion(tp + tn, total),
        "f1": bootstrap(lambda w: _f1(films, w), films.patient),
        "auroc": bootstrap(ranking.auroc, films.patient),
        "average_precision": bootstrap(ranking.average_precision, films.patient),
        "brier": bootstrap(lambda w: _brier(films, w), films.patient),
        "calibration_error": bootstrap(
            lambda w: calibration_error(films.positive, films.probability, w), films.patient
        ),
    }


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


def _f1(films: Scored, weights: Floats) -> float | None:
    either = float(weights[films.positive].sum() + weights[films.called].sum())
    return 2 * float(weights[films.positive & films.called].sum()) / either if either else None


def _brier(films: Scored, weights: Floats) -> float:
    return float(np.average((films.probability - films.positive) ** 2, weights=weights))
