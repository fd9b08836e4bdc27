"""Observers of a worker: each receives all events, and none can make the job fail."""

import sys
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from jobs.errors import NotificationFailed, QueueUnavailable
from jobs.outputs.metrics import Metrics
from jobs.outputs.notifications import Notifier
from jobs.outputs.observers import MetricsWriter, NotificationObserver, Observers
from jobs.worker.worker import work
from makers import write_film
from queue_makers import Witness, make_job, make_tools, scored_row
from screening.audit import Event


@pytest.fixture
def path(tmp_path):
    return tmp_path / "screening.prom"


@pytest.fixture
def writer(path, store, clock):
    return MetricsWriter(Metrics(path, clock), store, clock, every=15)


def queued(path):
    (line,) = [
        line
        for line in path.read_text().splitlines()
        if line.startswith('screening_queue_jobs{state="queued"}')
    ]
    return float(line.split()[-1])


def oldest(path):
    (line,) = [
        line
        for line in path.read_text().splitlines()
        if line.startswith("screening_queue_oldest_job_age_seconds ")
    ]
    return float(line.split()[-1])


def test_all_observers_receive_all_events(store, folder, screener):
    write_film(folder / "a.png", seed=1)
    store.add(make_job(folder=folder))
    store.add(make_job("later", folder=folder, settle=3600, retries=0))
    one, two = Witness(), Witness()
    tools = make_tools(store, screener, watcher=Observers(one, two))
    next(work(tools, drain=True))
    Observers(one, two).idle()
    for witness in (one, two):
        assert (witness.starts, witness.batches) == ([(1, 1)], [["a.png"]])
        assert len(witness.reports) == len(witness.ends) == witness.idles == 1


def test_metrics_are_written_periodically_and_at_end_of_job(writer, store, path, clock):
    writer.idle()
    assert queued(path) == 0
    store.add(make_job())
    clock.seconds += 14
    writer.idle()
    assert queued(path) == 0
    clock.seconds += 1
    writer.committed([scored_row("a.png")], 0.01)
    assert queued(path) == 1
    store.add(make_job("job-2"))
    writer.ended(make_job(exit_code=0))
    assert queued(path) == 2


def test_metrics_are_written_when_clock_is_set_back(writer, store, path, clock):
    writer.idle()
    store.add(make_job())
    clock.seconds -= 3600
    writer.idle()
    assert queued(path) == 1


def test_oldest_job_is_oldest_of_those_that_may_start(writer, store, path, clock):
    store.add(make_job(submitted_at="1970-01-12T13:46:30+00:00"))
    store.add(
        make_job("later", submitted_at="1970-01-01T00:00:00+00:00", not_before=clock.seconds + 1)
    )
    writer.idle()
    assert oldest(path) == 10.0


class Away:
    """A store that is unavailable."""

    def jobs(self, *_states):
        raise QueueUnavailable("the queue is away")


def test_metrics_are_written_when_queue_is_unavailable(path, clock):
    MetricsWriter(Metrics(path, clock), Away(), clock).committed([scored_row("a.png")], 0.01)
    assert 'screening_films_total{status="scored"} 1.0' in path.read_text()


class Listener:
    """Receives notifications; fails for the jobs in `deaf`, and takes `seconds` for each."""

    def __init__(self, clock, deaf=(), seconds=0.0):
        self.heard = []
        self.asked = []
        self.deaf = set(deaf)
        self._clock = clock
        self._seconds = seconds

    def notify(self, job, counts):
        self._clock.seconds += self._seconds
        self.asked.append(job.name)
        if job.name in self.deaf:
            raise NotificationFailed(
                f"no notification of the end of job {job.name}: nobody is there"
            )
        self.heard.append((job.name, job.exit_code))


def ended(store, name, code=0):
    """Make a job that has ended and was not notified."""
    store.add(make_job(name))
    store.finish(store.claim("A", 60, only=name), code)
    return store.get(name)


@pytest.fixture
def listener(clock):
    return Listener(clock)


@pytest.fixture
def observer(listener, store, clock):
    return NotificationObserver(listener, store, store, clock)


def test_notification_has_counts(store, folder, screener, tmp_path, clock):
    write_film(folder / "a.png", seed=1)
    (folder / "notes.txt").write_text("no film")
    store.add(make_job(folder=folder))
    command = (
        sys.executable,
        "-c",
        f"import sys; open({str(tmp_path / 'told')!r}, 'w').write(input())",
    )
    observer = NotificationObserver(Notifier(command=command), store, store, clock)
    list(work(make_tools(store, screener, watcher=observer), drain=True))
    told = (tmp_path / "told").read_text()
    assert '"scored": 1' in told
    assert '"refused": 1' in told
    assert str(folder) not in told


def test_job_is_done_even_if_notification_fails(store, folder, screener, clock):
    store.add(make_job(folder=folder))
    observer = NotificationObserver(Notifier(command=("/no/such/program",)), store, store, clock)
    with capture_logs() as logs:
        (job,) = work(make_tools(store, screener, watcher=observer), drain=True)
    assert job.exit_code == 0
    assert [line["event"] for line in logs] == ["not_notified"]


def test_next_worker_notifies_for_dead_one(observer, listener, store):
    ended(store, "a", 4)
    observer.idle()
    observer.idle()
    observer.ended(ended(store, "b"))
    assert listener.heard == [("a", 4), ("b", 0)]


@pytest.mark.parametrize(("seconds", "news"), [(86500, []), (86300, [("a", 0)])])
def test_jobs_ended_over_a_day_ago_are_not_notified(listener, store, clock, seconds, news):
    ended(store, "a")
    clock.seconds = datetime.now(UTC).timestamp() + seconds
    NotificationObserver(listener, store, store, clock).idle()
    assert listener.heard == news


def test_cancelled_job_is_not_notified(observer, listener, store):
    store.add(make_job())
    store.cancel("job-1")
    observer.idle()
    assert listener.asked == []


def test_each_end_of_job_is_notified(observer, listener, store):
    observer.ended(ended(store, "a", 1))
    store.retry("a", Event("2026-11-22T21:30:05", "retried", "a"))
    store.finish(store.claim("A", 60), 0)
    observer.ended(store.get("a"))
    assert listener.heard == [("a", 1), ("a", 0)]


def test_failed_notification_is_retried_with_backoff(observer, listener, store, clock):
    ended(store, "a")
    listener.deaf = {"a"}
    begin, tries = clock(), []
    with capture_logs() as logs:
        for _ in range(400):
            before = len(listener.asked)
            observer.idle()
            if len(listener.asked) > before:
                tries.append(clock() - begin)
            clock.seconds += 10
    assert tries == [0, 60, 180, 420, 900, 1860, 2820, 3780]
    assert {line["event"] for line in logs} == {"not_notified"}
    listener.deaf.clear()
    clock.seconds += 960
    observer.idle()
    assert listener.heard == [("a", 0)]
    observer.ended(ended(store, "b"))
    assert listener.heard[1:] == [("b", 0)]


def test_ended_jobs_do_not_wait_for_unreachable_server(observer, listener, store):
    listener.deaf = {"0", "1", "2"}
    for name in ("0", "1", "2"):
        observer.ended(ended(store, name))
    assert listener.asked == ["0"]


def test_job_that_cannot_be_notified_does_not_block_others(observer, listener, store, clock):
    listener.deaf = {"a"}
    for name in "abc":
        ended(store, name)
    observer.idle()
    clock.seconds += 60
    observer.idle()
    assert listener.heard == [("b", 0), ("c", 0)]


def test_many_notifications_are_spread_over_rounds(store, clock):
    listener = Listener(clock, seconds=25.0)
    observer = NotificationObserver(listener, store, store, clock)
    for number in range(9):
        ended(store, str(number))
    observer.idle()
    assert len(listener.heard) == 3
    clock.seconds += 60
    observer.idle()
    assert [name for name, _code in listener.heard] == ["0", "1", "2", "3", "4", "5"]


def test_notifications_are_sent_when_clock_is_set_back(observer, listener, store, clock):
    observer.idle()
    ended(store, "a")
    clock.seconds -= 86400
    observer.idle()
    assert listener.heard == [("a", 0)]


def test_unavailable_queue_is_no_error(listener, clock):
    class AwayToo(Away):
        def pending_notifications(self, _since):
            raise QueueUnavailable("the queue is away")

    NotificationObserver(listener, AwayToo(), AwayToo(), clock).idle()
    assert listener.asked == []
