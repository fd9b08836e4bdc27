"""Queues of older versions: upgraded completely, or left unchanged."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

import jobs.queue.sql
from jobs.errors import QueueError
from jobs.queue.jobs import Options, State
from jobs.queue.sql.database import open_database
from jobs.queue.sql.schema import SCHEMA_VERSION, metadata
from jobs.queue.sql.store import SqlStore
from queue_makers import make_job, scored_row
from screening.audit import Event
from screening.files import Found
from screening.imaging.film import DecodeLimits
from screening.results import Status
from store_makers import EVENT, LEASE, failed_row, retried

MIGRATIONS = Path(jobs.queue.sql.__file__).with_name("migrations")

LISTED = Event("2026-11-22T21:31:00.000+00:00", "listed", "held", "3 files")


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


@pytest.fixture
def old_queue(queue):
    """A queue of the oldest version that can be upgraded, with a job of each kind."""
    with connected(queue) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0003")
        add_old_job(connection, 1, "done", state="done", fence=2, exit_code=3, message="so so")
        add_old_job(
            connection, 2, "held", state="running", fence=1, worker="A", lease_until=2_000_000.0
        )
        add_old_job(connection, 3, "waiting", labels="/labels.csv", hash_names=True, batch=4)
        rows = [scored_row("a.png"), failed_row("größe '\".png")]
        for position, row in enumerate(rows):
            add_old_film(connection, 1, position, row.film, json.dumps(row.as_dict()))
        for position, film in enumerate(["b.png", "a.png", "c.png"]):
            row = json.dumps(scored_row(film).as_dict()) if film == "a.png" else None
            add_old_film(connection, 2, position, film, row)
        for event in (Event("t", "submitted", "held"), EVENT, LISTED):
            insert(connection, "events", job_id=2, **vars(event))
        insert(connection, "events", job_id=1, **vars(LISTED))
    return queue


def insert(connection, table, **values):
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)  # noqa: S608


def add_old_job(connection, number, name, **changes):
    """Insert a record as the old version wrote it."""
    line = {
        "id": number,
        "name": name,
        "folder": "/films/größe",
        "model": "/bundle",
        "model_sha256": "f" * 64,
        "report": f"/report-{name}",
        "labels": None,
        "key": "/patient.key",
        "runtime": "onnx",
        "batch": 8,
        "limits": json.dumps(asdict(DecodeLimits())),
        "max_failure_rate": 0.25,
        "hash_names": False,
        "heatmaps": True,
        "submitted_at": f"2026-11-22T21:30:0{number}.000+00:00",
        "state": "queued",
        "fence": 0,
        "worker": "",
        "lease_until": 0.0,
        "started_at": "",
        "finished_at": "",
        "exit_code": None,
        "message": "",
    }
    insert(connection, "jobs", **line | changes)


def add_old_film(connection, job_id, position, film, row):
    size = 2**31 + position
    line = {"job_id": job_id, "position": position, "film": film, "size": size, "is_file": 1}
    insert(connection, "films", **line, row=row)


@contextmanager
def upgraded(queue):
    """Open the queue with the current version."""
    database = open_database(queue)
    try:
        yield SqlStore(database)
    finally:
        database.close()


def contents(queue):
    """Return all tables with their columns, and all records."""
    with connected(queue) as connection:
        looked = inspect(connection)
        tables = {
            name: [column["name"] for column in looked.get_columns(name)]
            for name in looked.get_table_names()
        }
        # Sorted, because the order on PostgreSQL is undefined.
        lines = {
            name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}"))))  # noqa: S608
            for name in tables
        }
    return tables, lines


def test_upgrade_keeps_jobs(old_queue):
    with upgraded(old_queue) as store:
        done, held, waiting = store.jobs()
    assert [job.name for job in (done, held, waiting)] == ["done", "held", "waiting"]
    assert (done.state, done.exit_code, done.message, done.fence) == (State.DONE, 3, "so so", 2)
    assert (held.state, held.worker, held.lease_until) == (State.RUNNING, "A", 2_000_000.0)
    assert waiting.state is State.QUEUED
    assert waiting.folder == Path("/films/größe")
    assert waiting.report == Path("/report-waiting")
    for job in (done, held, waiting):
        assert (job.priority, job.tags, job.identity, job.schedule) == (0, (), "", "")
        assert (job.not_before, job.attempts, job.deaths) == (0, 0, 0)


def test_upgrade_merges_options(old_queue):
    common = Options(key=Path("/patient.key"), max_failure_rate=0.25, heatmaps=True)
    with upgraded(old_queue) as store:
        assert store.get("done").options == common
        waiting = store.get("waiting").options
    assert (waiting.labels, waiting.hash_names, waiting.batch) == (Path("/labels.csv"), True, 4)


def test_upgrade_counts_films_by_status(old_queue):
    with upgraded(old_queue) as store:
        counted = {job.name: (job.films, job.committed) for job in store.jobs()}
        assert counted == {"done": (2, 2), "held": (3, 1), "waiting": (0, 0)}
        done, held = store.get("done"), store.get("held")
        assert store.counts(done) == {Status.SCORED: 1, Status.FAILED: 1}
        assert store.rows(done) == [scored_row("a.png"), failed_row("größe '\".png")]
        assert store.scored_before(held, "a" * 64) == "done"
        assert [vars(found) for found in store.films_left(held)] == [
            vars(Found("b.png", 2**31)),
            vars(Found("c.png", 2**31 + 2)),
        ]


def test_upgraded_histories_start_with_submission(old_queue):
    with upgraded(old_queue) as store:
        done, held, waiting = store.jobs()
        assert [job.listed_at for job in (done, held, waiting)] == [LISTED.at, LISTED.at, ""]
        assert store.events(held) == [Event("t", "submitted", "held"), EVENT, LISTED]
        assert store.events(waiting) == [Event(waiting.submitted_at, "submitted", "waiting")]


def test_work_continues_in_upgraded_queue(old_queue):
    with upgraded(old_queue) as store:
        store.expire(store.get("held"))
        held = store.claim("B", LEASE)
        assert (held.name, held.fence, held.deaths) == ("held", 2, 1)
        store.commit(held, [scored_row("b.png"), failed_row("c.png")], LEASE)
        store.finish(held, 3)
        assert store.retry("done", retried("done")).committed == 1
        assert store.add(make_job("new")).name == "new"
        assert store.claim("B", LEASE, only="waiting").name == "waiting"


def test_queue_is_upgraded_once(old_queue):
    with upgraded(old_queue):
        pass
    before = contents(old_queue)
    with upgraded(old_queue):
        pass
    assert contents(old_queue) == before
    assert before[1]["alembic_version"] == [f"('{SCHEMA_VERSION}',)"]


@pytest.mark.parametrize("step", ["add_column", "create_table", "drop_column", "create_index"])
def test_failed_upgrade_leaves_queue_unchanged(old_queue, monkeypatch, step):
    before = contents(old_queue)

    def broken(*arguments, **keywords):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(op, step, broken)
        with pytest.raises(MemoryError):
            open_database(old_queue)
    assert contents(old_queue) == before
    with upgraded(old_queue) as store:
        assert len(store.jobs()) == 3


def test_concurrent_opens_create_queue_once(queue):
    assert_opened_at_once(queue, [])


def test_concurrent_opens_upgrade_queue_once(old_queue):
    assert_opened_at_once(old_queue, ["done", "held", "waiting"])


def assert_opened_at_once(queue, names):
    start = threading.Barrier(3)

    def ask():
        start.wait(timeout=10)
        with upgraded(queue) as store:
            return [job.name for job in store.jobs()]

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask) for _ in range(3)]
        assert [answer.result(timeout=60) for answer in answers] == [names] * 3
    assert contents(queue)[1]["alembic_version"] == [f"('{SCHEMA_VERSION}',)"]


def test_new_queue_has_tables_of_store(queue):
    assert_complete(queue)


def test_migrations_result_in_tables_of_store(old_queue):
    assert_complete(old_queue)


def assert_complete(queue):
    with upgraded(queue):
        pass
    with connected(queue) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(
    "version", [f"{int(SCHEMA_VERSION) + 1:04}", "9999", "0002", "3f2a9c", "", None]
)
def test_newer_or_unknown_version_is_refused_and_not_changed(old_queue, version):
    with connected(old_queue) as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        if version is not None:
            insert(connection, "alembic_version", version_num=version)
    before = contents(old_queue)
    with pytest.raises(QueueError, match=f"has schema version {version}; this program uses"):
        open_database(old_queue)
    assert contents(old_queue) == before
