"""Make scores honest probabilities, and choose the operating point, on validation films."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from screening.decision import Calibration, Floats, OperatingPoint, logits
from screening.training.films import Labels


def fit_temperature(scores: npt.NDArray[np.float32], labels: Labels) -> Calibration:
    """The temperature with the smallest negative log-likelihood, between 1/20 and 20.

    Each class counts the same, as it did in training.
    """
    z = logits(scores) * (2 * labels - 1)
    weights = 1 / np.bincount(labels, minlength=2)[labels]

    def loss(log_temperature: float) -> float:
        return float(np.average(np.logaddexp(0, -z / np.exp(log_temperature)), weights=weights))

    bounds = (-np.log(20), np.log(20))
    return Calibration(float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)))


def choose_threshold(
    probabilities: Floats, labels: Labels, target_sensitivity: float
) -> OperatingPoint:
    """The highest threshold whose sensitivity on these films reaches the target."""
    positives = np.sort(probabilities[labels == 1])[::-1]
    needed = int(np.ceil(target_sensitivity * len(positives) - 1e-9))
    rule = f"highest threshold with sensitivity >= {target_sensitivity} on validation"
    return OperatingPoint(float(positives[max(needed, 1) - 1]), rule)
