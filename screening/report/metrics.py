"""What labels say about probabilities and decisions."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

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
    return {
        "precision": proportion(tp, tp + fp),
        "recall": proportion(tp, tp + fn),
        "specificity": proportion(tn, tn + fp),
        "npv": proportion(tn, tn + fn),
        "accuracy": proportion(tp + tn, total),
        "f1": bootstrap(lambda i: _f1(films.positive[i], films.called[i]), films.patient),
        "auroc": bootstrap(
            lambda i: _auroc(films.positive[i], films.probability[i]), films.patient
        ),
        "average_precision": bootstrap(
            lambda i: _average_precision(films.positive[i], films.probability[i]), films.patient
        ),
        "brier": bootstrap(
            lambda i: _brier(films.positive[i], films.probability[i]), films.patient
        ),
        "calibration_error": bootstrap(
            lambda i: calibration_error(films.positive[i], films.probability[i]), films.patient
        ),
    }


def calibration_error(positive: Booleans, probability: Floats) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015)."""
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, probability - positive, _BINS)
    return float(np.abs(gaps).sum() / len(positive))


def _f1(positive: Booleans, called: Booleans) -> float | None:
    either = int(positive.sum() + called.sum())
    return 2 * float((positive & called).sum()) / either if either else None


def _auroc(positive: Booleans, probability: Floats) -> float | None:
    both = positive.any() and not positive.all()
    return float(roc_auc_score(positive, probability)) if both else None


def _average_precision(positive: Booleans, probability: Floats) -> float | None:
    return float(average_precision_score(positive, probability)) if positive.any() else None


def _brier(positive: Booleans, probability: Floats) -> float:
    return float(np.mean((probability - positive) ** 2))
