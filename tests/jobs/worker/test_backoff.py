"""Exponential backoff: growth, limits and jitter."""

from hypothesis import given
from hypothesis import strategies as st

from jobs.worker.retrying_store import delay

attempts = st.integers(0, 10_000)
chances = st.floats(0, 1)


@given(attempts, chances)
def test_delay_is_between_15_seconds_and_an_hour(attempt, chance):
    assert 15 <= delay(attempt, lambda: chance) <= 3600


@given(attempts, chances)
def test_delay_never_decreases_for_equal_chance(attempt, chance):
    assert delay(attempt, lambda: chance) <= delay(attempt + 1, lambda: chance)


@given(attempts, chances)
def test_half_of_maximum_delay_is_fixed(attempt, chance):
    shortest, longest = delay(attempt, lambda: 0.0), delay(attempt, lambda: 1.0)
    assert shortest == longest / 2
    assert shortest <= delay(attempt, lambda: chance) <= longest


def test_delay_doubles_up_to_an_hour():
    longest = [delay(attempt, lambda: 1.0) for attempt in range(9)]
    assert longest == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_delay_is_random():
    assert len({delay(3) for _time in range(20)}) > 1
