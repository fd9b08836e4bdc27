"""A new queue for every test, and one PostgreSQL server for all."""

from contextlib import ExitStack

import pytest

from emulation.debian import Unavailable
from jobs.queue.sql.store import SqlStore
from jobs.worker.job_run import LEASE
from jobs.worker.lease import Stop
from memory_store import MemoryStore, stamp
from postgres import served
from queue_makers import FakeClock, make_job, opened_store
from store_makers import empty, opened


def pytest_itemcollected(item):
    """Mark the tests that need a PostgreSQL server."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if "postgres" in item.fixturenames or "postgresql" in parameters:
        item.add_marker(pytest.mark.postgresql)


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Draw no figures: these tests run many jobs, and report pages are tested elsewhere."""
    monkeypatch.setattr("screening.report.html.report_page.draw_figures", lambda *_arguments: {})


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(tmp_path, clock):
    with opened_store(tmp_path / "queue.sqlite", clock) as store:
        yield store


@pytest.fixture
def claim(store, folder):
    """Submit and claim a job for `folder`; any field can be set by keyword."""

    def claimed(**changes):
        store.add(make_job(folder=folder, **changes))
        return store.claim("A", LEASE)

    return claimed


@pytest.fixture(scope="session")
def postgres():
    """A server that loses its last commits if it crashes."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(served(durable=False))
        except Unavailable as error:
            pytest.skip(f"no PostgreSQL: {error}")
        yield server


@pytest.fixture
def postgres_url(postgres):
    """An empty database."""
    return postgres.database()


@pytest.fixture(scope="session")
def postgres_queue(postgres):
    """A database that is reused for one queue after another."""
    return postgres.database()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_queue(request, tmp_path, clock):
    """Location of an empty queue."""
    if request.param == "sqlite":
        return tmp_path / "any.sqlite"
    queue = request.getfixturevalue("postgres_queue")
    with opened(queue, clock) as database:
        empty(database)
    return queue


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def any_store(request, tmp_path, clock, monkeypatch):
    """An empty store that uses `clock`."""
    monkeypatch.setattr("jobs.queue.sql.store.now", lambda: stamp(clock()))
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    sqlite = request.param == "sqlite"
    queue = tmp_path / "any.sqlite" if sqlite else request.getfixturevalue("postgres_queue")
    with opened(queue, clock) as database:
        empty(database)
        yield SqlStore(database)


@pytest.fixture
def naps(monkeypatch):
    """Callbacks, one per sleep of the worker; a sleep without a planned callback fails the test."""
    planned = []

    def wait(self, _seconds):
        assert planned, "the worker sleeps, but there is something to do"
        planned.pop(0)()
        return self.asked

    monkeypatch.setattr(Stop, "wait", wait)
    return planned
