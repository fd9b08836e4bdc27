"""Queues that cannot be used: refused with the reason, or only just now."""

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
    """pg8000 leaves the socket of a connection that was lost to the garbage collector: here, not later."""
    ignored = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")
    return pytest.mark.usefixtures("swept")(ignored(test))


@pytest.fixture
def swept():
    yield
    gc.collect()


def pragma(store, statement):
    """Said to the connection that the store keeps."""
    with store._database.engine.connect() as connection:
        connection.connection.execute(statement).fetchall()


def test_a_queue_on_a_network_filesystem_is_refused_with_the_reason(queue, monkeypatch):
    monkeypatch.setattr("jobs.queue.sql.database.network_filesystem", lambda _path: "nfs4")
    with pytest.raises(QueueError, match=r"network file system \(nfs4\).* or PostgreSQL"):
        open_database(queue)
    assert not queue.exists()


def test_a_file_of_a_single_byte_is_refused_and_stays_as_it_was(queue):
    queue.write_bytes(b"x")
    with pytest.raises(QueueError, match="not a database"):
        open_database(queue)
    assert queue.read_bytes() == b"x"


def test_a_queue_that_is_locked_can_be_used_when_it_is_free(queue, clock, monkeypatch):
    monkeypatch.setattr("jobs.queue.sql.database._PATIENCE", 0.05)
    with opened_store(queue, clock) as store, closing(sqlite3.connect(queue)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueUnavailable, match=r"queue\.sqlite cannot be used: .*locked"):
            store.add(make_job())
        other.rollback()
        assert store.add(make_job()).name == "job-1"


@pytest.mark.parametrize("how", ["made", "opened"])
def test_a_queue_that_is_locked_is_worth_another_try(queue, monkeypatch, how):
    monkeypatch.setattr("jobs.queue.sql.database._PATIENCE", 0.05)
    if how == "opened":
        open_database(queue).close()
    with closing(sqlite3.connect(queue)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(QueueUnavailable, match=r"queue\.sqlite cannot be opened: .*locked"):
            open_database(queue)
    open_database(queue).close()


def test_a_folder_in_the_place_of_a_queue_is_not_worth_another_try(tmp_path):
    with pytest.raises(QueueError, match="cannot be opened") as caught:
        open_database(tmp_path)
    assert not isinstance(caught.value, QueueUnavailable)


def test_reading_does_not_wait_for_who_writes(queue, clock, monkeypatch):
    monkeypatch.setattr("jobs.queue.sql.database._PATIENCE", 0.05)
    with opened_store(queue, clock) as store, closing(sqlite3.connect(queue)) as other:
        store.add(make_job())
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM jobs")
        assert [job.name for job in store.jobs()] == ["job-1"]
        other.rollback()


def test_a_queue_that_is_full_can_be_used_when_there_is_room(queue, clock):
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


def test_a_queue_that_may_only_be_read_can_be_used_when_it_may_be_written(queue, clock):
    with opened_store(queue, clock) as store:
        pragma(store, "PRAGMA query_only=ON")
        with pytest.raises(QueueUnavailable, match="readonly"):
            store.add(make_job())
        assert store.jobs() == []
        pragma(store, "PRAGMA query_only=OFF")
        store.add(make_job())


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with room for little."""
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


def test_a_full_disk_costs_no_row(small_disk, clock):
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
    """Leave no room on a disk."""
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
def test_another_url_is_refused_without_its_password(url):
    with pytest.raises(QueueError) as caught:
        open_database(url)
    assert "geheim" not in str(caught.value)
    assert "URL" in str(caught.value)


def test_a_server_that_is_not_there_is_just_now_unavailable_and_no_password_is_shown(postgres):
    url = f"postgresql://user:geheim@127.0.0.1:1/{postgres.folder.name}"
    with pytest.raises(
        QueueUnavailable, match=r"user:\*\*\*@127.0.0.1:1/.* no connection"
    ) as caught:
        open_database(url)
    assert "geheim" not in str(caught.value)


def test_a_database_of_something_else_on_the_server_is_refused_and_stays_as_it_was(postgres_url):
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(QueueError, match="is a database, but no queue of this program"):
        open_database(postgres_url)
    with engine.begin() as connection:
        tables = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert list(connection.scalars(tables)) == ["recipes"]
    engine.dispose()


def test_a_server_has_the_clock_for_all_its_workers(postgres_url):
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
    """A store on a server that a test may restart."""
    durable.start()
    with sql_store(durable.database(), clock) as store:
        yield store


@dropped
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_after_a_restart_of_the_server_the_work_goes_on(durable, remote, mode):
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
def test_while_the_server_is_away_every_call_says_so(durable, remote):
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
def test_a_restart_within_a_transaction_undoes_it_and_the_next_call_works(durable, remote, mode):
    database = remote._database
    with pytest.raises(QueueUnavailable), database.writing() as connection:
        write_over(connection, lambda: durable.restart(mode))
    assert remote.pin("half", "new") == "new"


def write_over(connection, fault):
    connection.execute(text("INSERT INTO pins VALUES ('half', 'done')"))
    fault()
    connection.execute(text("INSERT INTO pins VALUES ('whole', 'done')"))


@dropped
def test_a_session_that_the_server_ends_is_replaced(remote):
    job = claimed(remote, films=["a.png"])
    with pytest.raises(QueueUnavailable), remote._database.writing() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    remote.commit(job, [scored_row("a.png")], LEASE)
    assert remote.get("job-1").committed == 1


def test_a_long_statement_is_sent_to_a_server_without_delay(postgres_url, monkeypatch):
    sockets = []

    def create(*arguments):
        sockets.append(socket.socket(socket.AF_INET))
        sockets[-1].connect(arguments[0])
        return sockets[-1]

    monkeypatch.setattr("socket.create_connection", create)
    with closing(open_database(postgres_url)):
        assert sockets
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)


def test_heartbeat_and_work_have_connections_of_their_own(remote):
    job = claimed(remote, films=["a.png"])
    renewals = [threading.Thread(target=remote.renew, args=(job, LEASE)) for _ in range(4)]
    for renewal in renewals:
        renewal.start()
    remote.commit(job, [scored_row("a.png")], LEASE)
    for renewal in renewals:
        renewal.join(timeout=20)
    assert remote.get("job-1").committed == 1
