"""Calls to an unavailable queue are retried until it answers or waiting ends."""

import inspect

import pytest
import stamina
from stamina.instrumentation import set_on_retry_hooks

from jobs.errors import LeaseLost, QueueUnavailable
from jobs.worker.lease import Stop
from jobs.worker.retrying_store import (
    RetryingJobStore,
    RetryingRunHistory,
    RetryingScheduleStore,
    retry_calls,
)
from queue_makers import make_job, scored_row

ATTEMPTS = 6


@pytest.fixture(autouse=True)
def retries():
    """Log of retries; no retry waits, and the sixth attempt is the last."""
    told = []
    set_on_retry_hooks([told.append])
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield told
    set_on_retry_hooks(None)


class Away:
    """A store that is unavailable this many times, and records the calls."""

    def __init__(self, times, error=None):
        self._times = times
        self._error = error or QueueUnavailable("the queue is locked")
        self.asked = []

    def __getattr__(self, name):
        def method(*arguments, **keywords):
            self.asked.append((name, arguments, keywords))
            if len(self.asked) <= self._times:
                raise self._error
            return f"answer to {name}"

        return method


def test_no_retry_when_queue_is_available():
    store = Away(0)
    assert RetryingJobStore(store, Stop()).get("job-1") == "answer to get"
    assert store.asked == [("get", ("job-1",), {})]


def test_every_attempt_has_same_arguments():
    store, rows = Away(3), [scored_row("a.png")]
    RetryingJobStore(store, Stop()).commit(make_job(), rows, 60, taken=["b.png"])
    assert store.asked == [("commit", (make_job(), rows, 60, ["b.png"]), {})] * 4


def test_error_is_raised_after_last_attempt():
    store = Away(100)
    with pytest.raises(QueueUnavailable, match="is locked"):
        RetryingJobStore(store, Stop()).get("job-1")
    assert len(store.asked) == ATTEMPTS


@pytest.mark.parametrize("asked_before", [True, False])
def test_no_retry_after_stop(asked_before):
    stop, tries = Stop(), []
    if asked_before:
        stop.ask()

    def ask():
        tries.append("try")
        if len(tries) == 3:
            stop.ask()
        raise QueueUnavailable("away")

    with pytest.raises(QueueUnavailable, match="away"):
        retry_calls(ask, stop, None)
    assert len(tries) == (1 if asked_before else 3)


def call(store, name):
    """Call a method with an argument for each parameter; return the arguments."""
    given = [object() for _ in inspect.signature(getattr(store, name)).parameters]
    getattr(store, name)(*given)
    return tuple(given)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in (RetryingJobStore, RetryingRunHistory, RetryingScheduleStore)
        for name, _method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name not in ("renew", "close")
    ],
)
def test_every_method_is_retried_with_its_arguments(kind, name):
    store = Away(1)
    given = call(kind(store, Stop()), name)
    assert store.asked == [(name, given, {})] * 2


@pytest.mark.parametrize("name", ["commit", "finish", "release", "postpone", "clear_suspicion"])
def test_final_writes_are_retried_after_stop(name):
    stop, store = Stop(), Away(3)
    stop.ask()
    call(RetryingJobStore(store, stop), name)
    assert len(store.asked) == 4


def test_second_stop_or_time_limit_ends_retries_of_final_writes(monkeypatch):
    def tries(times, farewell):
        stop, store = Stop(), Away(100)
        monkeypatch.setattr("jobs.worker.retrying_store.FAREWELL", farewell)
        for _ in range(times):
            stop.ask()
        with pytest.raises(QueueUnavailable):
            RetryingJobStore(store, stop).release(make_job())
        return len(store.asked)

    assert [tries(1, 10), tries(2, 10), tries(1, 0)] == [ATTEMPTS, 1, 1]


def test_available_queue_answers_after_stop():
    stop = Stop()
    stop.ask()
    assert retry_calls(lambda: 7, stop) == 7


@pytest.mark.parametrize("error", [LeaseLost("gone"), ValueError("7"), KeyboardInterrupt()])
def test_other_errors_are_not_retried(error):
    store = Away(100, error)
    with pytest.raises(type(error)):
        RetryingJobStore(store, Stop()).get("job-1")
    assert len(store.asked) == 1


@pytest.mark.parametrize("name", ["renew", "close"])
def test_renew_and_close_are_not_retried(name):
    store = Away(100)
    with pytest.raises(QueueUnavailable):
        call(RetryingJobStore(store, Stop()), name)
    assert len(store.asked) == 1


def test_log_of_retry_has_no_arguments_and_no_film(retries):
    store = Away(2)
    RetryingJobStore(store, Stop()).commit(make_job("job-1"), [scored_row("Doe^Jane.png")], 60)
    assert [(details.args, details.kwargs) for details in retries] == [((), {})] * 2
    assert "Doe" not in repr(retries)


def test_retries_without_time_limit():
    store = Away(9)
    with stamina.set_testing(True, attempts=10):
        assert RetryingJobStore(store, Stop(), None).get("job-1") == "answer to get"
