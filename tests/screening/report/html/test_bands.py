"""Tests of curves over all thresholds and their bands."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from scored_films import films_of, random_films
from screening.report.html import performance_figures
from screening.report.html.performance_figures import GRID, Sweep, _precisions

CURVES = ("roc", "precision_recall", "sensitivity", "specificity")


def with_ties(films):
    return films_of(films.positive, np.round(films.probability, 1))


@pytest.mark.parametrize("change", [lambda films: films, with_ties])
def test_roc_curve_matches_scikit_learn(change):
    films = change(random_films())
    curve = Sweep(films).roc()
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(
        roc_auc_score(films.positive, films.probability)
    )
    x, y, _ = roc_curve(films.positive, films.probability, drop_intermediate=False)
    assert np.allclose(curve.x, x)
    assert np.allclose(curve.y, y)


def test_precision_recall_curve_matches_scikit_learn():
    films = with_ties(random_films())
    curve = Sweep(films).precision_recall()
    precision, recall, _ = precision_recall_curve(films.positive, films.probability)
    # scikit-learn adds an artificial last point: no film called, precision 1.
    assert np.allclose(curve.x, recall[-2::-1])
    assert np.allclose(curve.y, precision[-2::-1])


def test_sensitivity_and_specificity_count_films_at_or_above_threshold():
    films = with_ties(random_films())
    sweep = Sweep(films)
    called = films.probability[np.newaxis] >= GRID[:, np.newaxis]
    assert np.allclose(sweep.sensitivity().y, called[:, films.positive].mean(axis=1))
    assert np.allclose(sweep.specificity().y, 1 - called[:, ~films.positive].mean(axis=1))


@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_band_is_about_as_wide_as_the_binomial_one(name):
    curve = getattr(Sweep(random_films(3000)), name)()
    middle = int(np.argmin(np.abs(curve.y - 0.8)))
    share, n = curve.y[middle], 2000 if name == "sensitivity" else 1000
    expected = 2 * 1.96 * np.sqrt(share * (1 - share) / n)
    assert curve.high[middle] - curve.low[middle] == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("name", CURVES)
def test_curve_lies_in_its_band(name):
    curve = getattr(Sweep(random_films()), name)()
    # Precision is not linear between its corners, and it falls or jumps at the ends.
    y = np.interp(curve.grid, curve.x, curve.y)
    inside = (curve.low <= y + 0.01) & (y <= curve.high + 0.01)
    assert inside[len(inside) // 20 : -1].all()
    assert (curve.low < curve.high).any()


@pytest.mark.parametrize("name", CURVES)
def test_repeated_films_of_a_patient_do_not_narrow_the_band(name):
    films = random_films(60)
    fourfold = films_of(
        np.repeat(films.positive, 4), np.repeat(films.probability, 4), films_a_patient=4
    )
    one, four = getattr(Sweep(films), name)(), getattr(Sweep(fourfold), name)()
    assert np.allclose(one.low, four.low)
    assert np.allclose(one.high, four.high)


def test_precision_between_thresholds_interpolates_the_counts():
    # At recall 1/2, 1 of 1 is right; at recall 1, 2 of 4. Half-way between it is 1.5 of 2.5.
    curve = Sweep(films_of((1, 0, 0, 1), (0.9, 0.5, 0.5, 0.5)))
    tp, fp = np.array([0.0, 1, 2]), np.array([0.0, 0, 2])
    assert curve.precision_recall().y.tolist() == [1, 0.5]
    assert _precisions(tp, fp)[GRID[1:] == 0.75] == pytest.approx(1.5 / 2.5)


def test_band_is_determined_by_the_seed():
    films = random_films()
    one, again, other = Sweep(films, 1).roc(), Sweep(films, 1).roc(), Sweep(films, 2).roc()
    assert np.array_equal(one.low, again.low)
    assert not np.array_equal(one.low, other.low)


@pytest.mark.parametrize("name", CURVES)
def test_one_patient_gives_a_curve_without_band(name):
    curve = getattr(Sweep(films_of((0, 1, 1), (0.1, 0.4, 0.9), films_a_patient=3)), name)()
    assert np.isfinite(curve.y).all()
    assert curve.low is None
    assert curve.high is None


def test_specificity_is_undefined_without_normal_films():
    sweep = Sweep(films_of((1, 1, 1), (0.1, 0.4, 0.9)))
    assert np.isnan(sweep.specificity().y).all()
    assert sweep.specificity().low is None
    assert sweep.roc().low is None
    assert sweep.sensitivity().low is not None


def test_thinning_thresholds_keeps_curves_and_the_grid_exact(monkeypatch):
    films = random_films(3000, films_a_patient=2)
    every = Sweep(films)
    monkeypatch.setattr(performance_figures, "_CORNERS", 300)
    some = Sweep(films)
    assert len(some.roc().x) < 800 < len(every.roc().x)
    assert np.array_equal(some.sensitivity().low, every.sensitivity().low)
    assert np.array_equal(some.specificity().y, every.specificity().y)
    for name in ("roc", "precision_recall"):
        one, other = getattr(some, name)(), getattr(every, name)()
        assert np.allclose(
            np.interp(GRID, one.x, one.y), np.interp(GRID, other.x, other.y), atol=5e-3
        )
        assert np.allclose(one.high[20:], other.high[20:], atol=5e-3)
