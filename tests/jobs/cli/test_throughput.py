"""Tests for throughput and remaining time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cli.watch_jobs import Throughput, seconds_left
from queue_makers import FakeClock


def rates(clock, samples, **settings):
    """Return the rate after each sample, given as (seconds since the last sample, films done)."""
    throughput = Throughput(clock, **settings)
    results = []
    for seconds, done in samples:
        clock.seconds += seconds
        results.append(throughput.look(done))
    return results


def test_rate_is_unknown_after_one_sample(clock):
    assert rates(clock, [(0, 100)]) == [None]


def test_two_samples_at_the_same_time_give_no_rate(clock):
    assert rates(clock, [(0, 100), (0, 108)]) == [None, None]


def test_films_before_the_first_sample_do_not_count(clock):
    assert rates(clock, [(0, 100), (2, 108)])[-1] == 4


def test_pause_between_batches_is_averaged(clock):
    assert rates(clock, [(0, 0), (2, 8), (2, 8)])[-1] == 2


def test_samples_outside_the_window_do_not_count(clock):
    samples = [(0, 0), *[(2, 100)] * 5, *[(2, 100 + 2 * step) for step in range(1, 6)]]
    assert rates(clock, samples, window=10)[-1] == 1


def test_samples_further_apart_than_the_window_give_a_rate(clock):
    assert rates(clock, [(0, 0), (100, 100), (100, 400)], window=10)[1:] == [1, 3]


@given(
    rate=st.integers(1, 1000),
    pauses=st.lists(st.integers(1, 500), min_size=1, max_size=50),
    window=st.integers(1, 1000),
)
def test_constant_rate_is_measured_at_any_sampling(rate, pauses, window):
    done, samples = 0, [(0, 0)]
    for pause in pauses:
        done += rate * pause
        samples.append((pause, done))
    assert rates(FakeClock(), samples, window=window)[1:] == [rate] * len(pauses)


@pytest.mark.parametrize(
    ("films", "rate", "seconds"),
    [(100, 4.0, 25.0), (0, 4.0, 0.0), (100, 0.0, None), (5, None, None)],
)
def test_seconds_left_is_films_divided_by_rate(films, rate, seconds):
    assert seconds_left(films, rate) == seconds
