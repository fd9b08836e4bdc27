"""Open a queue's database: the right pragmas, the right version, or a clear refusal."""

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event, inspect, select
from sqlalchemy.exc import DatabaseError

from jobs.errors import QueueError
from jobs.schema import SCHEMA_VERSION, metadata, schema_version

#: Seconds to wait for a lock that another process holds.
_PATIENCE: Final = 30


def open_database(path: Path) -> Engine:
    """Open the SQLite file, or make it.

    Raises:
        QueueError: if it cannot be opened, is no queue, or is of another version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(path)
        url = URL.create("sqlite", database=str(path))
        engine = create_engine(url, connect_args={"timeout": _PATIENCE})
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        _check_version(engine, path)
    except (OSError, DatabaseError, sqlite3.DatabaseError) as error:
        cause = getattr(error, "orig", None) or error
        raise QueueError(f"the queue {path} cannot be opened: {cause}") from error
    return engine


def _refuse_foreign(path: Path) -> None:
    """Look before anything is changed: somebody else's database stays as it is."""
    if not path.exists() or not path.stat().st_size:
        return
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()
    if tables and schema_version.name not in tables:
        raise QueueError(f"{path} is a database, but no queue of this program")


def _check_version(engine: Engine, path: Path) -> None:
    with engine.begin() as connection:
        tables = inspect(connection).get_table_names()
        if not tables:
            metadata.create_all(connection)
            connection.execute(schema_version.insert().values(version_num=SCHEMA_VERSION))
            return
        found = connection.scalar(select(schema_version.c.version_num))
        if found != SCHEMA_VERSION:
            raise QueueError(
                f"the queue {path} has schema version {found}; this program uses {SCHEMA_VERSION}"
            )


def _prepare(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself; see `_begin`.
    connection.isolation_level = None
    _use_wal(connection)
    # A committed row survives a power cut, not only a crash.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _use_wal(connection: Any) -> None:
    # The switch does not wait for a lock by itself, and another process may be making the queue.
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin(connection: Any) -> None:
    # IMMEDIATE takes the write lock at the start: two workers never deadlock half-way.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
