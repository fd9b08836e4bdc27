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
    """Wilson, JASA 22 (1927), as solved in Agresti and Coull, Am. Stat. 52 (1998)."""
    middle = p + Z**2 / (2 * n)
    half = Z * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)


@pytest.mark.parametrize(("successes", "n"), [(8, 10), (1, 3), (95, 100), (0, 7), (7, 7), (1, 1)])
def test_a_share_has_its_wilson_interval(successes: int, n: int) -> None:
    figure = proportion(successes, n)
    low, high = wilson(successes, n)
    assert figure.value == successes / n
    assert figure.ci_low == pytest.approx(low, abs=1e-9)
    assert figure.ci_high == pytest.approx(high, abs=1e-9)
    assert figure.n == n


@settings(deadline=None, database=None, max_examples=100)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_the_interval_of_scipy(counts: tuple[int, int]) -> None:
    figure, reference = proportion(*counts), binomtest(*counts).proportion_ci(method="wilson")
    assert figure.ci_low == pytest.approx(reference.low, abs=1e-12)
    assert figure.ci_high == pytest.approx(reference.high, abs=1e-12)


def test_a_share_of_nothing_is_undefined() -> None:
    assert proportion(0, 0) == Figure(None, None, None, 0)


@pytest.mark.parametrize("n", [1, 5, 400])
def test_what_always_or_never_happened_ends_at_1_and_at_0(n: int) -> None:
    assert proportion(n, n).ci_high == 1
    assert proportion(0, n).ci_low == 0


def test_a_design_effect_of_4_is_a_quarter_of_the_films() -> None:
    figure = proportion(60, 80, design_effect=4)
    assert (figure.value, figure.n) == (0.75, 80)
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson(15, 20))


def of_patients(*films: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Films of each patient, 1 where it holds."""
    sizes = [len(own) for own in films]
    return np.concatenate(films).astype(bool), np.repeat(np.arange(len(films)), sizes)


def test_films_of_one_patient_each_are_so_many_films() -> None:
    which = np.random.default_rng(1).random(300) < 0.9
    assert share(which, np.arange(300)[::-1] * 7) == proportion(int(which.sum()), 300)


def test_patients_whose_films_all_say_the_same_count_as_one_film_each() -> None:
    # 30 patients, 10 films each, right in all or in none: 30 films, but that 30 patients (29
    # degrees of freedom) know their spread less well than 300 films (299) do.
    which, patient = of_patients(*[[1] * 10] * 24, *[[0] * 10] * 6)
    figure = share(which, patient)
    t29, t299 = 2.045229642132703, 1.967929668
    effective = 30 * (29 / 30) * (300 / 299) * (t299 / t29) ** 2
    low, high = wilson_of(0.8, effective)
    assert (figure.value, figure.n) == (0.8, 300)
    assert (figure.ci_low, figure.ci_high) == pytest.approx((low, high), rel=1e-6)


def test_films_of_a_patient_that_differ_as_films_of_others_do_count_in_full() -> None:
    # Each patient has as many right as any other: their films could not be less alike.
    which, patient = of_patients(*[[1, 1, 1, 0]] * 50)
    figure, plain = share(which, patient), proportion(150, 200)
    assert figure.value == plain.value
    # Less alike than by chance is no reason for more films than there are.
    assert plain.ci_high < figure.ci_high < plain.ci_high + 0.003


def test_an_interval_of_films_in_patients_holds_what_it_promises() -> None:
    # Drawn films: patients have 1 to 6 films and a rate of their own, 0.8 on average.
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
def test_films_that_are_all_alike_count_as_if_patients_were(right: bool) -> None:
    # Sizes 1, 2 and 3: as much as (1 + 2 + 3)^2 / (1 + 4 + 9) films.
    figure = share(np.full(6, right), np.array([0, 1, 1, 2, 2, 2]))
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson_of(float(right), 36 / 14))


def test_many_films_of_one_patient_are_one_film() -> None:
    which = np.array([True, True, True, False])
    figure = share(which, np.zeros(4, int))
    assert (figure.value, figure.n) == (0.75, 4)
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson_of(0.75, 1))


def test_a_share_of_no_films_in_patients_is_undefined() -> None:
    assert share(np.zeros(0, bool), np.zeros(0, int)) == Figure(None, None, None, 0)


def test_the_order_of_films_does_not_matter_to_a_share() -> None:
    which, patient = of_patients([1, 1, 0], [1], [0, 0], [1, 1, 1, 1])
    order = np.random.default_rng(2).permutation(len(which))
    mixed, plain = share(which[order], patient[order] * 13), share(which, patient)
    assert (mixed.ci_low, mixed.ci_high) == pytest.approx((plain.ci_low, plain.ci_high))


def test_the_mean_of_two_shares_is_as_unsure_as_both() -> None:
    one, other = proportion(45, 50), proportion(60, 200)
    figure = mean_of_two(one, other)
    assert (figure.value, figure.n) == (0.6, 250)
    (a, b), (c, d) = wilson(45, 50), wilson(60, 200)
    assert figure.ci_low == pytest.approx(0.6 - sqrt((0.9 - a) ** 2 + (0.3 - c) ** 2) / 2)
    assert figure.ci_high == pytest.approx(0.6 + sqrt((b - 0.9) ** 2 + (d - 0.3) ** 2) / 2)


def test_the_mean_of_a_share_of_nothing_is_undefined() -> None:
    assert mean_of_two(proportion(0, 0), proportion(3, 4)) == Figure(None, None, None, 4)


def drawn(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Their mean on draws of a patient each."""
    return np.concatenate(
        [times @ values for times in draws(len(values), len(values), seed)]
    ) / len(values)


def test_as_many_patients_are_drawn_as_there_are() -> None:
    times = np.concatenate(list(draws(7, 20)))
    assert times.shape == (500, 7)
    assert set(times.sum(axis=1)) == {7.0}
    # Each is drawn once on average, with the variance 1 - 1/7 of so many draws.
    assert times.mean(axis=0) == pytest.approx(1, abs=0.15)
    assert times.var() == pytest.approx(6 / 7, abs=0.05)


def test_draws_do_not_depend_on_how_many_fit_into_a_block() -> None:
    few, many = (np.concatenate(list(draws(9, films))) for films in (9, 100_000))
    assert np.array_equal(few, many)


def test_the_same_seed_gives_the_same_draws() -> None:
    values = np.random.default_rng(1).random(50)
    assert np.array_equal(drawn(values, 1), drawn(values, 1))
    assert not np.array_equal(drawn(values, 1), drawn(values, 2))


def test_many_patients_give_the_interval_of_a_mean_on_the_scale_of_log_odds() -> None:
    values = np.random.default_rng(1).random(4000)
    mean = float(values.mean())
    figure = studentised(mean, drawn(values), 4000, 4000)
    half = Z * values.std() / sqrt(4000)
    assert (figure.value, figure.n) == (mean, 4000)
    # So short an interval is hardly bent.
    assert figure.ci_low == pytest.approx(mean - half, abs=half / 10)
    assert figure.ci_high == pytest.approx(mean + half, abs=half / 10)


def test_few_patients_widen_an_interval_as_student_says() -> None:
    draws_of_it = 0.8 + np.array([-0.02, 0.02] * 50)
    many, few = (studentised(0.8, draws_of_it, patients, 100) for patients in (10**6, 5))

    def half(figure: Figure) -> float:
        odds = [end / (1 - end) for end in (figure.ci_low, figure.ci_high)]
        return float(np.log(odds[1] / odds[0])) / 2

    assert half(many) == pytest.approx(Z * 0.02 / 0.16, rel=1e-4)
    assert half(few) == pytest.approx(student.ppf(0.975, 4) * sqrt(5 / 4) * 0.02 / 0.16)


def test_draws_on_which_it_is_undefined_are_left_out() -> None:
    with_gaps = np.array([0.4, np.nan, 0.6, np.nan])
    assert studentised(0.5, with_gaps, 30, 9) == studentised(0.5, np.array([0.4, 0.6]), 30, 9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_what_is_perfect_on_all_draws_is_no_surer_than_its_patients(value: float) -> None:
    figure = studentised(value, np.full(100, value), 12, 300)
    assert (figure.ci_low, figure.ci_high) == pytest.approx(wilson(round(12 * value), 12))


def test_one_patient_has_a_value_and_no_interval() -> None:
    assert studentised(0.7, np.full(9, 0.7), 1, 5) == Figure(0.7, None, None, 5)
    assert sum_of_gaps(np.array([0.3]), np.full((9, 1), 0.3), 1, 5) == Figure(0.3, None, None, 5)


def gaps_of(true: np.ndarray, patients: int, seed: int) -> Figure:
    """Of bins whose means of so many standard normal values are off by `true`."""
    values = true + np.random.default_rng(seed).standard_normal((patients, len(true))) / 10
    means = np.concatenate([times @ values for times in draws(patients, patients)]) / patients
    return sum_of_gaps(values.mean(axis=0), means, patients, patients)


def test_gaps_by_chance_alone_are_not_told_from_none() -> None:
    figures = [gaps_of(np.zeros(10), 60, seed) for seed in range(200)]
    assert np.mean([figure.ci_low == 0 for figure in figures]) > 0.95
    assert min(figure.value for figure in figures) > 0.05


@pytest.mark.parametrize("true", [np.full(10, 0.02), np.array([0.1, -0.1] + [0] * 8)])
def test_an_interval_of_gaps_holds_their_true_sum(true: np.ndarray) -> None:
    figures = [gaps_of(true, 60, seed) for seed in range(200)]
    assert all(figure.ci_low <= figure.value <= figure.ci_high for figure in figures)
    held = [figure.ci_low <= np.abs(true).sum() <= figure.ci_high for figure in figures]
    assert np.mean(held) > 0.92
    # It is told from nothing, and bounded.
    assert np.mean([figure.ci_low > 0 for figure in figures]) > 0.85
    assert np.median([figure.ci_high for figure in figures]) < 2 * np.abs(true).sum()


def test_no_gap_on_any_draw_is_no_surer_than_its_patients() -> None:
    figure = sum_of_gaps(np.zeros(10), np.zeros((50, 10)), 12, 12)
    assert (figure.value, figure.ci_low, figure.ci_high) == pytest.approx((0, *wilson(0, 12)))
