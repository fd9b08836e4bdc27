import numpy as np
import pytest
from sklearn.metrics import log_loss

from screening.decision import Calibration
from screening.training.calibrate import choose_threshold, fit_temperature


def scores(p: np.ndarray) -> np.ndarray:
    return np.stack([1 - p, p], axis=1).astype(np.float32)


def overconfident(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.int64)
    return 1 / (1 + np.exp(-3 * z)), labels


# Every film has 9 : 1 odds for one class and three in four are of that class. The likelihood is
# highest where the probability is 3/4, odds of 3 : 1: the root of 9, a temperature of 2. With
# 99 in 100 right it is odds of 99 : 1: ln 9 / ln 99.
@pytest.mark.parametrize(
    ("right", "of", "temperature"), [(3, 4, 2.0), (99, 100, np.log(9) / np.log(99))]
)
def test_the_temperature_makes_the_probabilities_those_that_occur(
    right: int, of: int, temperature: float
) -> None:
    labels = np.repeat([0, 1], of)
    p = np.full(2 * of, 0.1)
    p[of - (of - right) : of] = 0.9
    p[of : of + right] = 0.9
    fitted = fit_temperature(scores(p), labels)
    assert fitted.temperature == pytest.approx(temperature, rel=1e-3)


def test_no_other_temperature_has_a_smaller_loss() -> None:
    p, labels = overconfident()
    weight = np.where(labels == 1, 1 / (labels == 1).sum(), 1 / (labels == 0).sum())

    def loss(temperature: float) -> float:
        calibrated = Calibration(temperature).probabilities(scores(p))
        return log_loss(labels, calibrated, sample_weight=weight)

    fitted = fit_temperature(scores(p), labels).temperature
    grid = np.exp(np.linspace(-np.log(20), np.log(20), 300))
    assert loss(fitted) <= min(loss(temperature) for temperature in grid) + 1e-6
    assert fitted == pytest.approx(3, rel=0.25)


def test_each_class_counts_the_same() -> None:
    # Ten times as many films of one class, each as before, are no reason for another temperature.
    p, labels = overconfident(100)
    many = np.concatenate([np.flatnonzero(labels == 0), np.repeat(np.flatnonzero(labels == 1), 10)])
    once = fit_temperature(scores(p), labels).temperature
    assert fit_temperature(scores(p[many]), labels[many]).temperature == pytest.approx(
        once, rel=1e-3
    )


@pytest.mark.parametrize(("p", "bound"), [([0.4, 0.6], 1 / 20), ([0.6, 0.4], 20)])
def test_the_temperature_keeps_to_its_bounds(p: list[float], bound: float) -> None:
    # All right: ever sharper would be better. All wrong: ever flatter.
    fitted = fit_temperature(scores(np.array(p)), np.array([0, 1]))
    assert fitted.temperature == pytest.approx(bound, rel=0.01)


POSITIVES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1]


@pytest.mark.parametrize(
    ("target", "threshold"),
    [(0.1, 0.9), (0.5, 0.5), (0.51, 0.4), (0.9, 0.15), (0.95, 0.1), (1.0, 0.1), (0.01, 0.9)],
)
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity(
    target: float, threshold: float
) -> None:
    p = np.array([*POSITIVES, 0.99, 0.05])
    labels = np.array([1] * 10 + [0, 0])
    assert choose_threshold(p, labels, target).threshold == threshold


@pytest.mark.parametrize("target", np.linspace(0.05, 1, 20).tolist())
def test_the_next_probability_above_would_miss_the_target(target: float) -> None:
    rng = np.random.default_rng(2)
    p, labels = rng.random(97).round(2), rng.integers(0, 2, 97)
    point = choose_threshold(p, labels, target)
    positives = p[labels == 1]
    assert point.positive(positives).mean() >= target - 1e-9
    above = positives[positives > point.threshold]
    assert len(above) / len(positives) < target


def test_films_with_the_same_probability_are_called_together() -> None:
    p, labels = np.array([0.5, 0.5, 0.5, 0.1]), np.array([1, 1, 1, 1])
    assert choose_threshold(p, labels, 0.5).threshold == 0.5


def test_the_rule_is_told() -> None:
    rule = choose_threshold(np.array([0.5]), np.array([1]), 0.95).rule
    assert rule == "highest threshold with sensitivity >= 0.95 on validation"
