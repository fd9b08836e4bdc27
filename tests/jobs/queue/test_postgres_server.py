"""The PostgreSQL server used by tests: durability and cleanup."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, inspect, text

from postgres import served


@pytest.fixture(scope="module")
def durable(postgres):
    with served() as server:
        yield server


@contextmanager
def connected(url):
    """Open a transaction in the database `url`."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        yield connection


def make_table(url):
    with connected(url) as connection:
        connection.execute(text("CREATE TABLE films (name TEXT)"))


def tables(url):
    with connected(url) as connection:
        return inspect(connection).get_table_names()


def processes_of(folder):
    """Return the IDs of processes whose working directory is in this folder."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (process / "cwd").readlink().parents:
                found.add(process.name)
        except OSError:
            continue
    return found


def test_new_database_is_empty_and_separate(postgres, postgres_url):
    make_table(postgres_url)
    assert tables(postgres_url) == ["films"]
    assert tables(postgres.database()) == []


def test_database_is_utf8_and_sorts_by_code_point(postgres_url):
    with connected(postgres_url) as connection:
        assert connection.scalar(text("SHOW server_encoding")) == "UTF8"
        ordered = text("SELECT x FROM (VALUES ('ä'), ('b'), ('B'), ('a')) AS t (x) ORDER BY x")
        assert list(connection.scalars(ordered)) == ["B", "a", "b", "ä"]


@pytest.mark.parametrize("fault", ["fast", "immediate", "kill"])
def test_committed_data_survive_at_same_address(durable, fault):
    url = durable.database()
    make_table(url)
    if fault == "kill":
        durable.kill()
        durable.start()
    else:
        durable.restart(fault)
    assert tables(url) == ["films"]


def test_uncommitted_data_do_not_survive_kill(durable):
    url = durable.database()
    engine = create_engine(url, poolclass=NullPool)
    connection = engine.connect()
    connection.execute(text("CREATE TABLE films (name TEXT)"))
    durable.kill()
    connection.invalidate()
    connection.close()
    durable.start()
    assert tables(url) == []


def test_stopped_server_has_no_processes_and_restarts(durable):
    url = durable.database()
    assert processes_of(durable.folder)
    durable.stop()
    assert not processes_of(durable.folder)
    durable.start()
    assert tables(url) == []


@pytest.mark.usefixtures("postgres")
def test_nothing_is_left_of_server_after_error():
    folder = None

    def fail():
        nonlocal folder
        with served(durable=False) as server:
            folder = server.folder
            assert processes_of(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not processes_of(folder)
    assert not folder.exists()
