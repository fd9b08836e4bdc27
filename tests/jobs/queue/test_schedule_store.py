"""Storage of schedules and watched folders: exactly one job, for any number of callers."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest

from jobs.errors import ScheduleError
from jobs.queue.jobs import State
from jobs.queue.schedules import ScheduledRun, WatchedFolder
from jobs.queue.sql.database import open_database
from jobs.queue.sql.queries import line_of
from jobs.queue.sql.schedules import SqlScheduleStore
from jobs.queue.sql.schema import metadata
from jobs.queue.sql.store import SqlStore
from queue_makers import make_job, make_schedule
from screening.audit import Event

WARD = Path("/ward")


@pytest.fixture(params=["sqlite", "postgresql"])
def queue(request, tmp_path):
    """Location of a queue on each kind of database."""
    if request.param == "sqlite":
        return tmp_path / "shared.sqlite"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def open_queue(queue):
    """Open another connection to the same queue, like another worker."""
    opened = []

    def opener():
        opened.append(open_database(queue))
        return SqlScheduleStore(opened[-1]), SqlStore(opened[-1])

    yield opener
    for database in opened:
        database.close()


@pytest.fixture
def agenda(open_queue):
    return open_queue()[0]


@pytest.fixture
def store(open_queue):
    return open_queue()[1]


def night(name, at=100, **changes):
    """Make the job of a firing."""
    return make_job(f"{name}-{at}", schedule=name, **changes)


def together(*calls):
    """Run calls concurrently and return their results."""
    barrier = Barrier(len(calls))

    def called(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(called, calls))


def test_schedule_is_stored_unchanged(agenda):
    full = make_schedule(
        "b",
        folder="/pacs/{date}",
        report="/reports/{date}",
        quarantine=Path("/q"),
        labels=Path("/labels.csv"),
        last=1795312345.123456,
        priority=-5,
        tags=("ward 3", "night"),
        catch_up=0,
    )
    agenda.add(full)
    agenda.add(make_schedule("a"))
    assert agenda.schedules() == [make_schedule("a"), full]


def test_adding_schedule_is_idempotent_and_names_are_unique(agenda):
    agenda.add(make_schedule())
    agenda.add(make_schedule())
    with pytest.raises(ScheduleError, match="there is already a schedule nightly"):
        agenda.add(make_schedule(catch_up=1))
    assert agenda.schedules() == [make_schedule()]


def test_removing_unknown_schedule_raises(agenda):
    with pytest.raises(ScheduleError, match="there is no schedule nightly"):
        agenda.remove("nightly")


def test_removing_schedule_deletes_firings_and_keeps_jobs(agenda, store):
    agenda.add(make_schedule())
    agenda.fire(make_schedule(), {100: night("nightly")}, [50], 100)
    agenda.remove("nightly")
    assert (agenda.schedules(), agenda.firings("nightly")) == ([], [])
    assert [job.name for job in store.jobs()] == ["nightly-100"]
    agenda.add(make_schedule(last=100.0))
    assert agenda.firings("nightly") == []


def test_firing_queues_jobs_and_is_recorded(agenda, store):
    agenda.add(make_schedule())
    due = {200: night("nightly", 200), 100: night("nightly", 100)}
    assert agenda.fire(make_schedule(), due, [50], 200)
    assert [job.name for job in store.jobs(State.QUEUED)] == ["nightly-100", "nightly-200"]
    assert agenda.firings("nightly") == [
        ScheduledRun(50, ""),
        ScheduledRun(100, "nightly-100"),
        ScheduledRun(200, "nightly-200"),
    ]
    assert agenda.schedules() == [make_schedule(last=200.0)]


def test_repeated_firing_after_lost_answer_queues_once(agenda, store):
    agenda.add(make_schedule())
    due = {100: night("nightly")}
    assert [agenda.fire(make_schedule(), due, [], 100) for _ in range(2)] == [True, True]
    assert len(store.jobs()) == len(agenda.firings("nightly")) == 1


def test_second_firing_of_same_time_returns_false(agenda, store):
    agenda.add(make_schedule())
    agenda.fire(make_schedule(), {100: night("nightly")}, [], 100)
    assert not agenda.fire(make_schedule(), {100: night("other")}, [], 100)
    assert not agenda.fire(make_schedule(), {}, [100], 100)
    assert [job.name for job in store.jobs()] == ["nightly-100"]


def test_removed_schedule_does_not_fire(agenda, store):
    agenda.add(make_schedule())
    agenda.remove("nightly")
    assert not agenda.fire(make_schedule(), {100: night("nightly")}, [], 100)
    assert store.jobs() == []


def test_concurrent_workers_fire_once(open_queue, store):
    agendas = [open_queue()[0] for _ in range(4)]
    agendas[0].add(make_schedule())
    planned = make_schedule()
    for at in range(100, 110):
        last = planned.last
        jobs = [make_job(f"{number}-{at}", schedule="nightly") for number in range(4)]
        fired = together(
            *(
                partial(agenda.fire, planned, {at: job}, [], at)
                for agenda, job in zip(agendas, jobs, strict=True)
            )
        )
        assert sorted(fired) == [False, False, False, True]
        (planned,) = agendas[0].schedules()
        assert planned.last == at > last
    assert len(store.jobs()) == len(agendas[0].firings("nightly")) == 10


def test_firing_is_not_lost_if_job_name_is_taken(agenda, store):
    store.add(make_job("nightly-100"))
    agenda.add(make_schedule())
    assert not agenda.fire(make_schedule(), {100: night("nightly")}, [], 100)
    assert agenda.firings("nightly") == []
    assert agenda.fire(make_schedule(), {100: make_job("another")}, [], 100)


def test_reports_returns_paths_of_open_jobs(agenda, store):
    agenda.add(make_schedule())
    due = {at: night("nightly", at, report=Path(f"/reports/{at}")) for at in (100, 200, 300)}
    agenda.fire(make_schedule(), due, [], 300)
    store.add(make_job("other", report=Path("/reports/other")))
    store.finish(store.claim("A", 60, only="nightly-100"), 0)
    assert agenda.reports("nightly") == {Path("/reports/200"), Path("/reports/300")}


def test_jobs_of_one_schedule_run_one_at_a_time(agenda, store):
    agenda.add(make_schedule())
    due = {at: night("nightly", at) for at in (100, 200)}
    agenda.fire(make_schedule(), due, [], 200)
    store.add(night("other"))
    first = store.claim("A", 60)
    assert first.name == "nightly-100"
    assert store.claim("B", 60).name == "other-100"
    assert store.claim("B", 60) is None
    store.postpone(first, 3600, "the folder is not there", 1)
    assert store.claim("B", 60) is None
    store.cancel("nightly-100")
    assert store.claim("B", 60).name == "nightly-200"


def test_retried_night_waits_for_running_one(store):
    store.add(night("nightly", 1))
    store.add(night("nightly", 2))
    store.finish(store.claim("A", 60), 1)
    second = store.claim("B", 60)
    store.retry("nightly-1", Event("2026-11-22T21:30:05", "retried", "nightly-1"))
    assert store.claim("A", 60) is None
    # If its worker dies, it is not blocked by the job that waits for it.
    store.expire(second)
    second = store.claim("A", 60)
    assert second.name == "nightly-2"
    store.finish(second, 0)
    assert store.claim("A", 60).name == "nightly-1"


def test_sub_folder_becomes_one_job(agenda, store):
    assert agenda.watch(WARD, "a", 7, make_job("job-a"))
    assert agenda.watch(WARD, "a", 7, make_job("job-a"))
    assert not agenda.watch(WARD, "a", 8, make_job("job-b"))
    assert agenda.watch(Path("/other ward"), "a", 9, make_job("job-c"))
    assert [job.name for job in store.jobs()] == ["job-a", "job-c"]
    assert agenda.watched(WARD, ["a", "b"]) == {"a": WatchedFolder(7, "job-a")}


def test_concurrent_watchers_queue_sub_folder_once(open_queue, store):
    agendas = [open_queue()[0] for _ in range(3)]
    for study in "abcdefgh":
        jobs = [make_job(f"{study}-{number}") for number in range(3)]
        queued = together(
            *(
                partial(agenda.watch, WARD, study, 7, job)
                for agenda, job in zip(agendas, jobs, strict=True)
            )
        )
        assert sorted(queued) == [False, False, True]
    assert len(store.jobs()) == 8


def test_sub_folder_is_not_lost_if_job_name_is_taken(agenda, store):
    store.add(make_job("taken"))
    assert not agenda.watch(WARD, "a", 7, make_job("taken"))
    assert agenda.watched(WARD, ["a"]) == {}
    assert agenda.watch(WARD, "a", 7, make_job("free"))


def test_change_of_sub_folder_is_stored(agenda):
    agenda.watch(WARD, "a", 7, make_job())
    agenda.rewatch(WARD, "a", -(2**63))
    assert agenda.watched(WARD, ["a"]) == {"a": WatchedFolder(-(2**63), "job-1")}


def test_watched_accepts_very_many_names(agenda):
    agenda.watch(WARD, "1", 7, make_job("job-1"))
    agenda.watch(WARD, "99999", 7, make_job("job-2"))
    assert set(agenda.watched(WARD, [str(number) for number in range(100_000)])) == {"1", "99999"}


def test_names_with_invalid_utf8_are_stored(agenda, store):
    odd = "M\udcfcller \uf700"
    folder = Path("/ward", odd)
    job = make_job(folder=folder / odd, report=folder / "report", model=folder / "model")
    assert agenda.watch(folder, odd, 7, job)
    assert agenda.watched(folder, [odd]) == {odd: WatchedFolder(7, "job-1")}
    assert store.claim("A", 60).folder == folder / odd
    planned = make_schedule(folder=f"/{odd}/{{date}}", report=f"/{odd}", reports=folder)
    agenda.add(planned)
    assert agenda.schedules() == [planned]


def test_each_end_of_job_is_pending_until_notified(store):
    store.add(make_job())
    ended = store.claim("A", 60)
    store.finish(ended, 1)
    (first,) = store.pending_notifications("2026")
    store.mark_notified(first)
    assert store.pending_notifications("2026") == []
    store.retry("job-1", Event("2026-11-22T21:30:05", "retried", "job-1"))
    # The first end is confirmed late.
    store.mark_notified(first)
    store.finish(store.claim("A", 60), 0)
    assert [job.exit_code for job in store.pending_notifications("2026")] == [0]
    assert store.pending_notifications("9999") == []


def test_cancelled_job_is_not_notified(store):
    store.add(make_job())
    store.cancel("job-1")
    assert store.pending_notifications("2026") == []


def test_claim_does_not_compare_all_pairs_of_jobs(tmp_path):
    database = open_database(tmp_path / "queue.sqlite")
    with database.writing() as connection:
        lines = [line_of(make_job(f"job-{number}")) for number in range(2000)]
        connection.execute(metadata.tables["jobs"].insert(), lines)
    steps = []
    with database.engine.connect() as connection:
        # SQLite calls the handler after every thousand virtual machine steps.
        connection.connection.driver_connection.set_progress_handler(
            lambda: steps.append(1000), 1000
        )
    assert SqlStore(database).claim("A", 60).name == "job-0"
    # Comparing all pairs would take at least four million.
    assert 0 < sum(steps) < 1_000_000
    database.close()
