from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import t as student

from screening.report.intervals import (
    Figure,
    draws,
    mean_of_two,
    proportion,
    share,
    studentised,
    sum_of_gaps,
)

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def wilson(successes: int, n: int) -> tuple[float, float]:
    return wilson_of(successes / n, n)


def wilson_of(p: float, n: float) -> tuple[float, float]:
    """Wilson, JASA 22 (1927), in the solved form of Agresti and Coull, Am. Stat. 52 (1998)."""
    middle = p + Z**2 / (2 * n)
    half = Z * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)


@pytest.mark.parametrize(("successes", "n"), [(8, 10), (1, 3), (95, 100), (0, 7), (7, 7), (1, 1)])
def test_share_has_its_wilson_interval(successes: int, n: int) -> None:
    figure = proportion(successes, n)
    low, high = wilson(successes, n)
    assert figure.value == successes / n
    assert figure.ci_low == pytest.approx(low, abs=1e-9)
    assert figure.ci_high == pytest.approx(high, abs=1e-9)
    assert figure.n == n


@settings(deadline=None, database=None, max_examples=100)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_share_interval_matches_scipy(counts: tuple[int, int]) -> None:
    figure, reference = proportion(*counts), binomtest(*counts).proportion_ci(method="wilson")
    assert figure.ci_low == pytest.approx(reference.low, abs=1e-12)
    assert figure.ci_high == pytest.approx(reference.high, abs=1e-12)


def test_share_of_nothing_is_undefined() -> None:
    assert proportion(0, 0) == Figure(None, None, None, 0)


@pytest.mark.parametrize("n", [1, 5, 400])
def test_interval_of_share_1_ends_at_1_and_of_share_0_at_0(n: int) -> None:
    assert proportion(n, n).ci_high == 1
    assert proportion(0, n).ci_low == 0


def test_design_effect_of_4_counts_a_quarter_of_the_films() -> None:
    figure = proportion(60, 80, design_effect=4)
    assert (figure.value, figure.n) == (0.75, 80)
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson(15, 20))


def of_patients(*films: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return values and patients of films, given the 0/1 values of each patient."""
    sizes = [len(own) for own in films]
    return np.concatenate(films).astype(bool), np.repeat(np.arange(len(films)), sizes)


def test_one_film_per_patient_gives_the_plain_interval() -> None:
    which = np.random.default_rng(1).random(300) < 0.9
    assert share(which, np.arange(300)[::-1] * 7) == proportion(int(which.sum()), 300)


def test_patient_with_identical_films_counts_as_one_film() -> None:
    # 30 patients with 10 films each, right in all or in none, count as 30 films, except that 30
    # patients (29 degrees of freedom) give a less precise spread than 300 films (299).
    which, patient = of_patients(*[[1] * 10] * 24, *[[0] * 10] * 6)
    figure = share(which, patient)
    t29, t299 = 2.045229642132703, 1.967929668
    effective = 30 * (29 / 30) * (300 / 299) * (t299 / t29) ** 2
    low, high = wilson_of(0.8, effective)
    assert (figure.value, figure.n) == (0.8, 300)
    assert (figure.ci_low, figure.ci_high) == pytest.approx((low, high), rel=1e-6)


def test_unrelated_films_of_a_patient_count_in_full() -> None:
    # Every patient has the same number right: films of a patient are as dissimilar as possible.
    which, patient = of_patients(*[[1, 1, 1, 0]] * 50)
    figure, plain = share(which, patient), proportion(150, 200)
    assert figure.value == plain.value
    # Films less similar than by chance do not count as more films than there are.
    assert plain.ci_high < figure.ci_high < plain.ci_high + 0.003


def test_clustered_interval_has_95_percent_coverage() -> None:
    # Simulated patients have 1 to 6 films and an individual rate, 0.8 on average.
    rng = np.random.default_rng(5)
    inside = {"clustered": 0, "plain": 0}
    for _ in range(400):
        sizes = rng.integers(1, 7, 80)
        patient = np.repeat(np.arange(80), sizes)
        which = rng.random(len(patient)) < rng.beta(1.6, 0.4, 80)[patient]
        clustered, plain = share(which, patient), proportion(int(which.sum()), len(which))
        inside["clustered"] += clustered.ci_low <= 0.8 <= clustered.ci_high
        inside["plain"] += plain.ci_low <= 0.8 <= plain.ci_high
    assert inside["clustered"] / 400 == pytest.approx(0.95, abs=0.03)
    assert inside["plain"] / 400 < 0.87


@pytest.mark.parametrize("right", [True, False])
def test_identical_films_count_as_if_patients_were_identical(right: bool) -> None:
    # Sizes 1, 2 and 3 count as (1 + 2 + 3)^2 / (1 + 4 + 9) films.
    figure = share(np.full(6, right), np.array([0, 1, 1, 2, 2, 2]))
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson_of(float(right), 36 / 14))


def test_many_films_of_one_patient_count_as_one_film() -> None:
    which = np.array([True, True, True, False])
    figure = share(which, np.zeros(4, int))
    assert (figure.value, figure.n) == (0.75, 4)
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson_of(0.75, 1))


def test_clustered_share_of_no_films_is_undefined() -> None:
    assert share(np.zeros(0, bool), np.zeros(0, int)) == Figure(None, None, None, 0)


def test_share_does_not_depend_on_film_order() -> None:
    which, patient = of_patients([1, 1, 0], [1], [0, 0], [1, 1, 1, 1])
    order = np.random.default_rng(2).permutation(len(which))
    mixed, plain = share(which[order], patient[order] * 13), share(which, patient)
    assert (mixed.ci_low, mixed.ci_high) == pytest.approx((plain.ci_low, plain.ci_high))


def test_mean_of_two_shares_combines_their_intervals() -> None:
    one, other = proportion(45, 50), proportion(60, 200)
    figure = mean_of_two(one, other)
    assert (figure.value, figure.n) == (0.6, 250)
    (a, b), (c, d) = wilson(45, 50), wilson(60, 200)
    assert figure.ci_low == pytest.approx(0.6 - sqrt((0.9 - a) ** 2 + (0.3 - c) ** 2) / 2)
    assert figure.ci_high == pytest.approx(0.6 + sqrt((b - 0.9) ** 2 + (d - 0.3) ** 2) / 2)


def test_mean_with_an_undefined_share_is_undefined() -> None:
    assert mean_of_two(proportion(0, 0), proportion(3, 4)) == Figure(None, None, None, 4)


def drawn(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the mean of the values on each draw, with one value per patient."""
    return np.concatenate(
        [times @ values for times in draws(len(values), len(values), seed)]
    ) / len(values)


def test_each_draw_has_as_many_patients_as_there_are() -> None:
    times = np.concatenate(list(draws(7, 20)))
    assert times.shape == (500, 7)
    assert set(times.sum(axis=1)) == {7.0}
    # Each patient is drawn once on average, with variance 1 - 1/7.
    assert times.mean(axis=0) == pytest.approx(1, abs=0.15)
    assert times.var() == pytest.approx(6 / 7, abs=0.05)


def test_draws_do_not_depend_on_the_block_size() -> None:
    few, many = (np.concatenate(list(draws(9, films))) for films in (9, 100_000))
    assert np.array_equal(few, many)


def test_same_seed_gives_the_same_draws() -> None:
    values = np.random.default_rng(1).random(50)
    assert np.array_equal(drawn(values, 1), drawn(values, 1))
    assert not np.array_equal(drawn(values, 1), drawn(values, 2))


def test_interval_of_many_patients_is_close_to_normal() -> None:
    values = np.random.default_rng(1).random(4000)
    mean = float(values.mean())
    figure = studentised(mean, drawn(values), 4000, 4000)
    half = Z * values.std() / sqrt(4000)
    assert (figure.value, figure.n) == (mean, 4000)
    # An interval this short is almost unaffected by the log-odds scale.
    assert figure.ci_low == pytest.approx(mean - half, abs=half / 10)
    assert figure.ci_high == pytest.approx(mean + half, abs=half / 10)


def test_few_patients_widen_the_interval_by_students_t() -> None:
    draws_of_it = 0.8 + np.array([-0.02, 0.02] * 50)
    many, few = (studentised(0.8, draws_of_it, patients, 100) for patients in (10**6, 5))

    def half(figure: Figure) -> float:
        odds = [end / (1 - end) for end in (figure.ci_low, figure.ci_high)]
        return float(np.log(odds[1] / odds[0])) / 2

    assert half(many) == pytest.approx(Z * 0.02 / 0.16, rel=1e-4)
    assert half(few) == pytest.approx(student.ppf(0.975, 4) * sqrt(5 / 4) * 0.02 / 0.16)


def test_undefined_draws_are_left_out() -> None:
    with_gaps = np.array([0.4, np.nan, 0.6, np.nan])
    assert studentised(0.5, with_gaps, 30, 9) == studentised(0.5, np.array([0.4, 0.6]), 30, 9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_perfect_index_has_the_wilson_interval_of_its_patients(value: float) -> None:
    figure = studentised(value, np.full(100, value), 12, 300)
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson(round(12 * value), 12))


def test_one_patient_gives_a_value_without_interval() -> None:
    assert studentised(0.7, np.full(9, 0.7), 1, 5) == Figure(0.7, None, None, 5)
    assert sum_of_gaps(np.array([0.3]), np.full((9, 1), 0.3), 1, 5) == Figure(0.3, None, None, 5)


def gaps_of(true: np.ndarray, patients: int, seed: int) -> Figure:
    """Return the sum of gaps for bins whose true gaps are `true`, with normal noise of sd 0.1."""
    values = true + np.random.default_rng(seed).standard_normal((patients, len(true))) / 10
    means = np.concatenate([times @ values for times in draws(patients, patients)]) / patients
    return sum_of_gaps(values.mean(axis=0), means, patients, patients)


def test_chance_gaps_have_lower_end_0() -> None:
    figures = [gaps_of(np.zeros(10), 60, seed) for seed in range(200)]
    assert np.mean([figure.ci_low == 0 for figure in figures]) > 0.95
    assert min(figure.value for figure in figures) > 0.05


@pytest.mark.parametrize("true", [np.full(10, 0.02), np.array([0.1, -0.1] + [0] * 8)])
def test_gap_interval_covers_the_true_sum(true: np.ndarray) -> None:
    figures = [gaps_of(true, 60, seed) for seed in range(200)]
    assert all(figure.ci_low <= figure.value <= figure.ci_high for figure in figures)
    held = [figure.ci_low <= np.abs(true).sum() <= figure.ci_high for figure in figures]
    assert np.mean(held) > 0.92
    # The interval usually excludes 0, and its upper end is not too high.
    assert np.mean([figure.ci_low > 0 for figure in figures]) > 0.85
    assert np.median([figure.ci_high for figure in figures]) < 2 * np.abs(true).sum()


def test_zero_gaps_have_the_wilson_interval_of_their_patients() -> None:
    figure = sum_of_gaps(np.zeros(10), np.zeros((50, 10)), 12, 12)
    assert (figure.value, figure.ci_low, figure.ci_high) == pytest.approx((0, *wilson(0, 12)))
