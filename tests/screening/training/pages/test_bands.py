"""Curves over all thresholds, and their bands."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from evaluated_sides import random_side, side_of
from screening.training.pages.bands import GRID, Sweep, _precisions

CURVES = ("roc", "precision_recall", "sensitivity", "specificity")


def sweep_of(side):
    return Sweep(side.scored())


def with_ties(side):
    return side_of(side.labels, np.round(side.probabilities, 1))


@pytest.mark.parametrize("change", [lambda side: side, with_ties])
def test_the_roc_curve_is_that_of_scikit_learn(change):
    side = change(random_side())
    curve = sweep_of(side).roc()
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(
        roc_auc_score(side.labels, side.probabilities)
    )
    x, y, _ = roc_curve(side.labels, side.probabilities, drop_intermediate=False)
    assert np.allclose(curve.x, x)
    assert np.allclose(curve.y, y)


def test_the_precision_recall_curve_is_that_of_scikit_learn():
    side = with_ties(random_side())
    curve = sweep_of(side).precision_recall()
    precision, recall, _ = precision_recall_curve(side.labels, side.probabilities)
    # Its last point is made up: no film called, precision 1.
    assert np.allclose(curve.x, recall[-2::-1])
    assert np.allclose(curve.y, precision[-2::-1])


def test_sensitivity_and_specificity_count_what_reaches_the_threshold():
    side = with_ties(random_side())
    sweep = sweep_of(side)
    called = side.probabilities[np.newaxis] >= GRID[:, np.newaxis]
    assert np.allclose(sweep.sensitivity().y, called[:, side.positive].mean(axis=1))
    assert np.allclose(sweep.specificity().y, 1 - called[:, ~side.positive].mean(axis=1))


@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_the_band_is_about_as_wide_as_the_binomial_one(name):
    curve = getattr(sweep_of(random_side(3000)), name)()
    middle = int(np.argmin(np.abs(curve.y - 0.8)))
    share, n = curve.y[middle], 2000 if name == "sensitivity" else 1000
    expected = 2 * 1.96 * np.sqrt(share * (1 - share) / n)
    assert curve.high[middle] - curve.low[middle] == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("name", CURVES)
def test_the_curve_lies_in_its_band(name):
    curve = getattr(sweep_of(random_side()), name)()
    # Between its corners precision is not straight; at its ends it falls or jumps.
    y = np.interp(curve.grid, curve.x, curve.y)
    inside = (curve.low <= y + 0.01) & (y <= curve.high + 0.01)
    assert inside[len(inside) // 20 : -1].all()
    assert (curve.low < curve.high).any()


@pytest.mark.parametrize("name", CURVES)
def test_more_films_of_the_same_patients_make_no_band_narrower(name):
    side = random_side(60)
    fourfold = side_of(
        np.repeat(side.labels, 4), np.repeat(side.probabilities, 4), films_a_patient=4
    )
    one, four = getattr(sweep_of(side), name)(), getattr(sweep_of(fourfold), name)()
    assert np.allclose(one.low, four.low)
    assert np.allclose(one.high, four.high)


def test_between_two_thresholds_precision_follows_the_counts():
    # Recall 1/2 with 1 of 1 right; then 2 positives of 4: half-way there 1.5 of 2.5.
    curve = Sweep(side_of((1, 0, 0, 1), (0.9, 0.5, 0.5, 0.5)).scored())
    tp, fp = np.array([0.0, 1, 2]), np.array([0.0, 0, 2])
    assert curve.precision_recall().y.tolist() == [1, 0.5]
    assert _precisions(tp, fp)[GRID[1:] == 0.75] == pytest.approx(1.5 / 2.5)


def test_the_same_seed_gives_the_same_band_and_another_one_another():
    films = random_side().scored()
    one, again, other = Sweep(films, 1).roc(), Sweep(films, 1).roc(), Sweep(films, 2).roc()
    assert np.array_equal(one.low, again.low)
    assert not np.array_equal(one.low, other.low)


@pytest.mark.parametrize("name", CURVES)
def test_films_of_one_patient_have_a_curve_and_no_band(name):
    curve = getattr(sweep_of(side_of((0, 1, 1), (0.1, 0.4, 0.9), films_a_patient=3)), name)()
    assert np.isfinite(curve.y).all()
    assert curve.low is None
    assert curve.high is None


def test_without_normal_films_there_is_no_specificity():
    sweep = sweep_of(side_of((1, 1, 1), (0.1, 0.4, 0.9)))
    assert np.isnan(sweep.specificity().y).all()
    assert sweep.specificity().low is None
    assert sweep.roc().low is None
    assert sweep.sensitivity().low is not None
