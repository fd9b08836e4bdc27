from math import sqrt

import numpy as np
import pytest

from screening.report.intervals import Figure, bootstrap, proportion

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson, JASA 22 (1927), as solved in Agresti and Coull, Am. Stat. 52 (1998)."""
    p = successes / n
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
