"""Journal of an unfinished report, so that a run can resume after a power loss."""

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

from screening.audit import Event
from screening.errors import ReportError
from screening.files import sync
from screening.results import Row

_BEGUN: Final = "begun"


class Journal:
    """An append-only file with one JSON object and its checksum per line.

    A line is committed as soon as it is on the disk. A last line that a power loss interrupted is
    recognised by its checksum and truncated. Damage anywhere else is an error, because rows would
    be lost.

    Attributes:
        path: the file.
        rows: committed rows, in the order of their commits.
        events: committed events, in the same order.
        begun: what the journal belongs to, as plain values.
        resumed: True if an earlier process started the journal.
        is_empty: True if no row can be on the disk. An interrupt may come after a row was written
            and before it is in :attr:`rows`.
    """

    def __init__(self, path: Path, begun: dict[str, Any]) -> None:
        self.path = path
        self.rows: list[Row] = []
        self.events: list[Event] = []
        self.begun = begun
        self.resumed = False
        self.is_empty = True
        self._end = 0

    @classmethod
    def open(cls, path: Path, begun: dict[str, Any]) -> Self:
        """Resume the journal at `path`, or start a new one.

        Args:
            begun: what the journal belongs to, as plain values; these must be the same on every
                call, except for :data:`LISTED`.

        Raises:
            ReportError: if the journal cannot be read or written, is damaged, or belongs to another
                screening.
        """
        journal = cls(path, begun)
        try:
            if path.exists():
                journal._read()
            if not journal._end:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                journal._append({_BEGUN: begun})
                sync(path.parent)
        except OSError as error:
            raise journal._unwritable(error) from error
        return journal

    def commit(self, rows: Iterable[Row] = (), events: Iterable[Event] = ()) -> None:
        """Append rows and events; they are on the disk when this method returns.

        Raises:
            ReportError: if they cannot be written. Earlier commits are kept.
        """
        rows, events = list(rows), list(events)
        line = {
            "rows": [row.as_dict() for row in rows],
            "events": [asdict(event) for event in events],
        }
        self.is_empty = self.is_empty and not rows
        try:
            self._append(line)
        except OSError as error:
            raise self._unwritable(error) from error
        self.rows += rows
        self.events += events

    def remove(self) -> None:
        """Delete the journal, after the report was written or given up."""
        self.path.unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        # Film names may contain lone surrogates; ASCII output escapes them.
        body = json.dumps(line).encode("ascii")
        data = b"%08x %s\n" % (zlib.crc32(body), body)
        with self.path.open("r+b", buffering=0) as file:
            # Overwrites what an earlier attempt left behind when the disk was full.
            file.seek(self._end)
            written = 0
            while written < len(data):
                written += file.write(data[written:]) or 0
            file.truncate()
            os.fsync(file.fileno())
        self._end += len(data)

    def _read(self) -> None:
        lines = self.path.read_bytes().split(b"\n")
        good = [_parsed(line) for line in lines]
        # The last piece is empty or an incomplete line.
        known = next((n for n, line in enumerate(good) if line is None), len(good))
        if any(line is not None for line in good[known:]):
            raise ReportError(
                f"line {known + 1} of the journal {self.path} is damaged, so results would be lost; "
                "check the disk, delete the journal and screen again"
            )
        self._end = sum(len(line) + 1 for line in lines[:known])
        for number, line in enumerate(good[:known]):
            self._take(line or {}, is_first=number == 0)

    def _take(self, line: dict[str, Any], *, is_first: bool) -> None:
        if is_first:
            begun = line.get(_BEGUN)
            # A resumed run screens the files listed at the start, whatever the folder contains now.
            if not isinstance(begun, dict) or not _is_same(begun, self.begun):
                raise ReportError(
                    f"{self.path} is the journal of an earlier run with another bundle, folder or "
                    "other options; use the same ones to continue it, or delete it to start again"
                )
            self.begun, self.resumed = begun, True
            return
        self.rows += [Row.from_dict(row) for row in line["rows"]]
        self.is_empty = not self.rows
        self.events += [Event(**event) for event in line["events"]]

    def _unwritable(self, error: OSError) -> ReportError:
        return ReportError(
            f"the journal {self.path} cannot be written: {error.strerror}; fix this and run the same "
            "command again: earlier results are kept"
        )


#: Key of the listed files, which need not match when a journal is resumed.
LISTED: Final = "listed"


def _is_same(begun: dict[str, Any], asked: dict[str, Any]) -> bool:
    return {**begun, LISTED: None} == {**asked, LISTED: None}


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Parse a line; None if it is incomplete or damaged."""
    checksum, _space, body = line.partition(b" ")
    if not body or checksum != b"%08x" % zlib.crc32(body):
        return None
    parsed = json.loads(body)
    return parsed if isinstance(parsed, dict) else None
