"""Verify that a report is as it was written; find and name every difference."""

import csv
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from screening.audit import (
    AUDIT,
    DRAWN,
    EVALUATES,
    ROWS,
    SIGNATURE,
    WRITING,
    WRITTEN,
    Event,
    History,
    read_audit,
)
from screening.errors import ReportError
from screening.files import text_of
from screening.results import PREDICTIONS, Status, text

#: Bytes of an Ed25519 signature (RFC 8032, section 5.1.6).
_SIGNATURE_BYTES: Final = 64
_STATUSES: Final = frozenset(status.value for status in Status)
_NEEDED: Final = ("film", "sha256", "status", "reason", "probability", "prediction", "screened_at")

#: Returns the bytes of a file by its path in the report; may raise OSError.
Read = Callable[[str], bytes]


@dataclass(frozen=True)
class VerificationProblem:
    """One way in which a report is not as it was written.

    Attributes:
        file: path in the report; path of the film when a film is screened again.
        what: stable code: ``broken_chain``, ``altered``, ``missing``, ``unknown``, ``unreadable``,
            ``damaged``, ``row_count``, ``row_differs``; for a signature ``forged``; for films that
            are screened again ``not_reproduced``, ``film_changed``, ``film_missing``,
            ``other_model``.
        sentence: text that continues after the file's name.
        line: line of the file, from 1; None if the problem has no line.
    """

    file: str
    what: str
    sentence: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.what}: {self.sentence}"


def verify(folder: Path) -> list[VerificationProblem]:
    """Return every way in which a report is not as it was written; empty if it is intact.

    This does not detect a report that was rewritten completely, including its audit: only a
    signature over the head of the chain protects against that. The bytes of ``audit.sig`` alone
    prove nothing.
    """
    names: list[str] = []
    hidden: dict[str, OSError] = {}
    for name, error in _entries(folder):
        if error is None:
            names.append(name)
        else:
            hidden[name] = error
    found = examine(names, lambda name: _read(folder / name))
    # Files in a folder that cannot be listed need not be missing.
    unlisted = [_unreadable(name or ".", error) for name, error in hidden.items()]
    return unlisted + [
        one for one in found if one.what != "missing" or not one.file.startswith(tuple(hidden))
    ]


def intact(folder: Path) -> History:
    """Return the history of a report that is as it was written.

    Raises:
        ReportError: naming the first problem, if the report is not as it was written.
    """
    problems = verify(folder)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ReportError(
            f"{folder} is not intact, so it was not used: {problems[0]}{more}; `screening verify` lists "
            "all problems"
        )
    return read_audit((folder / AUDIT).read_bytes())


def examine(names: Collection[str], read: Read) -> list[VerificationProblem]:
    """Verify a report whose files are read by `read`, wherever they are stored.

    Args:
        names: path in the report of every file, with POSIX slashes; the path of an empty folder
            ends with a slash.
    """
    if AUDIT not in names:
        return [VerificationProblem(AUDIT, "missing", "is missing, so this is not a report")]
    try:
        history = read_audit(read(AUDIT))
    except OSError as error:
        return [_unreadable(AUDIT, error)]
    chain = [
        VerificationProblem(AUDIT, "broken_chain", found.why, found.line)
        for found in history.breaks
    ]
    return [*chain, *examine_beside(names, read, history)]


def examine_beside(
    names: Collection[str], read: Read, history: History
) -> Iterator[VerificationProblem]:
    """Compare the files other than the audit with what the audit says about them.

    Only lines that are as they were written are trusted. If others are not, one of them may have
    named a file that no trusted line names, so such files are not reported.
    """
    named = _named(history.events)
    for name in sorted(named.keys() | set(names) - {AUDIT}):
        if name not in names:
            yield VerificationProblem(text_of(name), "missing", "is missing")
        elif name == SIGNATURE or name in named:
            yield from _content(name, read, named.get(name, ""), history)
        elif not history.breaks:
            why = f"is not listed in {AUDIT}"
            yield VerificationProblem(text_of(name), "unknown", why)


def written(history: History) -> str:
    """Describe an intact report: rows, chain head, when it was written and, if known, by whom."""
    who = [event.fields for event in history.events if event.event == WRITING]
    last = history.events[-1]
    parts = [f"{last.fields.get(ROWS, 'no')} rows, chain head {history.head}, written at {last.at}"]
    if who:
        parts.append("by " + ", ".join(f"{name} {value}" for name, value in who[-1].items()))
    if history.events[0].event == EVALUATES:
        parts.append(f"an evaluation of the report with the head {history.events[0].sha256}")
    return ", ".join(parts)


def _content(name: str, read: Read, sha256: str, history: History) -> Iterator[VerificationProblem]:
    try:
        content = read(name)
    except OSError as error:
        yield _unreadable(name, error)
        return
    if name == SIGNATURE:
        if len(content) != _SIGNATURE_BYTES:
            why = f"has {len(content)} bytes, a signature has {_SIGNATURE_BYTES}"
            yield VerificationProblem(name, "damaged", why)
        return
    if hashlib.sha256(content).hexdigest() != sha256:
        yield VerificationProblem(text_of(name), "altered", f"does not have the hash in {AUDIT}")
    if name == PREDICTIONS:
        yield from _rows(content, history)


def _named(events: Collection[Event]) -> Mapping[str, str]:
    """Return the hashes, by name, of the files that a report should have."""
    named = {event.subject: event.sha256 for event in events if event.event == DRAWN}
    for event in events:
        if event.event == WRITTEN:
            named |= {name: sha256 for name, sha256 in event.fields.items() if name != ROWS}
    return named


def _rows(content: bytes, history: History) -> Iterator[VerificationProblem]:
    """Compare the table with the history: both must agree on every film."""
    events = [event for event in history.events if event.event in _STATUSES]
    is_evaluation = any(event.event == EVALUATES for event in history.events[:1])
    recorded = {event.subject: event for event in events}
    rows = 0
    try:
        for line, event in _film_events(content):
            rows += 1
            if is_evaluation and not events:
                continue
            if event.subject not in recorded:
                if not history.breaks:
                    why = f"has a film that is not in {AUDIT}, or that has another row"
                    yield VerificationProblem(PREDICTIONS, "row_differs", why, line)
            elif recorded.pop(event.subject) != event:
                why = f"does not match the line of this film in {AUDIT}"
                yield VerificationProblem(PREDICTIONS, "row_differs", why, line)
    except (csv.Error, KeyError, UnicodeDecodeError) as error:
        yield VerificationProblem(PREDICTIONS, "damaged", f"cannot be parsed: {error}")
        return
    if recorded:
        why = f"lacks the rows of {len(recorded)} films, such as {next(iter(recorded))}"
        yield VerificationProblem(PREDICTIONS, "row_count", why)
    for event in history.events:
        if event.event == WRITTEN and (stated := event.fields.get(ROWS)) != str(rows):
            why = f"has {rows} rows, {AUDIT} says {stated}"
            yield VerificationProblem(PREDICTIONS, "row_count", why)


def _film_events(content: bytes) -> Iterator[tuple[int, Event]]:
    """Yield the line and the event of each row, in the form that the history records.

    Columns are looked up by name: those that are not needed differ between versions.

    Raises:
        KeyError: naming the missing column.
        csv.Error: if a row has too few or too many cells.
    """
    reader = csv.reader(StringIO(content.decode("utf-8"), newline=""))
    header = next(reader, [])
    lacking = [name for name in _NEEDED if name not in header]
    if lacking:
        raise KeyError(lacking[0])
    places = [header.index(name) for name in _NEEDED]
    line = reader.line_num + 1
    for cells in reader:
        if len(cells) != len(header):
            raise csv.Error(f"line {line} has {len(cells)} cells, expected {len(header)}")
        film, sha256, status, reason, probability, prediction, at = (
            text(cells[place]) for place in places
        )
        scored = {"probability": probability, "prediction": prediction}
        fields = scored if probability else {"reason": reason}
        yield line, Event(at, status, film, fields, sha256)
        line = reader.line_num + 1


def _entries(folder: Path) -> Iterator[tuple[str, OSError | None]]:
    """Yield the path of every file and empty folder, and the error if a folder cannot be listed."""
    waiting = [folder]
    while waiting:
        walked = waiting.pop()
        name = "" if walked == folder else walked.relative_to(folder).as_posix() + "/"
        try:
            with os.scandir(walked) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            yield name, error
            continue
        if name and not entries:
            yield name, None
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield name + entry.name, None


def _read(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Links are refused because their target may change later, pipes because reading never ends.

    Raises:
        OSError: if it is not a regular file or cannot be read.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read()


def _unreadable(name: str, error: OSError) -> VerificationProblem:
    return VerificationProblem(text_of(name), "unreadable", f"cannot be read: {error.strerror}")
