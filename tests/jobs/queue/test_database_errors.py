"""Unusable queues: permanent and temporary errors."""

import gc
import os
import socket
import sqlite3
import subprocess
import threading
from contextlib import closing, suppress

import pytest
from sqlalchemy import create_engine, select, text

from jobs.errors import QueueError, QueueUnavailable
from jobs.queue.sql.database import open_database
from jobs.queue.sql.store import SqlStore
from postgres import served
from queue_makers import found, make_job, opened_store, scored_row
from store_makers import LEASE, claimed, sql_store


@pytest.fixture
def queue(tmp_path):
    return tmp_path / "queue.sqlite"


def dropped(test):
    """Ignore, and collect now, the sockets of lost connections that pg8000 does not close."""
    ignored = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")
    return pytest.mark.usefixtures("swept")(ignored(test))


@pytest.fixture
def swept():
    yield
    gc.collect()


def pragma(store, statement):
    """Run a statement on the store's pooled connection."""
    with store._database.engine.connect() as connection:
        connection.connection.execute(statement).fetchall()


def test_network_filesystem_is_refused(queue, monkeypatch):
    monkeypatch.setattr("jobs.queue.sql.database.network_filesystem", lambda _path: "nfs4")
    with pytest.raises(QueueError, match=r"network file system \(nfs4\).* or PostgreSQL"):
        open_database(queue)
    assert not queue.exists()


def test_one_byte_file_is_refused_and_not_changed(queue):
    queue.write_bytes(b"x")
    with pytest.raises(QueueError, match="not a database"):
        open_database(queue)
    assert queue.read_bytes() == b"x"


def test_locked_queue_is_usable_after_unlock(queue, clock, monkeypatch):
    monkeypatch.setattr("jobs.queue.sql.database._PATIENCE", 0.05)
    with opened_store(queue, clock) as store, closing(sqlite3.connect(queue)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueUnavailable, match=r"queue\.sqlite cannot be used: .*locked"):
            store.add(make_job())
        other.rollback()
        assert store.add(make_job()).name == "job-1"


@pytest.mark.parametrize("how", ["made", "opened"])
def test_opening_locked_queue_is_temporary_error(queue, monkeypatch, how):
    monkeypatch.setattr("jobs.queue.sql.database._PATIENCE", 0.05)
    if how == "opened":
        open_database(queue).close()
    with closing(sqlite3.connect(queue)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(QueueUnavailable, match=r"queue\.sqlite cannot be opened: .*locked"):
            open_database(queue)
    open_database(queue).close()


def test_folder_as_queue_is_permanent_error(tmp_path):
    with pytest.raises(QueueError, match="cannot be opened") as caught:
        open_database(tmp_path)
    assert not isinstance(caught.value, QueueUnavailable)


def test_reading_does_not_wait_for_writer(queue, clock, monkeypatch):
    monkeypatch.setattr("jobs.queue.sql.database._PATIENCE", 0.05)
    with opened_store(queue, clock) as store, closing(sqlite3.connect(queue)) as other:
        store.add(make_job())
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM jobs")
        assert [job.name for job in store.jobs()] == ["job-1"]
        other.rollback()


def test_full_queue_is_usable_when_space_is_freed(queue, clock):
    with opened_store(queue, clock) as store:
        job = claimed(store, films=[])
        pragma(store, "PRAGMA max_page_count=1")
        many = [make_job(f"{number}-{'x' * 5000}") for number in range(20)]
        with pytest.raises(QueueUnavailable, match="full"):
            add_all(store, many)
        kept = len(store.jobs())
        pragma(store, "PRAGMA max_page_count=1000000")
        store.commit(job, [], LEASE)
        add_all(store, many)
        assert len(store.jobs()) == 21 > kept


def add_all(store, jobs):
    for job in jobs:
        store.add(job)


def test_read_only_queue_is_usable_when_writable_again(queue, clock):
    with opened_store(queue, clock) as store:
        pragma(store, "PRAGMA query_only=ON")
        with pytest.raises(QueueUnavailable, match="readonly"):
            store.add(make_job())
        assert store.jobs() == []
        pragma(store, "PRAGMA query_only=OFF")
        store.add(make_job())


@pytest.fixture
def small_disk(tmp_path):
    """A small filesystem."""
    place = tmp_path / "small"
    place.mkdir()
    if os.getuid():
        pytest.skip("only root can mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_loses_no_row(small_disk, clock):
    films = [f"{number}.png" for number in range(300)]
    with opened_store(small_disk / "queue.sqlite", clock) as store:
        job = claimed(store, films=films)
        ballast = small_disk / "ballast"
        fill(ballast)
        with pytest.raises(QueueUnavailable, match=r"full|I/O"):
            commit_all(store, job, films)
        committed = len(store.rows(job))
        assert store.get(job.name).committed == committed < len(films)
        ballast.unlink()
        commit_all(store, job, films)
        assert [row.film for row in store.rows(job)] == films


def fill(path):
    """Use all free space of the disk."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def commit_all(store, job, films):
    for film in films:
        store.commit(job, [scored_row(film)], LEASE)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:geheim@host/queue",
        "sqlite:///queue.sqlite",
        "mysql+nothing://user:geheim@host/queue",
        "postgresql://user:geheim@host:port/queue",
        "postgresql://user:geheim",
        "postgresql//user:geheim@host",
    ],
)
def test_invalid_url_is_refused_without_showing_password(url):
    with pytest.raises(QueueError) as caught:
        open_database(url)
    assert "geheim" not in str(caught.value)
    assert "URL" in str(caught.value)


def test_unreachable_server_is_temporary_error_without_password(postgres):
    url = f"postgresql://user:geheim@127.0.0.1:1/{postgres.folder.name}"
    with pytest.raises(
        QueueUnavailable, match=r"user:\*\*\*@127.0.0.1:1/.* no connection"
    ) as caught:
        open_database(url)
    assert "geheim" not in str(caught.value)


def test_database_of_other_program_is_refused_and_not_changed(postgres_url):
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(QueueError, match="is a database, but not a queue of this program"):
        open_database(postgres_url)
    with engine.begin() as connection:
        tables = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert list(connection.scalars(tables)) == ["recipes"]
    engine.dispose()


def test_postgresql_uses_clock_of_server(postgres_url):
    database = open_database(postgres_url, clock=lambda: 0.0)
    with database.reading() as connection:
        servers = text("SELECT extract(epoch FROM now())::float")
        assert connection.scalar(servers) <= connection.scalar(select(database.now()))
    SqlStore(database).add(make_job())
    assert SqlStore(database).claim("A", LEASE).lease_until > LEASE + 1_000_000_000
    database.close()


@pytest.fixture(scope="module")
def durable(postgres):
    with served() as server:
        yield server


@pytest.fixture
def remote(durable, clock):
    """A store on a server that tests may restart."""
    durable.start()
    with sql_store(durable.database(), clock) as store:
        yield store


@dropped
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_work_continues_after_server_restart(durable, remote, mode):
    job = claimed(remote, films=["a.png", "b.png"])
    remote.commit(job, [scored_row("a.png")], LEASE)
    durable.restart(mode)
    again = 0
    for ask in (lambda: remote.rows(job), lambda: remote.renew(job, LEASE), remote.jobs):
        try:
            ask()
        except QueueUnavailable:
            again += 1
    assert again <= 1
    assert remote.films_left(job) == found("b.png")
    remote.commit(job, [scored_row("b.png")], LEASE)
    assert remote.get("job-1").committed == 2


@dropped
def test_every_call_raises_while_server_is_down(durable, remote):
    job = claimed(remote, films=["a.png"])
    durable.stop()
    for _ in range(3):
        with pytest.raises(QueueUnavailable, match=r"127\.0\.0\.1"):
            remote.commit(job, [scored_row("a.png")], LEASE)
        with pytest.raises(QueueUnavailable):
            remote.rows(job)
    durable.start()
    remote.commit(job, [scored_row("a.png")], LEASE)
    assert remote.get("job-1").committed == 1


@dropped
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart_rolls_back_open_transaction(durable, remote, mode):
    database = remote._database
    with pytest.raises(QueueUnavailable), database.writing() as connection:
        write_over(connection, lambda: durable.restart(mode))
    assert remote.pin("half", "new") == "new"


def write_over(connection, fault):
    connection.execute(text("INSERT INTO pins VALUES ('half', 'done')"))
    fault()
    connection.execute(text("INSERT INTO pins VALUES ('whole', 'done')"))


@dropped
def test_terminated_session_is_replaced(remote):
    job = claimed(remote, films=["a.png"])
    with pytest.raises(QueueUnavailable), remote._database.writing() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    remote.commit(job, [scored_row("a.png")], LEASE)
    assert remote.get("job-1").committed == 1


def test_postgresql_socket_uses_tcp_nodelay(postgres_url, monkeypatch):
    sockets = []

    def create(*arguments):
        sockets.append(socket.socket(socket.AF_INET))
        sockets[-1].connect(arguments[0])
        return sockets[-1]

    monkeypatch.setattr("socket.create_connection", create)
    with closing(open_database(postgres_url)):
        assert sockets
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)


def test_heartbeat_and_work_use_separate_connections(remote):
    job = claimed(remote, films=["a.png"])
    renewals = [threading.Thread(target=remote.renew, args=(job, LEASE)) for _ in range(4)]
    for renewal in renewals:
        renewal.start()
    remote.commit(job, [scored_row("a.png")], LEASE)
    for renewal in renewals:
        renewal.join(timeout=20)
    assert remote.get("job-1").committed == 1
