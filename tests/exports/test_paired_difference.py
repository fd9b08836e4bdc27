"""Tests of the difference of two paired proportions and its interval."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports.parity import PairedDifference

QUICK = settings(deadline=None, max_examples=200, database=None)

READINGS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def bools(values):
    return np.array(values, bool)


def change(n, gained=0, lost=0, called=0):
    """Difference for n films, `called` of which are positive in both readings."""
    before, after = np.zeros((2, n), bool)
    after[:gained] = True
    before[gained : gained + lost] = True
    both = slice(gained + lost, gained + lost + called)
    before[both] = after[both] = True
    return PairedDifference.between(before, after)


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 0),
        ([1, 1, 0, 0], [1, 0, 0, 0], -0.25),
        ([1, 1, 0, 0], [1, 1, 1, 0], 0.25),
        ([1, 1, 0, 0], [0, 1, 1, 0], 0),
        ([0, 0, 0, 0], [1, 1, 1, 1], 1),
        ([1, 1, 1, 1], [0, 0, 0, 0], -1),
        ([1], [0], -1),
    ],
)
def test_value_is_the_second_proportion_minus_the_first(before, after, value):
    found = PairedDifference.between(bools(before), bools(after))
    assert (found.value, found.n) == (value, len(before))


@given(readings=READINGS)
@QUICK
def test_swapping_the_readings_changes_the_sign(readings):
    before, after = bools(readings).T
    there, back = PairedDifference.between(before, after), PairedDifference.between(after, before)
    assert back.value == pytest.approx(-there.value)
    assert (back.low, back.high) == (pytest.approx(-there.high), pytest.approx(-there.low))


@given(readings=READINGS)
@QUICK
def test_order_of_films_does_not_matter(readings):
    before, after = bools(readings).T
    assert PairedDifference.between(before, after) == PairedDifference.between(
        before[::-1], after[::-1]
    )


@given(readings=READINGS)
@QUICK
def test_interval_contains_the_value_and_stays_within_bounds(readings):
    before, after = bools(readings).T
    found = PairedDifference.between(before, after)
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert -1 <= found.low < found.high <= 1
    # The centre of the interval is pulled slightly towards 0, which matters with few films.
    drawn = 2 * abs(found.value) / (found.n + 2)
    assert found.low - drawn <= found.value <= found.high + drawn


@pytest.mark.parametrize("called", [0, 100, 200])
def test_interval_has_a_width_without_any_change(called):
    found = change(200, called=called)
    assert found.value == 0
    assert found.low == pytest.approx(-found.high)
    # A change of one film in 200 could have been missed.
    assert 0.005 < found.high < 0.02


def test_more_films_make_the_interval_narrower():
    widths = [one.high - one.low for one in (change(n, n // 50, n // 50) for n in (50, 200, 1000))]
    assert widths[0] > 1.5 * widths[1] > 2.5 * widths[2]


def test_changes_in_both_directions_widen_the_interval():
    still, moving = change(200), change(200, 20, 20)
    assert still.value == moving.value == 0
    assert moving.high > 2 * still.high


def test_interval_is_that_of_agresti_and_min():
    # By hand: (9 - 3) / 102, and the root of 9 + 3 + 1 minus the square of 6 over 102.
    half = 1.959964 * math.sqrt(13 - 36 / 102) / 102
    found = change(100, 9, 3)
    assert found.value == pytest.approx(0.06)
    assert found.low == pytest.approx(6 / 102 - half)
    assert found.high == pytest.approx(6 / 102 + half)


@pytest.mark.parametrize("n", [100, 200])
@pytest.mark.parametrize(
    ("gains", "loses"), [(0.0, 0.0), (0.01, 0.01), (0.05, 0.0), (0.05, 0.05), (0.2, 0.05)]
)
def test_interval_covers_the_true_change_in_95_percent(n, gains, loses):
    rng = np.random.default_rng([n, int(100 * gains), int(100 * loses)])
    draws = 2000
    kinds = rng.choice(3, (draws, n), p=[gains, loses, 1 - gains - loses])
    held = 0
    for kind in kinds:
        found = PairedDifference.between(kind == 1, kind == 0)
        held += found.low <= gains - loses <= found.high
    assert 0.93 <= held / draws <= 1


def test_no_films_give_nan_and_none():
    found = PairedDifference.between(bools([]), bools([]))
    assert found.n == 0
    assert all(math.isnan(end) for end in (found.value, found.low, found.high))
    assert str(found) == "no films"
    recorded = found.as_dict()
    assert recorded == {"value": None, "ci_low": None, "ci_high": None, "n": 0}
    # NaN is not valid JSON.
    json.dumps(recorded, allow_nan=False)


@pytest.mark.parametrize(
    ("given_to_it", "text"),
    [
        (PairedDifference(0.0, -0.0141, 0.0141, 200), "+0.0000 (-0.0141 to +0.0141)"),
        (PairedDifference(-0.005, -0.02, 0.01004, 200), "-0.0050 (-0.0200 to +0.0100)"),
        (PairedDifference(1.0, 0.25, 1, 4), "+1.0000 (+0.2500 to +1.0000)"),
    ],
)
def test_text_contains_sign_and_interval(given_to_it, text):
    assert str(given_to_it) == text


def test_card_records_value_interval_and_films():
    found = change(300, 1, 2)
    recorded = found.as_dict()
    assert list(recorded) == ["value", "ci_low", "ci_high", "n"]
    assert (recorded["value"], recorded["n"]) == (-0.003333, 300)
    assert recorded["ci_low"] == pytest.approx(found.low, abs=1e-6)
    assert recorded["ci_high"] == pytest.approx(found.high, abs=1e-6)
    json.dumps(recorded, allow_nan=False)
