"""Every metric against scikit-learn or SciPy, on tables that Hypothesis makes up."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binned_statistic, binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from screening.report.intervals import Figure
from screening.report.metrics import Scored, performance

CLOSELY = 1e-12


@st.composite
def tables(draw: st.DrawFn) -> Scored:
    """Films with ties in probability, in patients or not, of one class or both."""
    n = draw(st.integers(1, 60))

    def some(each: st.SearchStrategy) -> np.ndarray:
        return np.array(draw(st.lists(each, min_size=n, max_size=n)))

    # Bins end at tenths, where a half-open bin is a matter of taste: no film lies there, but at 0 and 1.
    steps = draw(st.sampled_from([1, 3, 17, 333_333]))
    millionths = np.rint(some(st.integers(0, steps)) / steps * 1e6).astype(int)
    millionths += (millionths % 100_000 == 0) & (millionths % 1_000_000 > 0)
    probability = millionths / 1e6
    positive = some(draw(st.sampled_from([st.booleans(), st.just(True), st.just(False)])))
    threshold = draw(st.sampled_from([0.0, 0.3, 0.5, 0.9, 2.0]))
    patient = some(st.integers(0, draw(st.sampled_from([0, 3, 500]))))
    return Scored(positive, probability, probability >= threshold, patient)


def expected_calibration_error(scored: Scored) -> float:
    """From scikit-learn's reliability curve, each bin weighted by its films."""
    shares, means = calibration_curve(scored.positive, scored.probability, n_bins=10)
    counts = binned_statistic(scored.probability, None, "count", 10, (0, 1)).statistic
    return float(np.sum(counts[counts > 0] * np.abs(shares - means)) / counts.sum())


def both(scored: Scored) -> bool:
    return len(set(scored.positive)) == 2


Reference = Callable[[Scored], float]
Defined = Callable[[Scored], bool]

REFERENCES: dict[str, tuple[Reference, Defined]] = {
    "precision": (lambda s: precision_score(s.positive, s.called), lambda s: s.called.any()),
    "recall": (lambda s: recall_score(s.positive, s.called), lambda s: s.positive.any()),
    "specificity": (
        lambda s: recall_score(s.positive, s.called, pos_label=0),
        lambda s: not s.positive.all(),
    ),
    "npv": (
        lambda s: precision_score(s.positive, s.called, pos_label=0),
        lambda s: not s.called.all(),
    ),
    "accuracy": (lambda s: accuracy_score(s.positive, s.called), lambda _s: True),
    "balanced_accuracy": (lambda s: balanced_accuracy_score(s.positive, s.called), both),
    "f1": (
        lambda s: f1_score(s.positive, s.called),
        lambda s: s.positive.any() or s.called.any(),
    ),
    "auroc": (lambda s: roc_auc_score(s.positive, s.probability), both),
    "average_precision": (
        lambda s: average_precision_score(s.positive, s.probability),
        lambda s: s.positive.any(),
    ),
    "brier": (lambda s: brier_score_loss(s.positive, s.probability), lambda _s: True),
    "calibration_error": (expected_calibration_error, lambda _s: True),
}


@settings(deadline=None, database=None, max_examples=150)
@given(tables())
def test_metrics_are_those_of_scikit_learn(scored: Scored) -> None:
    found = performance(scored)
    assert set(found) == set(REFERENCES)
    for name, (reference, defined) in REFERENCES.items():
        value = found[name].value
        assert (value is not None) == defined(scored), name
        if value is not None:
            assert value == pytest.approx(reference(scored), abs=CLOSELY), name


@settings(deadline=None, database=None, max_examples=100)
@given(tables())
def test_an_interval_holds_its_value_and_is_one_of_shares(scored: Scored) -> None:
    for name, figure in performance(scored).items():
        ends = (figure.ci_low, figure.ci_high)
        assert (None in ends) == (ends == (None, None)), name
        if None not in ends:
            assert 0 <= figure.ci_low <= figure.value + CLOSELY, name
            assert figure.value - CLOSELY <= figure.ci_high <= 1, name
            assert figure.note in {"", "few"}, name
        else:
            assert figure.note not in {"", "few"}, name


@settings(deadline=None, database=None, max_examples=100)
@given(tables())
def test_shares_of_films_of_a_patient_each_have_the_intervals_of_scipy(scored: Scored) -> None:
    films = len(scored.positive)
    apart = Scored(scored.positive, scored.probability, scored.called, np.arange(films))
    found = performance(apart)
    of = {
        "precision": scored.called,
        "recall": scored.positive,
        "specificity": ~scored.positive,
        "npv": ~scored.called,
        "accuracy": np.ones(films, bool),
    }
    for name, these in of.items():
        right = (scored.positive == scored.called)[these]
        if not len(right):
            assert found[name].ci_low is None
            continue
        reference = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        assert (found[name].ci_low, found[name].ci_high) == pytest.approx(reference, abs=CLOSELY)
    assert_f1(found["f1"], scored)


def assert_f1(figure: Figure, scored: Scored) -> None:
    """That its ends are those of the share of films found among those called or positive."""
    either = int((scored.positive | scored.called).sum())
    if not either:
        assert figure.ci_low is None
        return
    found = int((scored.positive & scored.called).sum())
    share = binomtest(found, either).proportion_ci(method="wilson")
    ends = [2 * j / (1 + j) for j in share]
    assert (figure.ci_low, figure.ci_high) == pytest.approx(ends, abs=CLOSELY)
