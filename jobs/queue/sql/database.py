"""Open the database of a queue, upgrade it, and name its errors."""

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

#: What may be better in a moment; https://sqlite.org/rescode.html.
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

#: Of these, what passes even where a queue is opened: it is there, and may be used.
_WHILE_OPENING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_PROTOCOL,
    }
)

#: Classes of SQLSTATE: connections, transactions to be tried again, resources, an operator's hand, the
#: system; https://www.postgresql.org/docs/current/errcodes-appendix.html.
_PASSING: Final = ("08", "40", "53", "55P03", "57", "58")

#: Of these, those after which there is no connection any more.
_ABSENT: Final = ("08", "57P01", "57P02", "57P03", "53300")

_NETWORK: Final = ("network error", "connection is closed", "communication error")


def why_unavailable(error: DBAPIError | OSError) -> str | None:
    """What is the matter, if it may pass; None if it will not."""
    cause = error if isinstance(error, OSError) else error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        # The lower eight bits are the error, the others say more of it.
        return str(cause) if code is not None and code & 0xFF in _SQLITE else None
    state, message = _told(cause)
    if state.startswith(_PASSING):
        return message
    return "there is no connection to the server" if is_absent(cause) else None


def may_open_later(error: BaseException) -> bool:
    """True if an SQLite file could not be opened for want of a lock or of space alone."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _WHILE_OPENING


def is_absent(cause: BaseException | None) -> bool:
    """True if a driver's error means that there is no server, or no connection to it."""
    state, _message = _told(cause)
    if state:
        return state.startswith(_ABSENT)
    return isinstance(cause, OSError) or any(words in str(cause) for words in _NETWORK)


def _told(cause: BaseException | None) -> tuple[str, str]:
    """SQLSTATE and message, if the error is the server's own.

    See "Error and Notice Message Fields" in the protocol. The other fields may hold values.
    """
    details = cause.args[0] if cause is not None and cause.args else None
    if not isinstance(details, dict):
        return "", ""
    return str(details.get("C", "")), str(details.get("M", ""))


_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def upgrade(connection: Connection, shown: str) -> None:
    """Bring the queue to :data:`~jobs.queue.sql.schema.SCHEMA_VERSION`, all or nothing.

    Args:
        connection: in a transaction that nobody else can write beside.
        shown: how messages name the queue.

    Raises:
        QueueError: if the database is none of this program, or of a version that is not upgraded:
            a newer one, or one from before the first release.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        metadata.create_all(connection)
        schema_version.create(connection)
        connection.execute(insert(schema_version).values(version_num=SCHEMA_VERSION))
        return
    if schema_version.name not in tables:
        raise QueueError(f"{shown} is a database, but no queue of this program")
    found = connection.scalar(select(schema_version.c.version_num))
    if found == SCHEMA_VERSION:
        return
    # Only an old queue waits for Alembic to be imported.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found not in known:
        raise QueueError(
            f"the queue {shown} has schema version {found}; this program uses {SCHEMA_VERSION} "
            f"and upgrades {min(known)} and later"
        )
    command.upgrade(config, "head")


#: Seconds to wait for a lock that another process holds.
_PATIENCE: Final = 30

#: A server that hangs is noticed by the first, in seconds, which no statement may need. By the
#: second a worker that hangs in a transaction does not hold up the others; milliseconds.
_CONNECT: Final[dict[str, Any]] = {
    "application_name": "screening",
    "timeout": 120,
    "startup_params": {"idle_in_transaction_session_timeout": "30000"},
}

#: Any number that no other program takes: who upgrades a queue on PostgreSQL holds this lock.
_UPGRADE_LOCK: Final = 7_305_142_261

_BEGIN: Final = "sqlite_begin"


@dataclass(frozen=True, eq=False)
class Database:
    """Transactions, and the one clock that all workers of a queue go by.

    Attributes:
        now: the time as an SQL expression, seconds since the epoch. On PostgreSQL it is the
            server's: the clocks of several machines differ.
    """

    engine: Engine
    shown: str
    now: Callable[[], ColumnElement[float]]

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or rolled back.

        Raises:
            QueueUnavailable: if the database cannot be used just now. The transaction may have been
                committed all the same, if the answer was lost.
        """
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and waits for no writer.

        Raises:
            QueueUnavailable: if the database cannot be used just now.
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
    """Open a queue, and make or upgrade its tables.

    Args:
        queue: a file for SQLite, made if it is not there, or a URL for PostgreSQL
            (``postgresql://user:password@host/database``).
        clock: seconds since the epoch; PostgreSQL has its own.

    Raises:
        QueueError: if it cannot be opened, is no queue, is of a version that is not upgraded, or
            lies on a network file system.
        QueueUnavailable: if it cannot be used just now.
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
    """Look before anything is changed: somebody else's database stays as it is."""
    if not path.exists() or not path.stat().st_size:
        return
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()
    # SQLite takes a file of a single byte for an empty database.
    if not tables and path.stat().st_size < _SQLITE_HEADER:
        raise QueueError(f"the queue {path} cannot be opened: file is not a database")
    if tables and "alembic_version" not in tables:
        raise QueueError(f"{path} is a database, but no queue of this program")


#: Bytes of an SQLite database at least; see https://sqlite.org/fileformat.html.
_SQLITE_HEADER: Final = 512


def _open_postgresql(address: str) -> Database:
    try:
        url = make_url(address)
        if url.get_backend_name() not in ("postgresql", "postgres"):
            raise QueueError(f"the queue {shown(url)} is neither a file nor a postgresql:// URL")
        url = url.set(drivername="postgresql+pg8000")
        engine = create_engine(url, connect_args=_CONNECT, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError) as error:
        raise QueueError(f"the queue's URL cannot be understood: {error}") from error
    except ValueError:
        # The error names what was taken for a port: with an @ or : in it, a part of the password.
        raise QueueError(
            "the queue's URL cannot be understood; expected postgresql://user:password@host/database "
            "with a port in digits, and in the password %40 for @, %3A for : and %2F for /"
        ) from None
    except ImportError as error:
        raise QueueError(
            "a queue on PostgreSQL needs a driver; run: pip install 'screening[postgres]'"
        ) from error
    # Whoever uses the queue is told that the server is away; the pool would print how it closes each
    # connection.
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
    """The URL for people to read: without a password, which may also stand behind the question mark."""
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
        # pg8000 lets some of them through as they are.
        raise dialect.loaded_dbapi.InterfaceError("network error") from error


def _socket(keywords: dict[str, Any]) -> socket.socket:
    """Without delay; pg8000's own holds the end of each long statement back for 40 ms (Nagle)."""
    address = (keywords.get("host", "localhost"), keywords.get("port", 5432))
    made = socket.create_connection(address, keywords["timeout"])
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def _note_absence(context: ExceptionContext) -> None:
    # SQLAlchemy knows only some of pg8000's ways to lose a connection; the others would stay in the
    # pool.
    if is_absent(context.original_exception):
        context.is_disconnect = True


def _prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
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


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at the start: two workers never deadlock half-way.
    begin = connection.get_execution_options().get(_BEGIN, "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {begin}")
