"""Which of a database's errors pass by themselves."""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

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
