"""Tests of control limits and of distances between distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from screening.report.drift.control_charts import (
    LARGE_PSI,
    ChartPoint,
    ControlLimits,
    ks,
    ks_limit,
    overdispersion,
    psi,
    psi_limit,
    share_of,
    width_for,
)

QUICK = settings(deadline=None, max_examples=60, database=None)
COUNTS = st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any)


@QUICK
@given(st.integers(0, 300), st.integers(300, 400))
def test_share_survives_the_angle_transformation(count: int, n: int) -> None:
    assert share_of(ChartPoint.share(count, n).at) == pytest.approx(count / n, abs=0.4 / n)


@pytest.mark.parametrize(("angle", "share"), [(-1, 0), (0, 0), (np.pi, 1), (9, 1)])
def test_angle_beyond_the_ends_is_clipped(angle: float, share: float) -> None:
    assert share_of(angle) == share


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.3])
def test_chance_breaches_share_limits_no_more_than_expected(rate: float) -> None:
    rng = np.random.default_rng(1)
    breached = 0
    for _ in range(4000):
        whole = ChartPoint.share(int(rng.binomial(2000, rate)), 2000)
        night = ChartPoint.share(int(rng.binomial(100, rate)), 100)
        breached += ControlLimits.around(whole, [], night.error, width=2).nearness(night) > 1
    # Counts are discrete: for rare events even the smallest one is more likely than the tail.
    assert breached / 4000 < 0.055


def test_overdispersed_nights_widen_the_limits() -> None:
    whole = ChartPoint(0.0, 0.01)
    calm = [ChartPoint(0.1 * sign, 0.1) for sign in (-1, 1) * 10]
    wild = [ChartPoint(0.3 * sign, 0.1) for sign in (-1, 1) * 10]
    assert overdispersion(wild) == pytest.approx(3 * overdispersion(calm), rel=0.2)
    assert (
        ControlLimits.around(whole, wild, 0.1, 3).high
        > 2 * ControlLimits.around(whole, calm, 0.1, 3).high
    )


def test_lasting_change_hardly_widens_the_limits() -> None:
    rng = np.random.default_rng(1)
    before, since = (
        [ChartPoint(float(at), 1.0) for at in rng.normal(mean, 1, 10)] for mean in (0, 6)
    )
    assert overdispersion([*before, *since]) < 1.4
    assert overdispersion([ChartPoint(at, 1.0) for at in (0.0, 6.0) * 10]) > 3


def test_identical_nights_do_not_narrow_the_limits() -> None:
    alike = [ChartPoint(0.0, 0.1)] * 20
    assert overdispersion(alike) == 1


@QUICK
@given(COUNTS, COUNTS)
def test_ks_distance_matches_scipy(a: list[int], b: list[int]) -> None:
    values = np.arange(4)
    expected = stats.ks_2samp(np.repeat(values, a), np.repeat(values, b), method="asymp")
    assert ks(np.array(a, float), np.array(b, float))[0] == pytest.approx(expected.statistic)


def test_ks_limit_has_the_tail_probability_of_the_width() -> None:
    tail = 2 * stats.norm.sf(3.5)
    limit = ks_limit(100, 2000, 1.0, 3.5)
    assert stats.kstwobign.sf(limit / np.sqrt(1 / 100 + 1 / 2000)) == pytest.approx(tail)


def test_psi_matches_its_definition() -> None:
    films = np.array([20.0, 30.0, 50.0])
    baseline = np.array([300.0, 300.0, 400.0])
    p, q = (films + 0.5) / 101.5, (baseline + 0.5) / 1001.5
    assert psi(films, baseline) == (pytest.approx(((p - q) * np.log(p / q)).sum()), 3)


def test_sparse_baseline_bins_are_pooled() -> None:
    baseline = np.array([1.0] * 5 + [900.0] + [10.0] * 10)
    index, bins = psi(np.ones(16), baseline)
    assert 2 <= bins <= 3
    assert np.isfinite(index)


def test_psi_of_one_bin_is_0_with_the_large_limit() -> None:
    assert psi(np.array([5.0]), np.array([50.0])) == (0, 1)
    assert psi_limit(5, 50, 1, 1.0) == LARGE_PSI


def test_psi_limit_is_the_larger_of_large_psi_and_chance() -> None:
    assert psi_limit(10_000, 10_000, 10, 1.0) == LARGE_PSI
    assert psi_limit(60, 300, 10, 1.0) > 2 * LARGE_PSI


def test_more_looks_widen_the_limits() -> None:
    assert width_for(1) == pytest.approx(3.5)
    assert 3.5 < width_for(2) < width_for(20) < 4.5
