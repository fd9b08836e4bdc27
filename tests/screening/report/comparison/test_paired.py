"""Compare paired statistics of two models with independent, slower implementations."""

from itertools import product
from math import isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from screening.report.comparison.paired import agreement, areas, shares, sign_test

QUICK = settings(deadline=None, max_examples=40, database=None)

#: Films of both classes: label, two probabilities on a grid so that some are tied, patient.
FILMS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6), st.integers(0, 5)),
    min_size=4,
    max_size=40,
).filter(lambda films: {True, False} == {film[0] for film in films})


def columns(films, own_patients=False):
    positive, a, b, patient = (np.array(column) for column in zip(*films, strict=True))
    patient = np.arange(len(films)) if own_patients else patient
    return positive.astype(bool), a / 6, b / 6, patient


def brute_force(positive, probabilities, patient):
    """Return areas and their covariance, computed over all pairs of films.

    These are the sums of Obuchowski (Biometrics 53, 1997), transcribed literally.
    """
    x = [np.flatnonzero(positive & (patient == k)) for k in np.unique(patient)]
    y = [np.flatnonzero(~positive & (patient == k)) for k in np.unique(patient)]
    m, n = int(positive.sum()), int((~positive).sum())

    def order(p, i, j):
        return 1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0

    theta, of_x, of_y = [], [], []
    for p in probabilities:
        every_x, every_y = np.flatnonzero(positive), np.flatnonzero(~positive)
        theta.append(sum(order(p, i, j) for i in every_x for j in every_y) / (m * n))
        v10 = {i: sum(order(p, i, j) for j in every_y) / n for i in every_x}
        v01 = {j: sum(order(p, i, j) for i in every_x) / m for j in every_y}
        of_x.append([sum(v10[i] for i in films) - len(films) * theta[-1] for films in x])
        of_y.append([sum(v01[j] for j in films) - len(films) * theta[-1] for films in y])
    ix, iy, both = sum(len(i) > 0 for i in x), sum(len(i) > 0 for i in y), len(x)
    covariance = np.zeros((2, 2))
    for r, s in product(range(2), repeat=2):
        s10 = ix / ((ix - 1) * m) * sum(u * v for u, v in zip(of_x[r], of_x[s], strict=True))
        s01 = iy / ((iy - 1) * n) * sum(u * v for u, v in zip(of_y[r], of_y[s], strict=True))
        s11 = both / (both - 1) * sum(u * v for u, v in zip(of_x[r], of_y[s], strict=True))
        s11_back = both / (both - 1) * sum(u * v for u, v in zip(of_x[s], of_y[r], strict=True))
        covariance[r, s] = s10 / m + s01 / n + (s11 + s11_back) / (m * n)
    return theta, covariance


@QUICK
@given(films=FILMS, own_patients=st.booleans())
def test_delong_matches_brute_force_over_all_pairs(films, own_patients):
    positive, a, b, patient = columns(films, own_patients)
    found = areas(positive, a, b, patient)
    assert isclose(found.a, roc_auc_score(positive, a), abs_tol=1e-12)
    assert isclose(found.b, roc_auc_score(positive, b), abs_tol=1e-12)
    if min(len(np.unique(patient[which])) for which in (positive, ~positive)) < 2:
        assert found.p is None
        return
    (area_a, area_b), c = brute_force(positive, (a, b), patient)
    variance = c[0, 0] + c[1, 1] - 2 * c[0, 1]
    if variance < 1e-15:
        assert found.p in (None, 1.0)
    else:
        assert isclose(found.p, 2 * norm.sf(abs(area_b - area_a) / variance**0.5), abs_tol=1e-9)


def test_delong_variance_without_patients_matches_the_paper():
    """Section 2 of DeLong et al.: sample covariances of the components over their counts."""
    rng = np.random.default_rng(4)
    positive = rng.random(80) < 0.4
    a, b = (positive * 0.8 + rng.normal(0, 1, 80) for _ in range(2))
    order = (a[positive][:, None] > a[~positive]), (b[positive][:, None] > b[~positive])
    v10 = np.stack([one.mean(axis=1) for one in order])
    v01 = np.stack([one.mean(axis=0) for one in order])
    c = np.cov(v10) / positive.sum() + np.cov(v01) / (~positive).sum()
    z = (order[1].mean() - order[0].mean()) / (c[0, 0] + c[1, 1] - 2 * c[0, 1]) ** 0.5
    assert areas(positive, a, b, np.arange(80)).p == pytest.approx(2 * norm.sf(abs(z)), abs=1e-12)


def test_area_difference_interval_matches_resampled_patients():
    rng = np.random.default_rng(6)
    positive = rng.random(300) < 0.4
    a, b = (positive + rng.normal(0, noise, 300) for noise in (1.5, 0.8))
    patient = np.arange(300) // 2
    found = areas(positive, a, b, patient)
    drawn = []
    for _ in range(400):
        films = (rng.integers(0, 150, 150)[:, None] * 2 + [0, 1]).ravel()
        one, other = (roc_auc_score(positive[films], p[films]) for p in (a, b))
        drawn.append(other - one)
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert found.ci_low == pytest.approx(low, abs=0.01)
    assert found.ci_high == pytest.approx(high, abs=0.01)
    assert found.ci_low < found.difference < found.ci_high


@QUICK
@given(only_a=st.integers(0, 30), only_b=st.integers(0, 30))
def test_mcnemar_p_is_the_exact_binomial(only_a, only_b):
    gained = np.array([-1] * only_a + [1] * only_b + [0] * 5)
    n = only_a + only_b
    tail = binom.cdf(min(only_a, only_b), n, 0.5)
    expected = min(1.0, 2 * tail) if n else 1.0
    assert isclose(sign_test(gained, np.arange(len(gained))), expected, rel_tol=1e-12)


def test_mcnemar_p_matches_a_published_table():
    """Fagerland, Lydersen and Laake (BMC Med. Res. Methodol. 13, 2013), table 2: 1 and 7."""
    gained = np.array([-1] + [1] * 7 + [0] * 13)
    assert sign_test(gained, np.arange(21)) == pytest.approx(0.0703, abs=5e-5)


@QUICK
@given(films=st.lists(st.tuples(st.integers(-1, 1), st.integers(0, 6)), min_size=1, max_size=20))
def test_signs_flip_together_for_films_of_one_patient(films):
    gained, patient = (np.array(column) for column in zip(*films, strict=True))
    sums = [int(gained[patient == k].sum()) for k in np.unique(patient)]
    as_large = [
        abs(sum(s * one for s, one in zip(signs, sums, strict=True))) >= abs(sum(sums))
        for signs in product((-1, 1), repeat=len(sums))
    ]
    assert isclose(sign_test(gained, patient), np.mean(as_large), abs_tol=1e-12)


def test_one_patient_with_many_films_counts_once():
    gained = np.ones(10, np.int64)
    assert sign_test(gained, np.zeros(10, np.int64)) == 1.0
    assert sign_test(gained, np.arange(10)) == pytest.approx(2 / 2**10)


def test_shares_give_the_interval_of_their_difference():
    a = np.arange(200) < 100
    b = np.arange(200) < 110
    found = shares(a, b, np.arange(200))
    assert (found.a, found.b, found.n) == (0.5, 0.55, 200)
    assert found.difference == pytest.approx(0.05)
    # Interval of Bonett and Price for 10 films gained and none lost.
    p, q, n = 11 / 202, 1 / 202, 202
    half = 1.96 * ((p + q - (p - q) ** 2) / n) ** 0.5
    assert found.ci_low == pytest.approx(p - q - half, abs=0.004)
    assert found.ci_high == pytest.approx(p - q + half, abs=0.004)
    assert found.p == pytest.approx(2 / 2**10)


def test_full_agreement_still_has_a_non_zero_interval():
    same = np.ones(50, bool)
    found = shares(same, same, np.arange(50))
    assert found.difference == 0
    assert found.ci_low < -0.02
    assert found.ci_high > 0.02
    assert found.p == 1


def test_fewer_patients_give_wider_intervals_and_larger_p():
    rng = np.random.default_rng(5)
    a = rng.random(200) < 0.5
    b = a.copy()
    b[::10] = True
    alone = shares(a, b, np.arange(200))
    together = shares(a, b, np.repeat(np.arange(4), 50))
    assert together.p > alone.p
    assert together.ci_high - together.ci_low > alone.ci_high - alone.ci_low


@pytest.mark.parametrize("seed", range(5))
def test_kappa_matches_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    a = rng.random(90) < 0.6
    b = np.where(rng.random(90) < 0.2, ~a, a)
    same, kappa = agreement(a, b, np.arange(90))
    assert same.a == same.b == pytest.approx(np.mean(a == b))
    assert kappa.a == kappa.b == pytest.approx(cohen_kappa_score(a, b))
    for figure in (same, kappa):
        assert figure.ci_low < figure.a < figure.ci_high
        assert figure.p is None


def test_kappa_is_undefined_if_all_films_are_called_alike():
    all_called = np.ones(9, bool)
    same, kappa = agreement(all_called, all_called, np.arange(9))
    assert same.a == 1
    assert kappa.a is None


def test_undefined_contrasts_are_none():
    nothing = np.zeros(0, bool)
    for figure in (
        shares(nothing, nothing, np.zeros(0, np.int64)),
        *agreement(nothing, nothing, np.zeros(0, np.int64)),
        areas(np.ones(3, bool), np.ones(3), np.ones(3), np.arange(3)),
    ):
        assert (figure.a, figure.b, figure.difference, figure.p) == (None, None, None, None)


def test_one_patient_gives_no_interval():
    some = np.array([True, False, True])
    one = np.zeros(3, np.int64)
    assert shares(some, ~some, one).ci_low is None
    found = areas(some, np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.2, 0.1]), one)
    assert found.a is not None
    assert (found.ci_low, found.p) == (None, None)
