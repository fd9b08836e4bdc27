from math import sqrt

import numpy as np
import pytest

from screening.report.intervals import Figure, bootstrap, proportion, share

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


def test_whole_patients_are_drawn() -> None:
    # Two patients, one always right and one always wrong. A draw of two is right in none, one or
    # both: the share is 0, 1/2 or 1 with 1/4, 1/2, 1/4, so the 2.5 % and 97.5 % points are 0 and 1.
    # Drawn film by film, 200 films would give about 0.43 to 0.57.
    right = np.repeat([1.0, 0.0], 100)
    figure = bootstrap(lambda w: float(np.average(right, weights=w)), np.repeat([7, 3], 100))
    assert figure == Figure(0.5, 0.0, 1.0, 200)


def test_films_of_many_patients_give_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(1).random(400)
    figure = bootstrap(lambda w: float(np.average(values, weights=w)), np.arange(400))
    half = Z * values.std() / 20
    assert figure.value == pytest.approx(values.mean())
    assert figure.ci_low == pytest.approx(values.mean() - half, abs=half / 4)
    assert figure.ci_high == pytest.approx(values.mean() + half, abs=half / 4)


def test_films_of_a_patient_need_not_lie_together() -> None:
    right = np.tile([1.0, 0.0], 50)
    figure = bootstrap(lambda w: float(np.average(right, weights=w)), np.tile([0, 1], 50))
    assert (figure.ci_low, figure.ci_high) == (0.0, 1.0)


def test_one_patient_has_a_value_and_no_interval() -> None:
    assert bootstrap(lambda w: float(w.sum()), np.zeros(5, int)) == Figure(5.0, None, None, 5)


def test_no_films_have_no_value() -> None:
    assert bootstrap(lambda _w: 1.0, np.zeros(0, int)) == Figure(None, None, None, 0)


def test_what_is_undefined_on_all_films_has_no_value() -> None:
    assert bootstrap(lambda _w: None, np.arange(4)) == Figure(None, None, None, 4)


def test_draws_on_which_it_is_undefined_are_left_out() -> None:
    # Undefined on draws without the first patient; the others contain it, and give 1.
    figure = bootstrap(lambda w: {True: 1.0, False: None}[bool(w[0] > 0)], np.arange(3))
    assert figure == Figure(1.0, 1.0, 1.0, 3)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).random(50)

    def figure(seed: int) -> Figure:
        return bootstrap(lambda w: float(np.average(values, weights=w)), np.arange(50), seed)

    assert figure(1) == figure(1)
    assert figure(1) != figure(2)
