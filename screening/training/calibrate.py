"""Calibrate scores to probabilities and choose the operating point on validation films."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from screening.errors import TrainingDataError
from screening.model.calibration import Calibration, Floats, OperatingPoint, logits, sigmoid
from screening.report.operating_points import (
    threshold_for_sensitivity,
    threshold_for_specificity,
    youden_threshold,
)
from screening.results import CLASSES
from screening.training.data.dataset import Labels

#: Rules that choose the operating point; the first two need a target.
TARGET_SENSITIVITY: Final = "target-sensitivity"
TARGET_SPECIFICITY: Final = "target-specificity"
YOUDEN: Final = "youden"
RULES: Final = (TARGET_SENSITIVITY, TARGET_SPECIFICITY, YOUDEN)

#: Target used if none is given.
DEFAULT_TARGET: Final = 0.95

# Bounds of the fit. Values beyond these claim more than validation films can show: 20 times sharper
# or flatter, and prior odds of 1 : 22,026.
_SHARPEST: Final = 20.0
_BIAS: Final = 10.0


def fit_calibration(
    scores: npt.NDArray[np.float32], labels: Labels, prevalence: float | None = None
) -> Calibration:
    """Fit temperature and bias by maximum likelihood.

    Follows Platt ("Probabilistic outputs for support vector machines", 1999): no penalty, and
    targets slightly inside 0 and 1, so that the fit is finite for perfectly separated films. The
    temperature is from 1/20 to 20, the bias from -10 to 10.

    Args:
        scores: softmax of the network, shape (n, 2).
        labels: class indices, shape (n,).
        prevalence: share of films with pneumonia for which the probabilities should hold, above 0
            and below 1; in the fit, each class gets this share of the weight. None for the
            prevalence of these films, which is also used if they are all of one class.

    Raises:
        TrainingDataError: if a score is not finite.
    """
    z = logits(scores)
    if not np.isfinite(z).all():
        raise TrainingDataError(
            f"the network gives no valid score for {int((~np.isfinite(z)).sum())} of {len(z)} "
            "validation films: its training diverged; lower the learning rate"
        )
    positives = int(labels.sum())
    target = np.where(
        labels == 1, (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    )

    if not 0 < positives < len(labels):
        prevalence = None
    weight = np.full(len(labels), 1 / len(labels))
    if prevalence is not None:
        weight = np.where(
            labels == 1, prevalence / positives, (1 - prevalence) / (len(labels) - positives)
        )

    def loss(slope_and_bias: Floats) -> tuple[float, Floats]:
        x = slope_and_bias[0] * z + slope_and_bias[1]
        too_high = weight * (sigmoid(x) - target)
        value = float(np.sum(weight * (np.logaddexp(0, x) - target * x)))
        return value, np.array([np.sum(too_high * z), np.sum(too_high)])

    # The loss is convex in the slope (1 / temperature) and the bias, so the minimum is unique.
    fitted = minimize(
        loss,
        (1.0, 0.0),
        jac=True,
        method="L-BFGS-B",
        bounds=((1 / _SHARPEST, _SHARPEST), (-_BIAS, _BIAS)),
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000},
    )
    slope, bias = map(float, fitted.x)
    return Calibration(1 / slope, bias, prevalence)


def choose_threshold(
    probabilities: Floats,
    labels: Labels,
    target: float = DEFAULT_TARGET,
    rule: str = TARGET_SENSITIVITY,
) -> OperatingPoint:
    """Choose the operating point on these films by a rule.

    The threshold lies half-way between the deciding film and its neighbour, so that a runtime
    whose last decimal differs makes the same decisions.

    Args:
        probabilities: calibrated, six decimals, shape (n,).
        labels: class indices, shape (n,).
        target: sensitivity or specificity to reach, above 0, at most 1; unused by Youden's rule.
        rule: one of :data:`RULES`.

    Raises:
        TrainingDataError: if one of the classes has no film.
        ValueError: if the rule is unknown or the target is out of range.
    """
    if rule not in RULES:
        raise ValueError(f"there is no rule {rule!r}; the rules are {', '.join(RULES)}")
    if not 0 < target <= 1:
        raise ValueError(f"the target is {target}, expected above 0 and at most 1")
    for index, name in enumerate(CLASSES):
        if not (labels == index).any():
            raise TrainingDataError(
                f"the validation set has no {name} film, so no threshold can be chosen on it"
            )
    if rule == YOUDEN:
        threshold = youden_threshold(probabilities, labels)
        what = "threshold with the largest sensitivity + specificity - 1 on validation"
    elif rule == TARGET_SPECIFICITY:
        threshold = threshold_for_specificity(probabilities, labels, target)
        what = f"lowest threshold with specificity >= {target} on validation"
    else:
        threshold = threshold_for_sensitivity(probabilities, labels, target)
        what = f"highest threshold with sensitivity >= {target} on validation"
    if threshold is None:
        # Too many normal films have probability 1 for any threshold to reach the target.
        return OperatingPoint(1.0, f"no threshold reaches specificity >= {target} on validation")
    return OperatingPoint(threshold, what)


def limit_normals(
    point: OperatingPoint, normals: Mapping[str, Floats], most: float
) -> OperatingPoint:
    """Raise the operating point if it calls too many films of a group of normal films.

    A threshold chosen on the films of one hospital may call many normal films of another hospital,
    or of one view.

    Args:
        point: operating point chosen on films with both classes.
        normals: probabilities of films without pneumonia, six decimals, by the name of their group.
            A group of fewer than ``1 / most`` films is too small to measure the share and is
            ignored.
        most: share of a group that may be called, above 0, at most 1; 1 never raises the point.
    """
    raised: list[tuple[float, str]] = []
    for name, probabilities in normals.items():
        if len(probabilities) * most < 1 or point.positive(probabilities).mean() <= most:
            continue
        none = np.zeros(len(probabilities), np.int64)
        threshold = threshold_for_specificity(probabilities, none, 1 - most)
        raised.append((1.0 if threshold is None else threshold, name))
    if not raised:
        return point
    threshold, name = max(raised)
    return OperatingPoint(
        threshold,
        f"{point.rule}, raised until at most {most:.3g} of the NORMAL films of {name} are flagged",
    )
