"""How fast, and how long still."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cli.watch_jobs import Throughput, seconds_left
from queue_makers import FakeClock


def rates(clock, looks, **settings):
    """What a pace says after each of (seconds since the look before, films done)."""
    pace = Throughput(clock, **settings)
    said = []
    for seconds, done in looks:
        clock.seconds += seconds
        said.append(pace.look(done))
    return said


def test_nothing_is_known_at_the_first_look(clock):
    assert rates(clock, [(0, 100)]) == [None]


def test_two_looks_at_one_moment_say_nothing(clock):
    assert rates(clock, [(0, 100), (0, 108)]) == [None, None]


def test_films_that_were_done_before_the_first_look_do_not_count(clock):
    assert rates(clock, [(0, 100), (2, 108)])[-1] == 4


def test_a_pause_between_batches_is_evened_out(clock):
    assert rates(clock, [(0, 0), (2, 8), (2, 8)])[-1] == 2


def test_what_is_long_ago_no_longer_counts(clock):
    looks = [(0, 0), *[(2, 100)] * 5, *[(2, 100 + 2 * step) for step in range(1, 6)]]
    assert rates(clock, looks, window=10)[-1] == 1


def test_looks_that_are_further_apart_than_the_window_still_say_something(clock):
    assert rates(clock, [(0, 0), (100, 100), (100, 400)], window=10)[1:] == [1, 3]


@given(
    rate=st.integers(1, 1000),
    pauses=st.lists(st.integers(1, 500), min_size=1, max_size=50),
    window=st.integers(1, 1000),
)
def test_a_steady_pace_is_found_however_often_one_looks(rate, pauses, window):
    done, looks = 0, [(0, 0)]
    for pause in pauses:
        done += rate * pause
        looks.append((pause, done))
    assert rates(FakeClock(), looks, window=window)[1:] == [rate] * len(pauses)


@pytest.mark.parametrize(
    ("films", "rate", "seconds"),
    [(100, 4.0, 25.0), (0, 4.0, 0.0), (100, 0.0, None), (5, None, None)],
)
def test_the_rest_takes_as_long_as_films_and_pace_say(films, rate, seconds):
    assert seconds_left(films, rate) == seconds
