"""Tests that the best range of a feature map has the least squared error in 8 bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports.convert.quantize import Range, best_range, ranges_of

QUICK = settings(deadline=None, max_examples=100, database=None)

FLOATS = st.floats(-1e6, 1e6, width=32)

#: Distributions of values: even, around 0, with long tails, on one side, mostly 0.
SPREADS = {
    "uniform": lambda rng, size: rng.uniform(-1, 1, size),
    "normal": lambda rng, size: rng.normal(0, 1, size),
    "tails": lambda rng, size: rng.standard_t(3, size),
    "one side": lambda rng, size: rng.exponential(1, size),
    "few": lambda rng, size: rng.exponential(1, size) * (rng.random(size) < 0.1),
}


def films_of(spread, seed=0, films=10, values=20_000):
    """Films whose only feature map is the film itself."""
    rng = np.random.default_rng(seed)
    return SPREADS[spread](rng, (films, values)).astype(np.float32)


def itself(films):
    return {"map": films}


def range_of(films):
    return ranges_of(itself, films)["map"]


def error(values, given):
    """Mean squared error of 8 bits with 0 on a step."""
    step = (given.high - given.low) / 255
    zero = round(-given.low / step)
    steps = np.clip(np.rint(values / step), -zero, 255 - zero)
    return np.mean((values - steps * step) ** 2)


def widest(values):
    return Range.of(float(values.min()), float(values.max()))


@given(low=FLOATS, high=FLOATS)
@QUICK
def test_zero_is_always_within_a_range(low, high):
    found = Range.of(min(low, high), max(low, high))
    assert found.low <= 0 <= found.high
    assert found.low <= min(low, high) <= max(low, high) <= found.high


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_other_range_has_a_smaller_error(spread, sign):
    films = sign * films_of(spread)
    best, all_of_it = range_of(films), widest(films)
    others = [
        error(films, Range(low * all_of_it.low, high * all_of_it.high))
        for low in np.linspace(0.1, 1, 19)
        for high in np.linspace(0.1, 1, 19)
    ]
    assert error(films, best) < 1.02 * min(others)


def test_uniform_values_are_not_clipped():
    films = films_of("uniform")
    best = range_of(films)
    assert (best.low, best.high) == (films.min(), films.max())


def test_long_tails_are_clipped():
    films = films_of("tails")
    best, all_of_it = range_of(films), widest(films)
    assert best.high - best.low < 0.8 * (all_of_it.high - all_of_it.low)
    assert error(films, best) < 0.8 * error(films, all_of_it)


@pytest.mark.parametrize("sign", [-1, 1])
def test_single_outlier_does_not_widen_the_range(sign):
    films = films_of("uniform", films=50)
    films[3, 5] = sign * 4
    best = range_of(films)
    assert best.high - best.low < 2.5


@pytest.mark.parametrize("sign", [-1, 1])
def test_frequent_bright_values_are_kept(sign):
    films = films_of("uniform")
    films[:, ::100] = sign * 4
    best = range_of(films)
    assert max(-best.low, best.high) > 3.9


def test_zeros_do_not_affect_the_range():
    many = films_of("few")
    few = np.where(np.arange(many.shape[1]) % 2, many, 0)
    for films in (many, few):
        without = films[films != 0].reshape(1, -1)
        assert range_of(films) == range_of(without)


def test_range_includes_values_of_all_batches():
    films = films_of("uniform", films=20) / 100
    films[-1] *= 100
    late, early = (range_of(some) for some in (films, films[:8]))
    assert late.high > 2 * early.high


def test_each_feature_map_has_its_own_range():
    films = films_of("uniform")
    ranges = ranges_of(lambda some: {"one": some, "ten": 10 * some, "none": 0 * some}, films)
    assert ranges["one"] == range_of(films)
    assert ranges["ten"].high == pytest.approx(10 * ranges["one"].high)
    # A map that is 0 on every film has a range, so that it can be rounded at all.
    assert ranges["none"] == Range(0, 1)


def test_no_values_give_the_widest_range():
    assert best_range(np.zeros(16), Range(-2, 3)) == Range(-2, 3)
