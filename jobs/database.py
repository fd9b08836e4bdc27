"""Open a queue's database: the right pragmas, the right version, or a clear refusal."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, select
from sqlalchemy.exc import DatabaseError, OperationalError

from jobs.errors import QueueError
from jobs.schema import SCHEMA_VERSION, metadata, schema_version


def open_database(path: Path) -> Engine:
    """Open the SQLite file, or make it.

    Raises:
        QueueError: if it cannot be opened, is no queue, or is of another version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        _check_version(engine, path)
    except (OSError, OperationalError, DatabaseError) as error:
        cause = getattr(error, "orig", None) or error
        raise QueueError(f"the queue {path} cannot be opened: {cause}") from error
    return engine


def _check_version(engine: Engine, path: Path) -> None:
    with engine.begin() as connection:
        tables = inspect(connection).get_table_names()
        if not tables:
            metadata.create_all(connection)
            connection.execute(schema_version.insert().values(version_num=SCHEMA_VERSION))
            return
        if schema_version.name not in tables:
            raise QueueError(f"{path} is a database, but no queue of this program")
        found = connection.scalar(select(schema_version.c.version_num))
        if found != SCHEMA_VERSION:
            raise QueueError(
                f"the queue {path} has schema version {found}; this program uses {SCHEMA_VERSION}"
            )


def _prepare(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself; see `_begin`.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    # A committed row survives a power cut, not only a crash.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Any) -> None:
    # IMMEDIATE takes the write lock at the start: two workers never deadlock half-way.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
