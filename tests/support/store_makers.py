"""SQL stores driven by a test's clock, and jobs in them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Float, delete, literal

from jobs.host import user_and_host
from jobs.queue.jobs import Job
from jobs.queue.sql.database import Database, open_database
from jobs.queue.sql.schema import metadata
from jobs.queue.sql.store import SqlStore
from jobs.queue.store import JobStore
from queue_makers import found, make_job
from screening.audit import Event
from screening.results import Reason, Row, Status


@contextmanager
def opened(queue: Path | str, clock: Callable[[], float]) -> Iterator[Database]:
    """Open a queue that uses `clock`, even on PostgreSQL, which has its own; close it later."""
    database = open_database(queue, clock)
    try:
        yield replace(database, now=lambda: literal(clock(), Float))
    finally:
        database.close()


@contextmanager
def sql_store(queue: Path | str, clock: Callable[[], float]) -> Iterator[SqlStore]:
    """Open a store that uses `clock`."""
    with opened(queue, clock) as database:
        yield SqlStore(database)


def empty(database: Database) -> None:
    """Delete all jobs and pins."""
    with database.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))


LEASE = 60.0
EVENT = Event(
    "2026-11-22T21:30:06.000+00:00", "started", "job-1", {"folder": "größer = \0\udcff"}, "b" * 64
)
SUBMITTED = Event("2026-11-22T21:30:05.123+00:00", "submitted", "job-1", user_and_host())


def retried(name: str, at: str = "2026-11-23T08:00:00.000+00:00") -> Event:
    """Make the event of a retry requested by a user."""
    return Event(at, "retried", name)


def claimed(
    store: JobStore,
    name: str = "job-1",
    films: Sequence[str] = ("a.png", "b.png", "c.png"),
    **changes: object,
) -> Job:
    """Add a new job, claim it as worker A, and list its films."""
    store.add(make_job(name, **changes))
    job = store.claim("A", LEASE, only=name)
    assert job is not None
    store.list_films(job, found(*films), [EVENT])
    return job


def failed_row(film: str) -> Row:
    """Make the row of a film that cannot be read."""
    return Row(film=film, status=Status.FAILED, reason=Reason("empty"))


def everything(store: JobStore, name: str = "job-1") -> tuple[object, ...]:
    """Return everything that a queue shows of a job."""
    job = store.get(name)
    asked = (store.films_left, store.rows, store.events, store.deaths, store.counts)
    return vars(job), *(ask(job) for ask in asked)
