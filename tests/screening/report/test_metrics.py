import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from screening.report.metrics import Scored, calibration_error, confusion, performance


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screening.report.intervals._RESAMPLES", 40)


def films(positive: list[int], probability: list[float], threshold: float = 0.5) -> Scored:
    p = np.array(probability)
    return Scored(np.array(positive, bool), p, p >= threshold, np.arange(len(p)))


@pytest.fixture
def some() -> Scored:
    rng = np.random.default_rng(1)
    p = rng.random(120).round(2)
    return films((rng.random(120) < p).astype(int).tolist(), p.tolist(), 0.4)


def test_the_confusion_is_that_of_scikit_learn(some: Scored) -> None:
    tn, fp, fn, tp = confusion_matrix(some.positive, some.called).ravel()
    assert confusion(some) == {"TP": tp, "FP": fp, "TN": tn, "FN": fn}


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("precision", lambda s: precision_score(s.positive, s.called)),
        ("recall", lambda s: recall_score(s.positive, s.called)),
        ("specificity", lambda s: recall_score(s.positive, s.called, pos_label=0)),
        ("npv", lambda s: precision_score(s.positive, s.called, pos_label=0)),
        ("accuracy", lambda s: accuracy_score(s.positive, s.called)),
        ("f1", lambda s: f1_score(s.positive, s.called)),
        ("brier", lambda s: brier_score_loss(s.positive, s.probability)),
    ],
)
def test_a_metric_is_that_of_scikit_learn_and_lies_in_its_interval(
    some: Scored, name: str, reference: object
) -> None:
    figure = performance(some)[name]
    assert figure.value == pytest.approx(reference(some))
    assert figure.ci_low < figure.value < figure.ci_high


def test_the_denominators_are_the_films_that_the_metric_is_about() -> None:
    # Positive: 3, called 2 of them. Negative: 4, called 1 of them.
    scored = films([1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.1, 0.7, 0.2, 0.2, 0.1])
    found = {name: (figure.value, figure.n) for name, figure in performance(scored).items()}
    assert found["precision"] == (2 / 3, 3)
    assert found["recall"] == (2 / 3, 3)
    assert found["specificity"] == (3 / 4, 4)
    assert found["npv"] == (3 / 4, 4)
    assert found["accuracy"] == (5 / 7, 7)
    assert found["f1"] == (2 * 2 / (3 + 3), 7)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    # Pairs (positive, negative): .9>.5 .9>.1 .5=.5 .5>.1 .3<.5 .3>.1: 4 and a half of 6.
    scored = films([1, 1, 1, 0, 0], [0.9, 0.5, 0.3, 0.5, 0.1])
    assert performance(scored)["auroc"].value == pytest.approx(4.5 / 6)


def test_average_precision_is_the_mean_precision_at_each_positive() -> None:
    # In falling order: 1 0 1 0. Precision is 1/1 at the first positive and 2/3 at the second.
    scored = films([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    assert performance(scored)["average_precision"].value == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("positive", "probability", "expected"),
    [
        # In 0.9 to 1: mean .95, half positive; in 0.1 to 0.2: mean .15, none: .5 * .45 + .5 * .15.
        ([1, 0, 0, 0], [0.95, 0.95, 0.15, 0.15], 0.3),
        ([1, 1, 0, 0], [1.0, 1.0, 0.0, 0.0], 0.0),
        ([0, 0, 1, 1], [1.0, 1.0, 0.0, 0.0], 1.0),
        # Errors within a bin make up for each other; errors of two bins do not.
        ([1, 0], [0.52, 0.58], 0.05),
        ([1, 0], [0.45, 0.55], 0.55),
        # The end of a bin belongs to the next: 0.5 and 0.49 are two bins of gap .5 and .49.
        ([1, 0], [0.5, 0.49], (0.5 + 0.49) / 2),
    ],
)
def test_calibration_error_is_the_mean_gap_of_the_bins(
    positive: list[int], probability: list[float], expected: float
) -> None:
    error = calibration_error(np.array(positive, bool), np.array(probability))
    assert error == pytest.approx(expected)


@pytest.mark.parametrize(
    ("positive", "probability", "undefined"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.9], {"recall", "auroc", "average_precision"}),
        ([1, 1, 1], [0.1, 0.2, 0.9], {"specificity", "auroc"}),
        ([1, 0, 1], [0.1, 0.2, 0.3], {"precision"}),
        ([1, 0, 1], [0.7, 0.8, 0.9], {"npv"}),
        ([0, 0], [0.1, 0.2], {"precision", "recall", "f1", "auroc", "average_precision"}),
    ],
)
def test_what_the_films_do_not_define_has_no_value(
    positive: list[int], probability: list[float], undefined: set[str]
) -> None:
    found = performance(films(positive, probability))
    assert {name for name, figure in found.items() if figure.value is None} == undefined


def test_no_films_define_nothing() -> None:
    assert {figure.value for figure in performance(films([], [])).values()} == {None}


def test_perfect_films_are_perfect() -> None:
    found = performance(films([1, 1, 0, 0], [1.0, 1.0, 0.0, 0.0]))
    values = {name: figure.value for name, figure in found.items()}
    assert values.pop("brier") == values.pop("calibration_error") == 0
    assert set(values.values()) == {1}
