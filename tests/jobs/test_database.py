"""Opening a queue: made, found again, or refused."""

import sqlite3
import threading
from contextlib import closing

import pytest
from sqlalchemy import text

from jobs.errors import QueueError
from jobs.queue.sql.database import open_database
from jobs.queue.sql.schema import SCHEMA_VERSION
from jobs.queue.sql.store import SqlStore
from queue_makers import make_job


@pytest.fixture
def queue(tmp_path):
    return tmp_path / "queue.sqlite"


def run_sql(path, *statements):
    """Do something to a database without the program under test."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def made(path):
    """A new queue, closed again."""
    open_database(path).close()
    return path


def test_a_new_queue_is_made_with_its_folders_and_says_its_version(tmp_path):
    path = made(tmp_path / "a" / "b" / "queue.sqlite")
    assert run_sql(path, "SELECT version_num FROM alembic_version") == [(SCHEMA_VERSION,)]
    tables = run_sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {"jobs", "films", "events"} <= {name for (name,) in tables}


def test_an_empty_file_becomes_a_queue(queue):
    queue.touch()
    assert run_sql(made(queue), "SELECT version_num FROM alembic_version") == [(SCHEMA_VERSION,)]


def test_a_queue_is_found_again_with_its_jobs(queue):
    first = open_database(queue)
    SqlStore(first).add(make_job())
    first.close()
    second = open_database(queue)
    assert [job.name for job in SqlStore(second).jobs()] == ["job-1"]
    second.close()
    assert run_sql(queue, "SELECT count(*) FROM alembic_version") == [(1,)]


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)]
)
def test_every_connection_survives_a_power_cut_and_knows_its_foreign_keys(queue, pragma, value):
    database = open_database(queue)
    with database.reading() as connection:
        assert connection.scalar(text(f"PRAGMA {pragma}")) == value
    database.close()


@pytest.mark.parametrize("version", [f"{int(SCHEMA_VERSION) + 1:04}", "0002", "0001", "", "3f2a9c"])
def test_a_queue_of_another_version_is_refused_and_both_are_named(queue, version):
    made(queue)
    run_sql(queue, f"UPDATE alembic_version SET version_num = '{version}'")  # noqa: S608
    with pytest.raises(QueueError, match=f"version {version}; .* uses {SCHEMA_VERSION}"):
        open_database(queue)


def test_a_queue_without_a_version_is_refused(queue):
    made(queue)
    run_sql(queue, "DELETE FROM alembic_version")
    with pytest.raises(QueueError, match="schema version None"):
        open_database(queue)


def test_a_database_of_something_else_is_refused_by_name(queue):
    run_sql(queue, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(QueueError, match=r"queue\.sqlite is a database, but no queue"):
        open_database(queue)


def test_a_database_that_is_refused_stays_as_it_was(queue):
    run_sql(queue, "CREATE TABLE recipes (name TEXT)")
    before = queue.read_bytes()
    with pytest.raises(QueueError):
        open_database(queue)
    assert queue.read_bytes() == before


@pytest.mark.parametrize("content", [b"film,label\n" * 100, b"\x89PNG\r\n\x1a\n" + bytes(2000)])
def test_a_file_that_is_no_database_is_refused_and_stays_as_it_was(queue, content):
    queue.write_bytes(content)
    with pytest.raises(QueueError, match=r"queue\.sqlite cannot be opened: .*not a database"):
        open_database(queue)
    assert queue.read_bytes() == content


def test_a_folder_is_refused_as_a_queue(tmp_path):
    with pytest.raises(QueueError, match="cannot be opened"):
        open_database(tmp_path)


def test_a_queue_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(QueueError, match="cannot be opened"):
        open_database(tmp_path / "file" / "queue.sqlite")


@pytest.mark.parametrize(
    "name", ["what?.sqlite", "a%20b.sqlite", "a b#c.sqlite", "größe @host:5.sqlite"]
)
def test_a_queue_lies_where_it_was_asked_for_whatever_its_name(tmp_path, name):
    made(tmp_path / name)
    assert name in {path.name for path in tmp_path.iterdir()}


def test_a_queue_that_another_process_is_just_making_is_waited_for(queue):
    with closing(sqlite3.connect(queue, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        commit = threading.Timer(0.05, other.execute, ["COMMIT"])
        commit.start()
        try:
            made(queue)
        finally:
            commit.join()
    assert run_sql(queue, "SELECT count(*) FROM alembic_version") == [(1,)]
