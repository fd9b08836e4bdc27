"""A schedule store on the queue of `store`, and a bundle to submit jobs with."""

import pytest

from jobs.queue.sql.database import open_database
from jobs.queue.sql.schedules import SqlScheduleStore
from queue_makers import empty_bundle


@pytest.fixture
def open_agenda(tmp_path, store):
    """Open another worker's connection to the queue of `store`."""
    opened = []

    def opener():
        opened.append(open_database(tmp_path / "queue.sqlite"))
        return SqlScheduleStore(opened[-1])

    yield opener
    for database in opened:
        database.close()


@pytest.fixture
def agenda(open_agenda):
    return open_agenda()


@pytest.fixture
def bundle(tmp_path):
    return empty_bundle(tmp_path / "bundle")
