"""Open a queue's database, upgrade its schema, and translate its errors."""

import logging
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    Float,
    cast,
    create_engine,
    event,
    extract,
    func,
    insert,
    inspect,
    literal,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from jobs.errors import QueueError, QueueUnavailable
from jobs.host import network_filesystem
from jobs.queue.sql.schema import SCHEMA_VERSION, metadata, schema_version

#: Transient errors; https://sqlite.org/rescode.html.
_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)

#: Those that are transient even while opening: the file exists and may be used.
_WHILE_OPENING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_PROTOCOL,
    }
)

#: SQLSTATE classes of transient errors: connections, transactions to retry, resources, operator
#: intervention, system; https://www.postgresql.org/docs/current/errcodes-appendix.html.
_PASSING: Final = ("08", "40", "53", "55P03", "57", "58")

#: Those after which the connection is gone.
_ABSENT: Final = ("08", "57P01", "57P02", "57P03", "53300")

_NETWORK: Final = ("network error", "connection is closed", "communication error")


def why_unavailable(error: DBAPIError | OSError) -> str | None:
    """Return the reason of a transient error; None if the error is permanent."""
    cause = error if isinstance(error, OSError) else error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        # The low eight bits are the primary code, the others extend it.
        return str(cause) if code is not None and code & 0xFF in _SQLITE else None
    state, message = _told(cause)
    if state.startswith(_PASSING):
        return message
    return "there is no connection to the server" if is_absent(cause) else None


def may_open_later(error: BaseException) -> bool:
    """Return True if opening an SQLite file failed only because of a lock or lack of space."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _WHILE_OPENING


def is_absent(cause: BaseException | None) -> bool:
    """Return True if a driver's error means that the server or the connection is gone."""
    state, _message = _told(cause)
    if state:
        return state.startswith(_ABSENT)
    return isinstance(cause, OSError) or any(words in str(cause) for words in _NETWORK)


def _told(cause: BaseException | None) -> tuple[str, str]:
    """Return SQLSTATE and message if the error came from the server; otherwise empty strings.

    See "Error and Notice Message Fields" in the protocol. The other fields may contain values.
    """
    details = cause.args[0] if cause is not None and cause.args else None
    if not isinstance(details, dict):
        return "", ""
    return str(details.get("C", "")), str(details.get("M", ""))


_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def upgrade(connection: Connection, shown: str) -> None:
    """Upgrade the queue to :data:`~jobs.queue.sql.schema.SCHEMA_VERSION`, all or nothing.

    Args:
        connection: in a transaction that excludes all other writers.
        shown: name of the queue in messages.

    Raises:
        QueueError: if the database belongs to another program, or its version cannot be upgraded:
            it is newer, or older than the first release.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        metadata.create_all(connection)
        schema_version.create(connection)
        connection.execute(insert(schema_version).values(version_num=SCHEMA_VERSION))
        return
    if schema_version.name not in tables:
        raise QueueError(f"{shown} is a database, but not a queue of this program")
    found = connection.scalar(select(schema_version.c.version_num))
    if found == SCHEMA_VERSION:
        return
    # Imported only for old queues: Alembic takes long to import.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = ScriptDirectory.from_config(config).walk_revisions()
    if found not in {script.revision for script in known}:
        raise QueueError(
            f"the queue {shown} has schema version {found}; this program uses {SCHEMA_VERSION} and "
            "cannot upgrade it: finish its jobs with the version that wrote it, then choose a new "
            "queue (--queue) and add the schedules again"
        )
    command.upgrade(config, "head")


#: Seconds to wait for a lock held by another process.
_PATIENCE: Final = 30

#: `timeout`, in seconds, detects a server that hangs; no statement may take this long. The session
#: timeout, in milliseconds, ends transactions of a hanging worker, so that others can go on.
_CONNECT: Final[dict[str, Any]] = {
    "application_name": "screening",
    "timeout": 120,
    "startup_params": {"idle_in_transaction_session_timeout": "30000"},
}

#: Advisory lock held while a queue on PostgreSQL is upgraded: a number no other program uses.
_UPGRADE_LOCK: Final = 7_305_142_261

_BEGIN: Final = "sqlite_begin"


@dataclass(frozen=True, eq=False)
class Database:
    """Transactions, and the one clock that all workers of a queue use.

    Attributes:
        now: the time as an SQL expression, seconds since the epoch. On PostgreSQL it is the
            server's time, because the clocks of several machines differ.
    """

    engine: Engine
    shown: str
    now: Callable[[], ColumnElement[float]]

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is committed at the end of the block, or rolled back on an error.

        Raises:
            QueueUnavailable: if the database is temporarily unavailable. The transaction may have
                been committed nevertheless, if the answer was lost.
        """
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read-only transaction that waits for no writer.

        Raises:
            QueueUnavailable: if the database is temporarily unavailable.
        """
        with (
            self._translated(),
            self.engine.connect().execution_options(**{_BEGIN: "DEFERRED"}) as connection,
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, OSError) as error:
            why = why_unavailable(error)
            if why is None:
                raise
            raise QueueUnavailable(f"the queue {self.shown} cannot be used: {why}") from error


def open_database(queue: Path | str, clock: Callable[[], float] = time.time) -> Database:
    """Open a queue, and create or upgrade its tables.

    Args:
        queue: a file for SQLite, created if missing, or a URL for PostgreSQL
            (``postgresql://user:password@host/database``).
        clock: seconds since the epoch; ignored for PostgreSQL, which has its own.

    Raises:
        QueueError: if it cannot be opened, is not a queue, has a version that cannot be upgraded,
            or lies on a network filesystem.
        QueueUnavailable: if it is temporarily unavailable.
    """
    if isinstance(queue, Path):
        return _open_sqlite(queue, clock)
    return _open_postgresql(queue)


def _open_sqlite(path: Path, clock: Callable[[], float]) -> Database:
    network = network_filesystem(path)
    if network is not None:
        raise QueueError(
            f"the queue {path} lies on a network file system ({network}), where SQLite may lose "
            "data; use a local path, or PostgreSQL for workers on several machines"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(path)
        url = URL.create("sqlite", database=str(path))
        engine = create_engine(url, connect_args={"timeout": _PATIENCE}, hide_parameters=True)
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        with _closed_on_error(engine), engine.begin() as connection:
            upgrade(connection, str(path))
    except (OSError, DBAPIError, sqlite3.DatabaseError) as error:
        cause = getattr(error, "orig", None) or error
        kind = QueueUnavailable if may_open_later(error) else QueueError
        raise kind(f"the queue {path} cannot be opened: {cause}") from error
    return Database(engine, str(path), lambda: literal(clock(), Float))


def _refuse_foreign(path: Path) -> None:
    """Refuse another program's database before anything in it is changed."""
    if not path.exists() or not path.stat().st_size:
        return
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()
    # SQLite treats a file of one byte as an empty database.
    if not tables and path.stat().st_size < _SQLITE_HEADER:
        raise QueueError(f"the queue {path} cannot be opened: file is not a database")
    if tables and "alembic_version" not in tables:
        raise QueueError(f"{path} is a database, but not a queue of this program")


#: Minimum size of an SQLite database in bytes; see https://sqlite.org/fileformat.html.
_SQLITE_HEADER: Final = 512


def _open_postgresql(address: str) -> Database:
    try:
        url = make_url(address)
        if url.get_backend_name() not in ("postgresql", "postgres"):
            raise QueueError(f"the queue {shown(url)} is neither a file nor a postgresql:// URL")
        url = url.set(drivername="postgresql+pg8000")
        engine = create_engine(url, connect_args=_CONNECT, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError) as error:
        raise QueueError(f"the queue's URL is not valid: {error}") from error
    except ValueError:
        # The error shows the text parsed as port: with an @ or : in the password, a part of it.
        raise QueueError(
            "the queue's URL is not valid; expected postgresql://user:password@host/database "
            "with a port in digits, and in the password %40 for @, %3A for : and %2F for /"
        ) from None
    except ImportError as error:
        raise QueueError(
            "a queue on PostgreSQL needs a driver; run: pip install 'screening[postgres]'"
        ) from error
    # QueueUnavailable already reports a lost server; the pool would log every connection it closes.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "handle_error", _note_absence)
    database = Database(
        engine,
        shown(url),
        lambda: cast(extract("epoch", func.clock_timestamp()), Float),
    )
    with _closed_on_error(engine), database.writing() as connection:
        # Two workers may open a new queue at the same time.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
        upgrade(connection, database.shown)
    return database


@contextmanager
def _closed_on_error(engine: Engine) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        yield
        stack.pop_all()


def shown(url: URL) -> str:
    """Return the URL for display, without passwords, which the query string may also contain."""
    return url.set(query={}).render_as_string()


def _connect(dialect: Dialect, _record: Any, arguments: Any, keywords: Any) -> Any:
    try:
        with ExitStack() as stack:
            if "unix_sock" not in keywords:
                keywords["sock"] = stack.enter_context(_socket(keywords))
            made = dialect.loaded_dbapi.Connection(*arguments, **keywords)
            stack.pop_all()
            return made
    except OSError as error:
        # pg8000 does not wrap all of them.
        raise dialect.loaded_dbapi.InterfaceError("network error") from error


def _socket(keywords: dict[str, Any]) -> socket.socket:
    """Connect with TCP_NODELAY; pg8000's own socket delays long statements by 40 ms (Nagle)."""
    address = (keywords.get("host", "localhost"), keywords.get("port", 5432))
    made = socket.create_connection(address, keywords["timeout"])
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def _note_absence(context: ExceptionContext) -> None:
    # SQLAlchemy recognises only some of pg8000's errors for a lost connection; after the others,
    # the connection would stay in the pool.
    if is_absent(context.original_exception):
        context.is_disconnect = True


def _prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
    # Prevent the driver from starting transactions on its own; see `_begin`.
    connection.isolation_level = None
    _use_wal(connection)
    # Committed rows must survive a power failure, not only a crash.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _use_wal(connection: Any) -> None:
    # Switching to WAL does not wait for locks, and another process may be creating the queue.
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


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at the start, so that two workers cannot deadlock.
    begin = connection.get_execution_options().get(_BEGIN, "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {begin}")
