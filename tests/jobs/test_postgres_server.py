"""The PostgreSQL server that tests start: it keeps what it should, and leaves nothing."""

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
    """A transaction in the database `url`."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        yield connection


def make_table(url):
    with connected(url) as connection:
        connection.execute(text("CREATE TABLE films (name TEXT)"))


def tables(url):
    with connected(url) as connection:
        return inspect(connection).get_table_names()


def processes_of(folder):
    """Programs that work in this folder, by the numbers of their processes."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (process / "cwd").readlink().parents:
                found.add(process.name)
        except OSError:
            continue
    return found


def test_a_fresh_database_is_empty_and_apart_from_another(postgres, postgres_url):
    make_table(postgres_url)
    assert tables(postgres_url) == ["films"]
    assert tables(postgres.database()) == []


def test_a_database_takes_any_text_and_sorts_it_the_same_everywhere(postgres_url):
    with connected(postgres_url) as connection:
        assert connection.scalar(text("SHOW server_encoding")) == "UTF8"
        ordered = text("SELECT x FROM (VALUES ('ä'), ('b'), ('B'), ('a')) AS t (x) ORDER BY x")
        assert list(connection.scalars(ordered)) == ["B", "a", "b", "ä"]


@pytest.mark.parametrize("fault", ["fast", "immediate", "kill"])
def test_what_was_committed_survives_on_the_same_address(durable, fault):
    url = durable.database()
    make_table(url)
    if fault == "kill":
        durable.kill()
        durable.start()
    else:
        durable.restart(fault)
    assert tables(url) == ["films"]


def test_what_was_not_committed_does_not_survive_a_kill(durable):
    url = durable.database()
    engine = create_engine(url, poolclass=NullPool)
    connection = engine.connect()
    connection.execute(text("CREATE TABLE films (name TEXT)"))
    durable.kill()
    connection.invalidate()
    connection.close()
    durable.start()
    assert tables(url) == []


def test_a_stopped_server_has_no_process_and_starts_again(durable):
    url = durable.database()
    assert processes_of(durable.folder)
    durable.stop()
    assert not processes_of(durable.folder)
    durable.start()
    assert tables(url) == []


@pytest.mark.usefixtures("postgres")
def test_nothing_is_left_of_a_server_whose_user_fails():
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
