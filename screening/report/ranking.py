"""Films by falling probability: what all thresholds together say of the order."""

import numpy as np

from screening.report.intervals import Booleans, Floats, Patients


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
        return _ratio(pairs - wrong, pairs), _ratio(precisions, positives)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))
