"""The lease is renewed until the deadline set by the work, and no longer."""

import threading

import pytest

from jobs.engines.local import LocalEngine
from jobs.errors import LeaseLost, QueueUnavailable
from jobs.worker.job_run import run_job
from jobs.worker.lease import Heartbeat
from makers import write_film
from queue_makers import SerialEngine, make_job, make_tools

#: Seconds before a test gives up waiting.
LONG = 60


class Renewals:
    """Minimal store that counts renewals, and may raise an error at each."""

    def __init__(self, error=None):
        self.number, self.error, self.enough = 0, error, threading.Event()

    def renew(self, job, lease):
        self.number += 1
        if self.number == 3:
            self.enough.set()
        if self.error is not None:
            raise self.error


class Beats:
    """Simulates beats without delay, with a callback before each."""

    def __init__(self, *before):
        self._before = list(before)

    def wait(self, seconds):
        if not self._before:
            return True
        self._before.pop(0)()
        return False


def beaten(store, *before):
    """Return the number of renewals for these beats."""
    heartbeat = Heartbeat(store, make_job(), LONG)
    heartbeat._ended = Beats(*(lambda happens=happens: happens(heartbeat) for happens in before))
    heartbeat._beat()
    return store.number


def still(_heartbeat):
    pass


def promising(seconds):
    return lambda heartbeat: heartbeat.expect(seconds)


@pytest.fixture
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("no_thread_is_left")
def test_lease_is_renewed_while_work_goes_on():
    store = Renewals()
    with Heartbeat(store, make_job(), lease=0.04) as heartbeat:
        heartbeat.expect(LONG)
        assert store.enough.wait(LONG)


def test_lease_is_renewed_at_each_beat():
    assert beaten(Renewals(), promising(LONG), still, still) == 3


def test_lease_is_not_renewed_after_deadline():
    assert beaten(Renewals(), promising(LONG), promising(-1), still, still) == 1


def test_new_deadline_resumes_renewal():
    assert beaten(Renewals(), promising(-1), still, promising(LONG), still) == 2


def test_first_deadline_is_one_lease():
    assert beaten(Renewals(), still, still) == 2


def test_lost_lease_is_not_renewed_again():
    assert beaten(Renewals(LeaseLost("gone")), promising(LONG), still, still) == 1


def test_unavailable_queue_is_tried_again_at_next_beat():
    assert beaten(Renewals(QueueUnavailable("away")), promising(LONG), still, still) == 3


@pytest.mark.usefixtures("no_thread_is_left")
@pytest.mark.parametrize("error", [LeaseLost("gone"), QueueUnavailable("away")])
def test_errors_of_queue_do_not_reach_work_and_thread_ends(error):
    store = Renewals(error)
    with Heartbeat(store, make_job(), lease=0.04):
        while not store.number:
            store.enough.wait(0.01)


@pytest.mark.usefixtures("no_thread_is_left")
def test_thread_ends_when_work_raises():
    with pytest.raises(OSError, match="disk"), Heartbeat(Renewals(), make_job(), lease=LONG):
        raise OSError("disk")


def test_hanging_queue_does_not_block_exit():
    asked, answer = threading.Event(), threading.Event()

    class Hanging:
        def renew(self, job, lease):
            asked.set()
            answer.wait(LONG)

    with Heartbeat(Hanging(), make_job(), lease=0.04) as heartbeat:
        assert asked.wait(LONG)
    assert heartbeat._thread.is_alive()
    answer.set()
    heartbeat._thread.join(LONG)
    assert not heartbeat._thread.is_alive()


class Counted:
    """A store that counts renewals and signals when there were several."""

    def __init__(self, store):
        self._store, self.renewals = store, Renewals()

    def __getattr__(self, name):
        return getattr(self._store, name)

    def renew(self, job, lease):
        self._store.renew(job, lease)
        self.renewals.renew(job, lease)


@pytest.mark.usefixtures("no_thread_is_left")
@pytest.mark.parametrize("engine", [SerialEngine(), LocalEngine(1)], ids=["serial", "local"])
def test_job_is_held_while_film_takes_longer_than_lease(store, screener, folder, clock, engine):
    write_film(folder / "0.png", seed=0)
    store.add(make_job(folder=folder))
    counted = Counted(store)

    class Slow:
        def screen(self, *arguments):
            assert counted.renewals.enough.wait(LONG)
            clock.seconds += 0.1
            return engine.screen(*arguments)

    job = store.claim("A", 0.2)
    assert run_job(job, make_tools(counted, screener, engine=Slow(), lease=0.2)) == 0


@pytest.mark.usefixtures("no_thread_is_left")
def test_lease_is_kept_while_large_folder_is_checked(store, screener, folder, monkeypatch):
    store.add(make_job(folder=folder, settle=5))
    counted = Counted(store)

    def looked_through(*_arguments):
        assert counted.renewals.enough.wait(LONG)

    monkeypatch.setattr("jobs.worker.job_run.settles_at", looked_through)
    assert run_job(store.claim("A", 0.2), make_tools(counted, screener, lease=0.2)) == 0
