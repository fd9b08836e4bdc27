"""A worker asked to stop finishes the films in progress and releases its job."""

import pytest
from sqlalchemy import select

from jobs import exit_codes
from jobs.engines.local import LocalEngine
from jobs.errors import LeaseLost, QueueUnavailable, Stopped
from jobs.queue.jobs import State
from jobs.queue.sql.schema import films
from jobs.worker.job_run import LEASE, run_job
from jobs.worker.lease import Stop
from jobs.worker.retrying_store import RetryingJobStore
from jobs.worker.worker import work
from makers import write_film
from queue_makers import SerialEngine, Witness, make_job, make_tools
from screening.results import Status, read_rows

FILMS = 16
BATCH = 2

ENGINES = pytest.mark.parametrize(
    "engine", [SerialEngine(), LocalEngine(1), LocalEngine(2)], ids=["serial", "local", "two"]
)


class Stopping(Witness):
    """Requests a stop after this many commits; 0 for before the first."""

    def __init__(self, after, error=None):
        super().__init__()
        self.stop, self._after, self._error = Stop(), after, error

    def started(self, job, number, left):
        super().started(job, number, left)
        if self._after == 0:
            self.stop.ask()

    def committed(self, rows, seconds):
        super().committed(rows, seconds)
        if len(self.batches) == self._after:
            self.stop.ask()
            if self._error:
                raise self._error


@pytest.fixture
def job(store, folder):
    for number in range(FILMS):
        write_film(folder / f"{number:02}.png", seed=number)
    return store.add(make_job(folder=folder, batch=BATCH))


def stopping(store, screener, watcher, **changes):
    return make_tools(store, screener, watcher=watcher, stop=watcher.stop, **changes)


def marked(store):
    """Return the films marked as in progress, and those suspected of killing workers."""
    with store._database.reading() as connection:
        query = select(films.c.film).where(films.c.row.is_(None))
        in_hand = list(connection.scalars(query.where(films.c.in_hand == 1)))
        return in_hand, list(connection.scalars(query.where(films.c.deaths > 0)))


@ENGINES
@pytest.mark.parametrize("after", [0, 1, 3])
def test_stop_commits_films_in_progress_and_releases_job(store, job, screener, engine, after):
    watcher = Stopping(after)
    with pytest.raises(Stopped):
        list(work(stopping(store, screener, watcher, engine=engine), drain=True))
    left = store.get(job.name)
    assert (left.state, left.worker, left.attempts) == (State.QUEUED, "", 0)
    assert BATCH * after <= left.committed < FILMS
    # All films that the model has seen were committed.
    assert left.committed == sum(screener.predictor.batches) == sum(map(len, watcher.batches))
    assert marked(store) == ([], [])
    assert not job.report.exists()


@ENGINES
def test_next_worker_finishes_released_job_without_repeating_films(store, job, screener, engine):
    watcher = Stopping(2)
    with pytest.raises(Stopped):
        list(work(stopping(store, screener, watcher, engine=engine), drain=True))
    tools = make_tools(store, screener, engine=engine)
    assert [ended.exit_code for ended in work(tools, drain=True)] == [exit_codes.OK]
    rows = read_rows(job.report / "predictions.csv")
    assert [row.film for row in rows] == [f"{number:02}.png" for number in range(FILMS)]
    assert {row.status for row in rows} == {Status.SCORED}
    assert sum(screener.predictor.batches) == FILMS


def test_local_engine_commits_films_it_has_read_ahead(store, job, screener):
    tools = stopping(store, screener, Stopping(1), engine=LocalEngine(2))
    with pytest.raises(Stopped):
        list(work(tools, drain=True))
    # One batch committed, one more, and two films per thread were read ahead.
    assert store.get(job.name).committed == BATCH + BATCH + 2 * 2


@ENGINES
def test_stop_in_last_batch_leaves_report_to_next_worker(store, job, screener, engine):
    watcher = Stopping(FILMS // BATCH)
    with pytest.raises(Stopped):
        list(work(stopping(store, screener, watcher, engine=engine), drain=True))
    assert store.get(job.name).state is State.QUEUED
    assert not job.report.exists()
    assert len(list(work(make_tools(store, screener), drain=True))) == 1
    assert len(read_rows(job.report / "predictions.csv")) == FILMS
    assert sum(screener.predictor.batches) == FILMS


class StopAtReport(Stopping):
    """Requests a stop after the report has been written."""

    def __init__(self):
        super().__init__(-1)

    def reported(self, report, seconds):
        super().reported(report, seconds)
        self.stop.ask()


def test_stop_after_report_still_ends_job(store, job, screener):
    watcher = StopAtReport()
    ended = []
    with pytest.raises(Stopped):
        ended += work(stopping(store, screener, watcher), drain=True)
    assert store.get(job.name).state is State.DONE


class InterruptedInATransaction(Witness):
    """Raises the interrupt of a second signal after a transaction was opened."""

    def __init__(self, engine):
        super().__init__()
        self.engine = engine

    def committed(self, rows, seconds):
        connection = self.engine.connect()
        connection.begin()
        raise KeyboardInterrupt


def test_interrupt_within_transaction_releases_job(store, job, screener):
    tools = make_tools(store, screener, watcher=InterruptedInATransaction(store._database.engine))
    with pytest.raises(KeyboardInterrupt):
        list(work(tools, drain=True))
    left = store.get(job.name)
    assert (left.state, left.worker) == (State.QUEUED, "")
    assert marked(store) == ([], [])


@pytest.mark.parametrize("bound", [{"only": "job-1"}, {"most": 1}])
def test_worker_that_ran_all_its_jobs_was_not_stopped(store, job, screener, bound):
    ended = list(work(stopping(store, screener, StopAtReport()), drain=True, **bound))
    assert [job.exit_code for job in ended] == [exit_codes.OK]


def test_no_job_is_claimed_after_stop(store, job, screener):
    stop = Stop()
    stop.ask()
    with pytest.raises(Stopped):
        list(work(make_tools(store, screener, stop=stop), drain=True))
    assert store.get(job.name).fence == 0


def test_waiting_worker_stops(store, screener, monkeypatch):
    stop = Stop()
    monkeypatch.setattr(Stop, "wait", lambda self, _seconds: self.ask())
    with pytest.raises(Stopped):
        list(work(make_tools(store, screener, stop=stop), drain=False))


def test_stop_ends_wait():
    stop = Stop()
    assert not stop.wait(0)
    stop.ask()
    assert stop.asked
    assert stop.wait(3600)


def test_second_signal_releases_job_at_once(store, job, screener):
    watcher = Stopping(2, KeyboardInterrupt())
    tools = stopping(store, screener, watcher, engine=LocalEngine(2))
    with pytest.raises(KeyboardInterrupt):
        list(work(tools, drain=True))
    left = store.get(job.name)
    assert (left.state, left.committed) == (State.QUEUED, 2 * BATCH)
    assert marked(store) == ([], [])


class Unreleasable:
    """A store that fails to release the job."""

    def __init__(self, store, error):
        self._store, self._error = store, error

    def __getattr__(self, name):
        return getattr(self._store, name)

    def release(self, job):
        raise self._error


@pytest.mark.parametrize("error", [LeaseLost("gone"), QueueUnavailable("away")])
def test_failed_release_does_not_prevent_stop(store, job, screener, error):
    tools = stopping(Unreleasable(store, error), screener, Stopping(1))
    with pytest.raises(Stopped):
        list(work(tools, drain=True))


class Restarting:
    """A store whose database is unavailable for the first calls after the stop."""

    def __init__(self, store, stop):
        self._store, self._stop, self._away = store, stop, 3

    def __getattr__(self, name):
        method = getattr(self._store, name)

        def ask(*arguments, **keywords):
            if self._stop.asked and self._away:
                self._away -= 1
                raise QueueUnavailable("the database is starting")
            return method(*arguments, **keywords)

        return ask


def test_job_is_released_after_database_restart(store, job, screener):
    watcher = Stopping(1)
    restarting = RetryingJobStore(Restarting(store, watcher.stop), watcher.stop)
    with pytest.raises(Stopped):
        list(work(stopping(restarting, screener, watcher, engine=LocalEngine(2)), drain=True))
    assert store.get(job.name).state is State.QUEUED
    assert marked(store) == ([], [])


def test_unavailable_queue_while_stopping_does_not_fail_job(store, job, screener):
    class Gone(Stopping):
        def committed(self, rows, seconds):
            super().committed(rows, seconds)
            raise QueueUnavailable("the queue is away")

    with pytest.raises(QueueUnavailable):
        list(work(stopping(store, screener, Gone(1)), drain=True))
    left = store.get(job.name)
    assert (left.state, left.exit_code, left.message) == (State.RUNNING, None, "")


class Cancelled(Witness):
    """Cancels the job after its report has been written."""

    def __init__(self, store):
        super().__init__()
        self._store = store

    def reported(self, report, seconds):
        super().reported(report, seconds)
        if len(self.reports) == 1:
            self._store.cancel("job-1")


def test_job_lost_at_the_end_does_not_stop_the_next(store, job, screener, folder):
    store.add(make_job("job-2", folder))
    watcher = Cancelled(store)
    (ended,) = work(make_tools(store, screener, watcher=watcher), drain=True)
    assert (ended.name, ended.exit_code) == ("job-2", exit_codes.OK)
    assert store.get("job-1").state is State.CANCELLED


def test_cancelled_and_pruned_job_does_not_stop_the_next(store, job, screener, folder):
    class Forgotten(Witness):
        def committed(self, rows, seconds):
            super().committed(rows, seconds)
            if len(self.batches) == 1:
                store.cancel("job-1")
                store.prune("9999")

    store.add(make_job("job-2", folder))
    ended = list(work(make_tools(store, screener, watcher=Forgotten()), drain=True))
    assert [job.name for job in ended] == ["job-2"]


def test_worker_that_lost_its_job_cannot_postpone_it(store, screener, tmp_path, clock):
    store.add(make_job(folder=tmp_path / "nowhere", retries=3))

    def robbed(_job):
        clock.seconds += LEASE + 1
        store.finish(store.claim("another-host:1:1", LEASE), exit_codes.ERROR, "theirs")
        return screener

    tools = make_tools(store, screener, open_screener=robbed)
    assert list(work(tools, drain=True)) == []
    assert store.get("job-1").message == "theirs"


def test_run_job_raises_stopped(store, job, screener):
    watcher = Stopping(1)
    with pytest.raises(Stopped, match="job-1 was returned to the queue"):
        run_job(store.claim("A", LEASE), stopping(store, screener, watcher))
