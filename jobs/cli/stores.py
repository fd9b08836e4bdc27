"""Which queue a command is about, and which job."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from sqlalchemy import make_url

from jobs.agenda import Agenda
from jobs.errors import UnknownJob
from jobs.job import Job
from jobs.sql.agenda import SqlAgenda
from jobs.sql.database import open_database
from jobs.sql.store import SqlStore
from jobs.store import Store


def open_store(queue: Path | str) -> Store:
    """The queue in an SQLite file, made if it is not there, or in a PostgreSQL database."""
    return SqlStore(open_database(queue))


@contextmanager
def open_agenda(queue: Path | str) -> Iterator[Agenda]:
    """The schedules of the same queue, which is closed afterwards."""
    database = open_database(queue)
    try:
        yield SqlAgenda(database)
    finally:
        database.close()


def shown(queue: Path | str) -> str:
    """The queue for people to read, without a password."""
    if isinstance(queue, Path):
        return str(queue)
    # A password may also stand behind the question mark.
    return make_url(queue).set(query={}).render_as_string()


def find(store: Store, word: str) -> Job:
    """The job that is called `word`, or the only one whose name begins so.

    Raises:
        UnknownJob: if there is none, or more than one; with the names that were perhaps meant.
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
            why = f"{word} begins the names of {len(meant)} jobs: {some}"
            raise UnknownJob(why) from error
        near = get_close_matches(word, every)
        if near:
            raise UnknownJob(f"{error}; perhaps {' or '.join(near)} was meant") from error
        raise
