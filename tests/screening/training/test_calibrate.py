import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from screening.errors import TrainingDataError
from screening.model.calibration import Calibration, OperatingPoint, logits
from screening.report.metrics import calibration_error
from screening.training.calibrate import RULES, choose_threshold, fit_calibration, limit_normals

QUICK = settings(deadline=None, max_examples=40, database=None)


def scores(p: np.ndarray) -> np.ndarray:
    return np.stack([1 - p, p], axis=1)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def drawn(n: int, slope: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of films whose true log odds are ``slope * logit + bias``, and their labels."""
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, n)
    labels = (rng.random(n) < sigmoid(slope * z + bias)).astype(np.int64)
    return scores(sigmoid(z)), labels


def smoothed(labels: np.ndarray) -> np.ndarray:
    positives, negatives = (labels == 1).sum(), (labels == 0).sum()
    return np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


@pytest.mark.parametrize(("slope", "bias"), [(1, 0), (0.4, 0), (2, 1.5), (0.7, -3)])
def test_temperature_and_bias_are_recovered(slope: float, bias: float) -> None:
    fitted = fit_calibration(*drawn(20_000, slope, bias))
    assert 1 / fitted.temperature == pytest.approx(slope, rel=0.07)
    assert fitted.bias == pytest.approx(bias, abs=0.12)


# A film with the target t counts as t of a positive and 1 - t of a negative, which is a logistic
# regression that scikit-learn can fit.
@pytest.mark.parametrize("n", [12, 300])
def test_fit_is_the_logistic_regression_on_platts_targets(n: int) -> None:
    given_scores, labels = drawn(n, 0.8, 1)
    target = smoothed(labels)
    z = np.tile(logits(given_scores), 2)[:, np.newaxis]
    classes, weights = np.repeat([1, 0], n), np.concatenate([target, 1 - target])
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z, classes, weights)
    fitted = fit_calibration(given_scores, labels)
    assert 1 / fitted.temperature == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert fitted.bias == pytest.approx(reference.intercept_[0], rel=1e-4, abs=1e-5)


def test_default_fit_holds_at_the_prevalence_of_the_films() -> None:
    # Three in four films are positive, whatever the scores; the mean probability must match.
    rng = np.random.default_rng(3)
    labels = (np.arange(4000) % 4 > 0).astype(np.int64)
    given_scores = scores(sigmoid(rng.normal(0, 1, 4000) + labels))
    p = fit_calibration(given_scores, labels).probabilities(given_scores)
    assert p.mean() == pytest.approx(0.75, abs=1e-3)
    plain = Calibration().probabilities(given_scores)
    assert calibration_error(labels == 1, p) < calibration_error(labels == 1, plain) / 3


@pytest.mark.parametrize("prevalence", [0.5, 0.1])
def test_probabilities_hold_at_the_given_prevalence(prevalence: float) -> None:
    # Three in four of these films are positive; there are enough of them for both fits to be exact.
    rng = np.random.default_rng(4)
    labels = (np.arange(40_000) % 4 > 0).astype(np.int64)
    given_scores = scores(sigmoid(rng.normal(0, 1, 40_000) + labels))
    fitted = fit_calibration(given_scores, labels, prevalence)
    assert fitted.prevalence == prevalence
    p = fitted.probabilities(given_scores)
    mean = prevalence * p[labels == 1].mean() + (1 - prevalence) * p[labels == 0].mean()
    assert mean == pytest.approx(prevalence, abs=1e-3)
    # By Bayes' rule only the bias depends on the prevalence.
    as_they_are = fit_calibration(given_scores, labels)
    shift = np.log(prevalence / (1 - prevalence)) - np.log(3)
    assert fitted.temperature == pytest.approx(as_they_are.temperature, rel=0.05)
    assert fitted.bias == pytest.approx(as_they_are.bias + shift, abs=0.05)


def test_prevalence_equal_to_that_of_the_films_changes_nothing() -> None:
    labels = np.arange(400) % 2
    given_scores = scores(sigmoid(np.random.default_rng(5).normal(0, 1, 400) + labels))
    asked = fit_calibration(given_scores, labels, 0.5)
    as_they_are = fit_calibration(given_scores, labels)
    assert asked.temperature == pytest.approx(as_they_are.temperature, rel=1e-6)
    assert asked.bias == pytest.approx(as_they_are.bias, abs=1e-6)


@QUICK
@given(st.integers(1, 200), st.integers(1, 200), st.floats(0.01, 10))
def test_perfectly_separated_films_have_a_finite_fit(
    positives: int, negatives: int, z: float
) -> None:
    labels = np.repeat([1, 0], [positives, negatives])
    given_scores = scores(sigmoid(np.where(labels == 1, z, -z)))
    fitted = fit_calibration(given_scores, labels)
    assert 1 / 20 <= fitted.temperature <= 20
    assert abs(fitted.bias) <= 10
    p = fitted.probabilities(given_scores)
    # With Platt's targets, no film is more certain than one more film of each class would allow.
    assert p.max() <= (positives + 1) / (positives + 2) + 2e-3
    assert p.min() >= 1 / (negatives + 2) - 2e-3


def test_scores_that_are_all_wrong_are_flattened_but_not_inverted() -> None:
    labels = np.repeat([0, 1], 50)
    fitted = fit_calibration(scores(np.where(labels == 1, 0.1, 0.9)), labels)
    assert fitted.temperature == pytest.approx(20)


@pytest.mark.parametrize("prevalence", [None, 0.5])
@pytest.mark.parametrize("label", [0, 1])
def test_films_of_one_class_have_a_finite_fit(label: int, prevalence: float | None) -> None:
    fitted = fit_calibration(scores(np.linspace(0.1, 0.9, 9)), np.full(9, label), prevalence)
    assert np.isfinite([fitted.temperature, fitted.bias]).all()
    assert fitted.prevalence is None


def test_saturated_scores_have_a_finite_fit() -> None:
    fitted = fit_calibration(scores(np.array([0.0, 0.0, 1.0, 1.0])), np.array([0, 1, 1, 1]))
    assert np.isfinite([fitted.temperature, fitted.bias]).all()


def test_scores_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(TrainingDataError, match="1 of 3 validation films"):
        fit_calibration(scores(np.array([0.2, np.nan, 0.6])), np.array([0, 1, 1]))


POSITIVES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1]


# Half-way to the next film below; the negatives are at 0.99 and 0.05.
@pytest.mark.parametrize(
    ("target", "threshold"),
    [(0.1, 0.85), (0.5, 0.45), (0.51, 0.35), (0.9, 0.125), (0.95, 0.075), (1.0, 0.075)],
)
def test_threshold_is_the_highest_that_reaches_the_sensitivity(
    target: float, threshold: float
) -> None:
    p, labels = np.array([*POSITIVES, 0.99, 0.05]), np.array([1] * 10 + [0, 0])
    assert choose_threshold(p, labels, target).threshold == threshold


@pytest.mark.parametrize(("target", "threshold"), [(0.1, 0.125), (0.5, 0.45), (1.0, 0.95)])
def test_threshold_is_the_lowest_that_reaches_the_specificity(
    target: float, threshold: float
) -> None:
    p, labels = np.array([*POSITIVES, 0.05]), np.array([0] * 10 + [1])
    assert choose_threshold(p, labels, target, "target-specificity").threshold == threshold


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("target-sensitivity", "highest threshold with sensitivity >= 0.9 on validation"),
        ("target-specificity", "lowest threshold with specificity >= 0.9 on validation"),
        ("youden", "threshold with the largest sensitivity + specificity - 1 on validation"),
    ],
)
def test_operating_point_describes_its_rule(rule: str, sentence: str) -> None:
    p, labels = np.array([0.2, 0.5]), np.array([0, 1])
    point = choose_threshold(p, labels, 0.9, rule)
    assert point.rule == sentence
    assert point.threshold == 0.35


def test_default_target_is_a_sensitivity_of_95_percent() -> None:
    p, labels = np.arange(1, 101) / 100, np.array([1] * 99 + [0])
    point = choose_threshold(p, labels)
    assert point.rule == "highest threshold with sensitivity >= 0.95 on validation"
    assert point.positive(p[labels == 1]).mean() >= 0.95


def test_unreachable_specificity_is_described() -> None:
    point = choose_threshold(np.ones(4), np.array([0, 0, 1, 1]), 0.95, "target-specificity")
    assert point.threshold == 1
    assert point.rule == "no threshold reaches specificity >= 0.95 on validation"


@pytest.mark.parametrize(("label", "missing"), [(0, "PNEUMONIA"), (1, "NORMAL")])
@pytest.mark.parametrize("rule", RULES)
def test_films_of_one_class_cannot_choose_a_threshold(label: int, missing: str, rule: str) -> None:
    with pytest.raises(TrainingDataError, match=f"no {missing} film"):
        choose_threshold(np.array([0.5, 0.6]), np.full(2, label), 0.95, rule)


@pytest.mark.parametrize("target", [0, -1, 1.01, float("nan")])
def test_target_out_of_range_is_an_error(target: float) -> None:
    with pytest.raises(ValueError, match="target"):
        choose_threshold(np.array([0.2, 0.5]), np.array([0, 1]), target)


def test_unknown_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match="'f1'; the rules are target-sensitivity"):
        choose_threshold(np.array([0.2, 0.5]), np.array([0, 1]), 0.9, "f1")


POINT = OperatingPoint(0.5, "rule")
#: 100 films with 0.01 to 1.00; those from 0.5 on are called.
HUNDRED = np.arange(1, 101) / 100


@pytest.mark.parametrize(
    ("most", "threshold"), [(0.03, 0.975), (0.1, 0.905), (0.5, 0.505), (0.51, 0.5), (1.0, 0.5)]
)
def test_threshold_is_raised_until_few_normal_films_are_called(
    most: float, threshold: float
) -> None:
    point = limit_normals(POINT, {"adults, AP": HUNDRED}, most)
    assert point.threshold == threshold
    assert point.positive(HUNDRED).mean() <= most


def test_rule_names_the_group_that_raised_the_threshold() -> None:
    normals = {"a, AP": HUNDRED - 0.2, "a, PA": HUNDRED, "b": HUNDRED / 2}
    point = limit_normals(POINT, normals, 0.05)
    assert point == OperatingPoint(
        0.955, "rule, raised until at most 0.05 of the NORMAL films of a, PA are flagged"
    )


def test_threshold_stays_if_no_group_has_too_many_called() -> None:
    assert limit_normals(POINT, {"adults": HUNDRED / 2}, 0.03) is POINT
    assert limit_normals(POINT, {}, 0.03) is POINT


def test_group_that_is_too_small_does_not_raise_the_threshold() -> None:
    assert limit_normals(POINT, {"adults": np.full(33, 0.9)}, 0.03) is POINT
    assert limit_normals(POINT, {"adults": np.full(34, 0.9)}, 0.03).threshold > 0.9
