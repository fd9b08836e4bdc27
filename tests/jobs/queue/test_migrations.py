"""Queues of other versions: upgraded completely, or refused and left unchanged."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command, op
from alembic.config import Config
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect, text

import jobs.queue.sql
from jobs import exit_codes
from jobs.cli.main import cli
from jobs.errors import QueueError
from jobs.queue.sql import database
from jobs.queue.sql.database import open_database
from jobs.queue.sql.schema import SCHEMA_VERSION, metadata
from jobs.queue.sql.store import SqlStore
from queue_makers import make_job
from store_makers import LEASE

MIGRATIONS = Path(jobs.queue.sql.__file__).with_name("migrations")

BASELINE = "0008"
NEXT = "9998"

#: A later migration with a step of each kind that it is likely to need.
LATER = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{SCHEMA_VERSION}"


def upgrade():
    op.add_column("jobs", sa.Column("site", sa.String, nullable=False, server_default=""))
    op.create_table("sites", sa.Column("name", sa.String, primary_key=True))
    op.create_index("ix_jobs_site", "jobs", ["site"])
    op.drop_column("pins", "value")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def queue(request, tmp_path):
    """Location without a queue."""
    if request.param == "sqlite":
        return tmp_path / "queue.sqlite"
    return request.getfixturevalue("postgres_url")


@contextmanager
def connected(queue):
    """Open a transaction directly with SQLAlchemy."""
    engine = create_engine(f"sqlite:///{queue}" if isinstance(queue, Path) else queue)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@contextmanager
def opened(queue):
    """Open the queue with the current version."""
    database = open_database(queue)
    try:
        yield SqlStore(database)
    finally:
        database.close()


def migrate(queue, revision):
    """Apply the migrations up to `revision`."""
    with connected(queue) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)


@pytest.fixture
def released_queue(queue):
    """A queue of the first release, with an ended, a running and a queued job."""
    migrate(queue, BASELINE)
    with opened(queue) as store:
        for name in ("done", "held", "waiting"):
            store.add(make_job(name, tags=("größe '\"",)))
        store.finish(store.claim("A", LEASE, only="done"), 0)
        store.claim("A", LEASE, only="held")
    return queue


@pytest.fixture
def later_version(tmp_path, monkeypatch):
    """Make this version one with a further migration."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / f"{NEXT}_later.py").write_text(LATER)
    monkeypatch.setattr(database, "_MIGRATIONS", folder)
    monkeypatch.setattr(database, "SCHEMA_VERSION", NEXT)


def str_values(options):
    return {name: str(value) for name, value in options.items()}


def structure(queue):
    """Return all tables with columns, keys, constraints and indexes."""
    with connected(queue) as connection:
        found = inspect(connection)
        return {
            name: {
                "columns": [
                    column | {"type": str(column["type"])} for column in found.get_columns(name)
                ],
                "key": found.get_pk_constraint(name),
                "foreign keys": found.get_foreign_keys(name),
                "unique": found.get_unique_constraints(name),
                "indexes": [
                    index | {"dialect_options": str_values(index.get("dialect_options", {}))}
                    for index in found.get_indexes(name)
                ],
            }
            for name in found.get_table_names()
            if name != "alembic_version"
        }


def contents(queue):
    """Return the structure and all records."""
    tables = structure(queue)
    with connected(queue) as connection:
        # Sorted, because the order on PostgreSQL is undefined.
        return tables, {
            name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}"))))  # noqa: S608
            for name in [*tables, "alembic_version"]
        }


def drop_tables(queue):
    with connected(queue) as connection:
        for name in ("firings", "films", "events", "jobs", "schedules", "pins", "nights"):
            connection.execute(text(f"DROP TABLE {name}"))
        connection.execute(text("DROP TABLE watched"))
        connection.execute(text("DROP TABLE alembic_version"))


def test_migrations_create_the_tables_of_a_new_queue(queue):
    with opened(queue):
        pass
    new = structure(queue)
    drop_tables(queue)
    migrate(queue, "head")
    assert structure(queue) == new
    assert set(new) == set(metadata.tables)


def test_upgrade_keeps_jobs_and_their_work_continues(released_queue, later_version):
    with opened(released_queue) as store:
        assert [job.name for job in store.jobs()] == ["done", "held", "waiting"]
        assert store.get("held").worker == "A"
        job = store.claim("B", LEASE)
        assert (job.name, job.tags) == ("waiting", ("größe '\"",))
        store.commit(job, [], LEASE)
        store.finish(job, 0)


def test_queue_is_upgraded_once(released_queue, later_version):
    with opened(released_queue):
        pass
    before = contents(released_queue)
    with opened(released_queue):
        pass
    assert contents(released_queue) == before
    assert before[1]["alembic_version"] == [f"('{NEXT}',)"]
    assert "sites" in before[0]


@pytest.mark.parametrize("step", ["add_column", "create_table", "drop_column", "create_index"])
def test_failed_upgrade_leaves_queue_unchanged(released_queue, later_version, monkeypatch, step):
    before = contents(released_queue)

    def broken(*arguments, **keywords):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(op, step, broken)
        with pytest.raises(MemoryError):
            open_database(released_queue)
    assert contents(released_queue) == before
    with opened(released_queue) as store:
        assert len(store.jobs()) == 3


def test_concurrent_opens_create_queue_once(queue):
    assert_opened_at_once(queue, [], SCHEMA_VERSION)


def test_concurrent_opens_upgrade_queue_once(released_queue, later_version):
    assert_opened_at_once(released_queue, ["done", "held", "waiting"], NEXT)


def assert_opened_at_once(queue, names, version):
    start = threading.Barrier(3)

    def ask():
        start.wait(timeout=10)
        with opened(queue) as store:
            return [job.name for job in store.jobs()]

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask) for _ in range(3)]
        assert [answer.result(timeout=60) for answer in answers] == [names] * 3
    assert contents(queue)[1]["alembic_version"] == [f"('{version}',)"]


@pytest.mark.parametrize("version", ["0001", "0003", "0007", "9999", "3f2a9c", "", None])
def test_other_version_is_refused_and_not_changed(released_queue, version):
    with connected(released_queue) as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        if version is not None:
            connection.execute(text(f"INSERT INTO alembic_version VALUES ('{version}')"))  # noqa: S608
    before = contents(released_queue)
    with pytest.raises(QueueError, match=f"has schema version {version}.+choose a new queue"):
        open_database(released_queue)
    assert contents(released_queue) == before


def test_command_on_older_queue_says_what_to_do(tmp_path):
    queue = tmp_path / "queue.sqlite"
    migrate(queue, BASELINE)
    with connected(queue) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
    done = CliRunner().invoke(cli, ["jobs", "list", "--queue", str(queue)])
    assert done.exit_code == exit_codes.ERROR
    assert done.output == (
        f"Error: the queue {queue} has schema version 0007; this program uses {SCHEMA_VERSION} and "
        "cannot upgrade it: finish its jobs with the version that wrote it, then choose a new queue "
        "(--queue) and add the schedules again\n"
    )
