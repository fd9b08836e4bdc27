"""Opening a queue: created, found again, or refused."""

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
    """Run statements directly with sqlite3."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def made(path):
    """Create a queue and close it again."""
    open_database(path).close()
    return path


def test_new_queue_is_created_with_folders_and_version(tmp_path):
    path = made(tmp_path / "a" / "b" / "queue.sqlite")
    assert run_sql(path, "SELECT version_num FROM alembic_version") == [(SCHEMA_VERSION,)]
    tables = run_sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {"jobs", "films", "events"} <= {name for (name,) in tables}


def test_empty_file_becomes_queue(queue):
    queue.touch()
    assert run_sql(made(queue), "SELECT version_num FROM alembic_version") == [(SCHEMA_VERSION,)]


def test_reopened_queue_has_its_jobs(queue):
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
def test_connection_pragmas(queue, pragma, value):
    database = open_database(queue)
    with database.reading() as connection:
        assert connection.scalar(text(f"PRAGMA {pragma}")) == value
    database.close()


@pytest.mark.parametrize("version", [f"{int(SCHEMA_VERSION) + 1:04}", "0007", "0001", "", "3f2a9c"])
def test_unsupported_version_is_refused(queue, version):
    made(queue)
    run_sql(queue, f"UPDATE alembic_version SET version_num = '{version}'")  # noqa: S608
    with pytest.raises(QueueError, match=f"version {version}; .* uses {SCHEMA_VERSION}"):
        open_database(queue)


def test_queue_without_version_is_refused(queue):
    made(queue)
    run_sql(queue, "DELETE FROM alembic_version")
    with pytest.raises(QueueError, match="schema version None"):
        open_database(queue)


def test_database_of_other_program_is_refused_by_name(queue):
    run_sql(queue, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(QueueError, match=r"queue\.sqlite is a database, but not a queue"):
        open_database(queue)


def test_refused_database_is_not_changed(queue):
    run_sql(queue, "CREATE TABLE recipes (name TEXT)")
    before = queue.read_bytes()
    with pytest.raises(QueueError):
        open_database(queue)
    assert queue.read_bytes() == before


@pytest.mark.parametrize("content", [b"film,label\n" * 100, b"\x89PNG\r\n\x1a\n" + bytes(2000)])
def test_file_that_is_no_database_is_refused_and_not_changed(queue, content):
    queue.write_bytes(content)
    with pytest.raises(QueueError, match=r"queue\.sqlite cannot be opened: .*not a database"):
        open_database(queue)
    assert queue.read_bytes() == content


def test_folder_is_refused(tmp_path):
    with pytest.raises(QueueError, match="cannot be opened"):
        open_database(tmp_path)


def test_path_below_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(QueueError, match="cannot be opened"):
        open_database(tmp_path / "file" / "queue.sqlite")


@pytest.mark.parametrize(
    "name", ["what?.sqlite", "a%20b.sqlite", "a b#c.sqlite", "größe @host:5.sqlite"]
)
def test_queue_is_created_at_exact_path(tmp_path, name):
    made(tmp_path / name)
    assert name in {path.name for path in tmp_path.iterdir()}


def test_opening_waits_for_other_process_creating_queue(queue):
    with closing(sqlite3.connect(queue, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        commit = threading.Timer(0.05, other.execute, ["COMMIT"])
        commit.start()
        try:
            made(queue)
        finally:
            commit.join()
    assert run_sql(queue, "SELECT count(*) FROM alembic_version") == [(1,)]
