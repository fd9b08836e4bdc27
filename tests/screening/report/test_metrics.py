import json

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)
from sklearn.metrics import log_loss as reference_log_loss

from screening.report.intervals import NOTES
from screening.report.metrics import (
    Scored,
    calibration_error,
    confusion,
    log_loss,
    performance,
    results_table,
)


def films(positive: list[int], probability: list[float], threshold: float = 0.5) -> Scored:
    p = np.array(probability)
    return Scored(np.array(positive, bool), p, p >= threshold, np.arange(len(p)))


@pytest.fixture
def some() -> Scored:
    rng = np.random.default_rng(1)
    p = rng.random(120).round(2)
    return films((rng.random(120) < p).astype(int).tolist(), p.tolist(), 0.4)


def test_confusion_matches_scikit_learn(some: Scored) -> None:
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
def test_metric_matches_scikit_learn_and_lies_in_its_interval(
    some: Scored, name: str, reference: object
) -> None:
    figure = performance(some)[name]
    assert figure.value == pytest.approx(reference(some))
    assert figure.ci_low < figure.value < figure.ci_high


def test_denominators_of_metrics() -> None:
    # 3 positive films, 2 of them called; 4 negative films, 1 of them called.
    scored = films([1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.1, 0.7, 0.2, 0.2, 0.1])
    found = {name: (figure.value, figure.n) for name, figure in performance(scored).items()}
    assert found["precision"] == (2 / 3, 3)
    assert found["recall"] == (2 / 3, 3)
    assert found["specificity"] == (3 / 4, 4)
    assert found["npv"] == (3 / 4, 4)
    assert found["accuracy"] == (5 / 7, 7)
    assert found["f1"] == (2 * 2 / (3 + 3), 7)
    assert found["balanced_accuracy"] == ((2 / 3 + 3 / 4) / 2, 7)


def test_auroc_is_the_share_of_correctly_ordered_pairs() -> None:
    # Pairs (positive, negative): .9>.5 .9>.1 .5=.5 .5>.1 .3<.5 .3>.1: 4 and a half of 6.
    scored = films([1, 1, 1, 0, 0], [0.9, 0.5, 0.3, 0.5, 0.1])
    assert performance(scored)["auroc"].value == pytest.approx(4.5 / 6)


def test_average_precision_is_the_mean_precision_at_positives() -> None:
    # In descending order: 1 0 1 0. Precision is 1/1 at the first positive and 2/3 at the second.
    scored = films([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    assert performance(scored)["average_precision"].value == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("positive", "probability", "expected"),
    [
        # 0.9 to 1: mean .95, half positive; 0.1 to 0.2: mean .15, none: .5 * .45 + .5 * .15.
        ([1, 0, 0, 0], [0.95, 0.95, 0.15, 0.15], 0.3),
        ([1, 1, 0, 0], [1.0, 1.0, 0.0, 0.0], 0.0),
        ([0, 0, 1, 1], [1.0, 1.0, 0.0, 0.0], 1.0),
        # Errors within a bin cancel; errors in different bins do not.
        ([1, 0], [0.52, 0.58], 0.05),
        ([1, 0], [0.45, 0.55], 0.55),
        # The upper end of a bin belongs to the next: 0.5 and 0.49 are in bins of gap .5 and .49.
        ([1, 0], [0.5, 0.49], (0.5 + 0.49) / 2),
    ],
)
def test_calibration_error_is_the_mean_gap_of_bins(
    positive: list[int], probability: list[float], expected: float
) -> None:
    error = calibration_error(np.array(positive, bool), np.array(probability))
    assert error == pytest.approx(expected)


@pytest.mark.parametrize(
    ("positive", "probability", "undefined"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.9], {"recall", "balanced_accuracy", "auroc", "average_precision"}),
        ([1, 1, 1], [0.1, 0.2, 0.9], {"specificity", "balanced_accuracy", "auroc"}),
        ([1, 0, 1], [0.1, 0.2, 0.3], {"precision"}),
        ([1, 0, 1], [0.7, 0.8, 0.9], {"npv"}),
        (
            [0, 0],
            [0.1, 0.2],
            {"precision", "recall", "balanced_accuracy", "f1", "auroc", "average_precision"},
        ),
    ],
)
def test_undefined_metrics_have_no_value(
    positive: list[int], probability: list[float], undefined: set[str]
) -> None:
    found = performance(films(positive, probability))
    assert {name for name, figure in found.items() if figure.value is None} == undefined


def test_all_metrics_are_undefined_without_films() -> None:
    nothing = performance(films([], []))
    assert {(f.value, f.n, f.note) for f in nothing.values()} == {(None, 0, "no_films")}
    assert list(nothing) == list(performance(films([1, 0], [0.7, 0.2])))


@pytest.mark.parametrize(
    ("positive", "probability", "notes"),
    [
        ([0] * 4, [0.1, 0.2, 0.9, 0.8], {"recall": "no_positives", "auroc": "no_positives"}),
        ([0] * 4, [0.1, 0.2, 0.1, 0.2], {"precision": "none_called", "f1": "no_positives"}),
        ([1] * 4, [0.7, 0.8, 0.9, 0.8], {"npv": "none_cleared", "specificity": "no_negatives"}),
        # Average precision is 1 in any order, so there is no uncertainty and no interval.
        ([1] * 4, [0.7, 0.8, 0.9, 0.8], {"average_precision": "no_negatives", "recall": "few"}),
        ([1, 0, 0, 0], [0.7, 0.8, 0.9, 0.8], {"auroc": "one_patient", "brier": "few"}),
    ],
)
def test_note_says_why_a_value_or_interval_is_missing(
    positive: list[int], probability: list[float], notes: dict[str, str]
) -> None:
    found = performance(films(positive, probability))
    assert {name: found[name].note for name in notes} == notes
    for figure in found.values():
        assert figure.note in NOTES
        if figure.note != "few":
            assert figure.ci_low is figure.ci_high is None


def of_kinds(sick: int, well: int, per_patient: int = 1) -> Scored:
    """Return films of both classes that the model calls at random."""
    n = sick + well
    p = np.random.default_rng(8).random(n).round(6)
    return Scored(np.arange(n) < sick, p, p > 0.5, np.arange(n) // per_patient)


def noted(scored: Scored) -> set[str]:
    return {name for name, figure in performance(scored).items() if figure.note == "few"}


ALL = set(performance(films([], [])))


def test_fewer_than_100_films_get_the_note_few() -> None:
    assert noted(of_kinds(50, 49)) == ALL
    assert noted(of_kinds(50, 50)) == set()


def test_fewer_than_10_patients_of_a_needed_kind_get_the_note_few() -> None:
    assert noted(of_kinds(9, 200)) == ALL - {"specificity"}
    assert noted(of_kinds(200, 9)) == ALL - {"recall"}
    assert noted(of_kinds(10, 200)) == set()
    # 30 films, but of 8 patients.
    assert noted(of_kinds(30, 200, per_patient=4)) == ALL - {"specificity"}


def test_precision_of_fewer_than_10_called_films_gets_the_note_few() -> None:
    scored = of_kinds(60, 60)
    called = np.arange(120) % 20 == 0
    assert noted(Scored(scored.positive, scored.probability, called, scored.patient)) == {
        "precision"
    }
    assert noted(Scored(scored.positive, scored.probability, ~called, scored.patient)) == {"npv"}


def test_performance_does_not_depend_on_film_order() -> None:
    rng = np.random.default_rng(6)
    p, patient = rng.random(300).round(2), rng.integers(0, 90, 300)
    scored = Scored(rng.random(300) < p, p, p >= 0.4, patient)
    order = rng.permutation(300)
    mixed = Scored(*(column[order] for column in (scored.positive, p, scored.called, patient)))
    assert performance(mixed) == performance(scored)


def test_similar_films_of_a_patient_widen_every_interval() -> None:
    rng = np.random.default_rng(4)
    p = np.repeat(rng.random(80).round(2), 4)
    positive = np.repeat(rng.random(80) < p[::4], 4)
    apart = performance(Scored(positive, p, p >= 0.4, np.arange(320)))
    together = performance(Scored(positive, p, p >= 0.4, np.repeat(np.arange(80), 4)))
    for name, narrow in apart.items():
        wide = together[name]
        assert (narrow.value, narrow.n) == (pytest.approx(wide.value), wide.n)
        assert wide.ci_high - wide.ci_low > 1.5 * (narrow.ci_high - narrow.ci_low)


def test_perfect_predictions_have_perfect_metrics() -> None:
    found = performance(films([1, 1, 0, 0], [1.0, 1.0, 0.0, 0.0]))
    values = {name: figure.value for name, figure in found.items()}
    assert values.pop("brier") == values.pop("calibration_error") == 0
    assert set(values.values()) == {1}


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_one_film_has_values_but_no_resampled_intervals(label: int, probability: float) -> None:
    found = performance(films([label], [probability]))
    assert found["brier"].value == pytest.approx((label - probability) ** 2)
    assert found["calibration_error"].value == pytest.approx(abs(label - probability))
    assert found["accuracy"].value == float((probability >= 0.5) == bool(label))
    drawn = ("brier", "calibration_error", "auroc", "average_precision")
    assert {found[name].ci_low for name in drawn} == {None}
    assert {found["brier"].note, found["calibration_error"].note} == {"one_patient"}


def test_results_table_matches_scikit_learn(some: Scored) -> None:
    labels = some.positive.astype(int)
    found = results_table(labels, some.probability, some.called)
    precision, recall, f1, support = precision_recall_fscore_support(labels, some.called)
    assert list(found["classes"]) == ["NORMAL", "PNEUMONIA"]
    for index, values in enumerate(found["classes"].values()):
        assert values["precision"] == pytest.approx(precision[index])
        assert values["recall"] == pytest.approx(recall[index])
        assert values["f1"] == pytest.approx(f1[index])
        assert values["support"] == support[index]
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, some.called))
    assert found["loss"] == pytest.approx(reference_log_loss(labels, some.probability))
    cells = [list(row.values()) for row in found["confusion"].values()]
    assert cells == confusion_matrix(labels, some.called).tolist()
    assert found["n"] == 120
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_confusion_is_keyed_by_label_then_prediction() -> None:
    found = results_table(np.array([1, 1, 1, 0]), np.zeros(4), np.array([True, False, False, True]))
    assert found["confusion"] == {
        "NORMAL": {"NORMAL": 0, "PNEUMONIA": 1},
        "PNEUMONIA": {"NORMAL": 2, "PNEUMONIA": 1},
    }


def test_results_table_accepts_boolean_labels(some: Scored) -> None:
    from_booleans = results_table(some.positive, some.probability, some.called)
    assert from_booleans == results_table(some.positive.astype(int), some.probability, some.called)


def test_undefined_results_are_none() -> None:
    nothing = results_table(np.zeros(0, int), np.zeros(0), np.zeros(0, bool))
    assert nothing["n"] == 0
    assert nothing["loss"] is nothing["accuracy"] is None
    none = {"precision": None, "recall": None, "f1": None, "support": 0}
    assert nothing["classes"] == {"NORMAL": none, "PNEUMONIA": none}
    normal = results_table(np.zeros(2, int), np.array([0.1, 0.2]), np.zeros(2, bool))
    assert normal["classes"]["PNEUMONIA"] == none
    assert normal["classes"]["NORMAL"] == {"precision": 1, "recall": 1, "f1": 1, "support": 2}


def test_log_loss_of_a_certain_error_is_finite() -> None:
    # With six decimals, 1 may be 0.9999995, whose complement has the logarithm -14.5.
    assert log_loss(np.array([False]), np.array([1.0])) == pytest.approx(14.5, abs=0.01)
    assert log_loss(np.array([True]), np.array([0.0])) == pytest.approx(14.5, abs=0.01)
    assert log_loss(np.array([True]), np.array([1.0])) == pytest.approx(0, abs=1e-6)
