"""Open the queue that a command names, and find the job that it names."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from sqlalchemy import make_url

from jobs.errors import UnknownJob
from jobs.queue.jobs import Job
from jobs.queue.schedules import ScheduleStore
from jobs.queue.sql.database import open_database
from jobs.queue.sql.schedules import SqlScheduleStore
from jobs.queue.sql.store import SqlStore
from jobs.queue.store import JobStore


def open_store(queue: Path | str) -> JobStore:
    """Open the queue: an SQLite file, created if missing, or a PostgreSQL database."""
    return SqlStore(open_database(queue))


@contextmanager
def open_schedules(queue: Path | str) -> Iterator[ScheduleStore]:
    """Yield the schedules of the queue, and close its database afterwards."""
    database = open_database(queue)
    try:
        yield SqlScheduleStore(database)
    finally:
        database.close()


def shown(queue: Path | str) -> str:
    """Return the queue for display, without a password."""
    if isinstance(queue, Path):
        return str(queue)
    # The query string can also contain a password.
    return make_url(queue).set(query={}).render_as_string()


def find(store: JobStore, word: str) -> Job:
    """Return the job named `word`, or the only job whose name starts with `word`.

    Raises:
        UnknownJob: if no job or more than one matches; the message suggests similar names.
    """
    try:
        return store.get(word)
    except UnknownJob as error:
        every = {job.name: job for job in store.jobs()}
        meant = [name for name in every if word and name.startswith(word)]
        if len(meant) == 1:
            return every[meant[0]]
        if meant:
            some = ", ".join(meant[:3]) + (", …" if len(meant) > 3 else "")
            why = f"the names of {len(meant)} jobs begin with {word}: {some}"
            raise UnknownJob(why) from error
        similar = get_close_matches(word, every)
        if similar:
            raise UnknownJob(f"{error}; did you mean {' or '.join(similar)}?") from error
        raise
