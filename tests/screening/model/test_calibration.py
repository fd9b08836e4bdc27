import numpy as np
import pytest

from screening.model.calibration import Calibration, OperatingPoint, logits, sigmoid


def scores(*p: float) -> np.ndarray:
    return np.array([[1 - value, value] for value in p])


def test_temperature_1_changes_no_score() -> None:
    p = Calibration().probabilities(scores(0.1, 0.5, 0.987654))
    assert p == pytest.approx([0.1, 0.5, 0.987654], abs=1e-6)


# Odds of 9 : 1 at temperature 2 become 9 ** (1 / 2) = 3 : 1.
@pytest.mark.parametrize(("p", "calibrated"), [(0.9, 0.75), (0.1, 0.25), (0.5, 0.5)])
def test_temperature_takes_a_root_of_the_odds(p: float, calibrated: float) -> None:
    assert Calibration(2.0).probabilities(scores(p))[0] == pytest.approx(calibrated, abs=1e-6)


# Odds of 9 : 1 with log 3 added or subtracted are 27 : 1 or 3 : 1; first the root of 9, then three
# times.
@pytest.mark.parametrize(
    ("temperature", "odds", "calibrated"), [(1, 3, 27 / 28), (1, 1 / 3, 0.75), (2, 3, 0.9)]
)
def test_bias_multiplies_the_odds_after_the_temperature(
    temperature: float, odds: float, calibrated: float
) -> None:
    p = Calibration(temperature, float(np.log(odds))).probabilities(scores(0.9))
    assert p[0] == pytest.approx(calibrated, abs=1e-6)


def test_calibration_without_bias_is_temperature_scaling() -> None:
    p = scores(0.1, 0.5, 0.9)
    assert Calibration(1.7).probabilities(p).tolist() == (
        Calibration(1.7, 0.0).probabilities(p).tolist()
    )


def test_probabilities_have_six_decimals() -> None:
    p = Calibration().probabilities(scores(1 / 3, 2 / 3))
    assert p.tolist() == [0.333333, 0.666667]


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_saturated_score_has_a_finite_logit(score: float) -> None:
    assert np.isfinite(logits(scores(score))).all()
    assert Calibration().probabilities(scores(score))[0] == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("calibration", [Calibration(3.7), Calibration(0.5, 4), Calibration(9, -8)])
def test_calibration_keeps_the_order_of_films(calibration: Calibration) -> None:
    p = np.linspace(0, 1, 101)
    assert (np.diff(calibration.probabilities(scores(*p))) >= 0).all()


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e4, -1.0, 0.0, 1.0, 1e4])) == pytest.approx(
        [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1]
    )


def test_nan_score_stays_nan() -> None:
    assert np.isnan(Calibration().probabilities(scores(np.nan))).all()


@pytest.mark.parametrize(
    ("probability", "finding"),
    [(0.499999, "NORMAL"), (0.5, "PNEUMONIA"), (0.500001, "PNEUMONIA"), (0.0, "NORMAL")],
)
def test_probability_at_the_threshold_is_pneumonia(probability: float, finding: str) -> None:
    assert OperatingPoint(0.5, "").finding(probability) == finding


def test_positive_agrees_with_finding() -> None:
    point = OperatingPoint(0.3, "")
    p = np.array([0.299999, 0.3, 0.300001])
    assert point.positive(p).tolist() == [False, True, True]
    assert [point.finding(value) == "PNEUMONIA" for value in p] == [False, True, True]


def test_decision_uses_the_rounded_probability() -> None:
    # 0.4999999 is reported as 0.5, which reaches the threshold 0.5.
    (p,) = Calibration().probabilities(scores(0.4999999))
    assert p == 0.5
    assert OperatingPoint(0.5, "").finding(p) == "PNEUMONIA"
