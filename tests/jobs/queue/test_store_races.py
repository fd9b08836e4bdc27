"""SQL stores with concurrent calls from two connections."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import insert, text

from jobs.errors import JobsError, LeaseLost
from jobs.queue.jobs import State
from jobs.queue.sql.queries import line_of
from jobs.queue.sql.schema import jobs
from jobs.queue.sql.store import SqlStore
from queue_makers import make_job, scored_row
from store_makers import LEASE, claimed, empty, failed_row, opened, retried, sql_store

ROUNDS = 20


@pytest.fixture
def two(any_queue, clock):
    """Two stores on one queue."""
    with ExitStack() as stack:
        yield [stack.enter_context(sql_store(any_queue, clock)) for _ in range(2)]


def race(*calls):
    """Run all calls concurrently; return their answers, or errors of type JobsError."""
    start = threading.Barrier(len(calls))

    def answer(ask, *arguments):
        start.wait(timeout=10)
        try:
            return ask(*arguments)
        except JobsError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        answers = [pool.submit(answer, *call) for call in calls]
        return [answer.result(timeout=60) for answer in answers]


def test_racing_connections_claim_each_job_once(two):
    names = [f"job-{number}" for number in range(12)]
    for name in names:
        two[0].add(make_job(name))

    def all_of(store, worker):
        won = []
        while job := store.claim(worker, LEASE):
            won.append(job.name)
        return won

    first, second = race((all_of, two[0], "A"), (all_of, two[1], "B"))
    assert sorted(first + second) == sorted(names)
    workers = dict.fromkeys(first, "A") | dict.fromkeys(second, "B")
    assert {job.name: job.worker for job in two[0].jobs()} == workers
    assert {job.fence for job in two[0].jobs()} == {1}


def test_job_is_claimed_by_one_of_two_connections(two):
    two[0].add(make_job())
    assert two[0].claim("A", LEASE).worker == "A"
    assert two[1].claim("B", LEASE) is None


def test_racing_submissions_of_same_work_queue_one_job(two):
    for number in range(ROUNDS):
        asked = [make_job(f"{number}-{who}", identity=f"i-{number}") for who in "AB"]
        one, other = race((two[0].add, asked[0]), (two[1].add, asked[1]))
        assert one == other
    assert len(two[0].jobs()) == ROUNDS


def test_racing_additions_of_same_job_add_it_once(two):
    for number in range(ROUNDS):
        job = make_job(f"job-{number}")
        assert race((two[0].add, job), (two[1].add, job)) == [job, job]
        assert len(two[0].events(job)) == 1
    assert len(two[0].jobs()) == ROUNDS


def test_racing_pins_agree(two):
    for number in range(ROUNDS):
        one, other = race((two[0].pin, f"key-{number}", "1"), (two[1].pin, f"key-{number}", "2"))
        assert one == other


def test_job_of_dead_worker_is_claimed_by_one_other(two):
    for number in range(ROUNDS):
        job = claimed(two[0], f"job-{number}", ["a.png"])
        two[0].commit(job, [], LEASE, ["a.png"])
        two[0].expire(job)
        answers = race((two[0].claim, "B", LEASE), (two[1].claim, "C", LEASE))
        assert answers.count(None) == 1
        assert two[0].get(job.name).fence == 2
        assert two[0].deaths(job) == {"a.png": 1}


def test_row_racing_with_takeover_is_written_before_or_never(two):
    for number in range(ROUNDS):
        job = claimed(two[0], f"job-{number}", ["a.png"])
        two[0].expire(job)
        wrote, taken = race(
            (two[0].commit, job, [scored_row("a.png")], LEASE),
            (two[1].claim, "B", LEASE),
        )
        rows = len(two[0].rows(job))
        assert two[0].get(job.name).committed == rows
        if taken is None:
            assert (wrote, rows) == (None, 1)
        elif rows:
            assert wrote is None
            assert taken.committed == 1
        else:
            assert isinstance(wrote, LeaseLost)


def test_job_is_either_finished_or_cancelled(two):
    for number in range(ROUNDS):
        job = claimed(two[0], f"job-{number}", [])
        finished, cancelled = race((two[0].finish, job, 0), (two[1].cancel, job.name))
        ended = two[0].get(job.name)
        if ended.state is State.DONE:
            assert finished is None
            assert isinstance(cancelled, JobsError)
        else:
            assert ended.state is State.CANCELLED
            assert isinstance(finished, LeaseLost)


def test_racing_retries_queue_job_once(two):
    for number in range(ROUNDS):
        name = f"job-{number}"
        job = claimed(two[0], name, ["a.png"])
        two[0].commit(job, [failed_row("a.png")], LEASE)
        two[0].finish(job, 3)
        asked = [retried(name, f"{who} o'clock") for who in ("one", "two")]
        answers = race((two[0].retry, name, asked[0]), (two[1].retry, name, asked[1]))
        assert len([answer for answer in answers if isinstance(answer, JobsError)]) == 1
        again = two[0].get(name)
        assert (again.state, again.committed) == (State.QUEUED, 0)


def test_racing_submission_and_retry_queue_one_job(two):
    for number in range(ROUNDS):
        name, identity = f"old-{number}", f"i-{number}"
        two[0].add(make_job(name, identity=identity))
        two[0].cancel(name)
        added, again = race(
            (two[0].add, make_job(f"new-{number}", identity=identity)),
            (two[1].retry, name, retried(name)),
        )
        (queued,) = [job for job in two[0].jobs(State.QUEUED) if job.identity == identity]
        assert added == queued
        assert queued == again or isinstance(again, JobsError)


@pytest.fixture
def server(postgres_queue, clock):
    """A PostgreSQL database, where two transactions can write at the same time."""
    with opened(postgres_queue, clock) as database:
        empty(database)
        yield database


@pytest.fixture
def late(server):
    """Make a call that has to wait for another transaction, then commit that transaction."""

    def answer(connection, ask):
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            with server.engine.connect() as observer:
                while not observer.scalar(waiting) and not asked.done():
                    observer.rollback()
            connection.commit()
            return asked.result(timeout=60)

    return answer


def insert_job(connection, name, **changes):
    connection.execute(insert(jobs).values(line_of(make_job(name, **changes))))


def test_add_finds_job_committed_concurrently(server, late):
    store = SqlStore(server)
    with server.engine.connect() as other:
        insert_job(other, "first", identity="i")
        added = late(other, lambda: store.add(make_job("second", identity="i")))
    assert added.name == "first"


def test_retry_is_refused_if_same_work_is_added_concurrently(server, late):
    store = SqlStore(server)
    store.add(make_job(identity="i"))
    before = store.cancel("job-1")
    with server.engine.connect() as other:
        insert_job(other, "job-2", identity="i")
        with pytest.raises(JobsError, match="job job-1 cannot be retried: another job"):
            late(other, lambda: store.retry("job-1", retried("job-1")))
    assert store.get("job-1") == before


def test_claim_skips_locked_job(server):
    store = SqlStore(server)
    for name in ("a", "b"):
        store.add(make_job(name))
    with server.engine.connect() as other:
        other.execute(text("SELECT id FROM jobs WHERE name = 'a' FOR UPDATE"))
        assert store.claim("A", LEASE).name == "b"
