"""Convert scores to calibrated probabilities, and probabilities to decisions."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.results import NORMAL, PNEUMONIA, POSITIVE

Floats = npt.NDArray[np.float64]

#: Probabilities are rounded before they are compared with the threshold, so that the decision
#: matches the number in the report and does not depend on the last bits of a runtime.
DECIMALS: Final = 6

# Softmax in float32 saturates here; beyond it a logit carries no information.
_TINY: Final = 1e-7


@dataclass(frozen=True)
class Calibration:
    """Platt scaling (Platt, 1999): ``p = sigmoid(logit / temperature + bias)``.

    The temperature corrects overconfidence; the bias sets the prevalence of pneumonia that the
    probabilities are valid for. With bias 0 this is temperature scaling (Guo et al., ICML 2017).
    Neither changes the ranking of films.

    Attributes:
        temperature: above 0; below 1 it sharpens, above 1 it flattens.
        bias: log odds that are added; finite.
        prevalence: share of films with pneumonia for which the probabilities are valid, above 0 and
            below 1; None for that of the films it was fitted on.
    """

    temperature: float = 1.0
    bias: float = 0.0
    prevalence: float | None = None

    def probabilities(self, scores: npt.NDArray[np.floating]) -> Floats:
        """Return calibrated P(pneumonia), shape (n,), six decimals, from softmax scores, (n, 2)."""
        return np.round(sigmoid(self.log_odds(logits(scores))), DECIMALS)

    def log_odds(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return calibrated log odds of pneumonia from those of the network, of any shape."""
        return raw / self.temperature + self.bias


@dataclass(frozen=True)
class OperatingPoint:
    """The probability from which a film is classified as pneumonia, and the rule that chose it."""

    threshold: float
    rule: str

    @property
    def log_odds(self) -> float:
        """Log odds of the threshold; for 0 and 1, of the nearest probability a report can show."""
        p = min(max(self.threshold, 10**-DECIMALS), 1 - 10**-DECIMALS)
        return float(np.log(p) - np.log1p(-p))

    def positive(self, probabilities: Floats) -> npt.NDArray[np.bool_]:
        """Return True where the probability reaches the threshold."""
        return probabilities >= self.threshold

    def finding(self, probability: float) -> str:
        """Return the class name for the report."""
        return PNEUMONIA if probability >= self.threshold else NORMAL


def logits(scores: npt.NDArray[np.floating]) -> Floats:
    """Return log odds of pneumonia, shape (n,), from softmax scores, shape (n, 2).

    A score that is not a probability gives NaN.
    """
    p = np.asarray(scores, np.float64)[:, POSITIVE]
    p = np.where((p >= 0) & (p <= 1), np.clip(p, _TINY, 1 - _TINY), np.nan)
    return np.asarray(np.log(p) - np.log1p(-p))


def sigmoid(x: Floats) -> Floats:
    """Return the logistic function without overflow."""
    # NaN stays NaN, without a warning on standard error.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(-np.logaddexp(0, -x)))
