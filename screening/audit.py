"""The audit log of a report: a hash chain in which no line can change unnoticed."""

import csv
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Final

from screening.errors import ReportError
from screening.files import now
from screening.model.card import sha256_of
from screening.results import LINE_END, Row, cell, text

AUDIT: Final = "audit.csv"

#: Event: the key that the hashes of a report were made with; the subject is its fingerprint.
KEYED: Final = "keyed"

#: Event: the subject is the model of the bundle that all workers of the job use from now on.
CHOSEN: Final = "chosen"

#: Signature of the chain's head; the only file of a report that its audit log cannot list.
SIGNATURE: Final = "audit.sig"

#: First event of a report that scores an older one against labels; its hash is the older head.
EVALUATES: Final = "evaluates"
DRAWN: Final = "drawn"
#: Event: who writes the report. The last line says when it was finished.
WRITING: Final = "writing"
WRITTEN: Final = "written"
#: Field of :data:`WRITTEN`: number of rows. Its other fields are the hashes of files, by name.
ROWS: Final = "rows"

#: Field: the target of the bundle that made the rows.
TARGET: Final = "target"

_COLUMNS: Final = ("seq", "at", "event", "subject", "detail", "sha256", "previous", "chain")
_START: Final = "0" * 64

# json.dumps with an option creates an encoder on every call.
_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the audit log.

    Attributes:
        at: UTC, ISO 8601.
        event: what happened, in one word: ``submitted``, ``scored``, ``written``.
        subject: the job, film or report that it happened to.
        fields: further information by name, such as ``user``, ``host``, ``folder``, ``threshold``.
        sha256: hash of the subject, if it is a file.
    """

    at: str
    event: str
    subject: str
    fields: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""

    @property
    def detail(self) -> str:
        """The fields as text; see :func:`fields_text`."""
        return fields_text(self.fields)


# A name or value that needs no quotes: no space, =, quote, backslash, control or surrogate.
_WORD: Final = r"[^\s=\"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]+"
_BARE: Final = re.compile(_WORD)
_ESCAPED: Final = re.compile(r"[\"\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-f]{4})|(.))")
_FIELD: Final = re.compile(rf'{_WORD}=(?:{_WORD}|"(?:[^"\\]|\\.)*")', re.DOTALL)
# Most details are of this form, which is faster to parse.
_ALL_BARE: Final = re.compile(rf"{_WORD}={_WORD}(?: {_WORD}={_WORD})*")


def fields_text(fields: Mapping[str, str]) -> str:
    r"""Format fields as ``name=value name="another value"``.

    Names need no quotes. A value is quoted if it is empty or has white space, ``=``, ``"``, a
    backslash, a control character or a surrogate. In quotes, a backslash precedes ``"`` and
    backslash; control characters, line separators and surrogates are ``\uXXXX`` with four
    lower-case hex digits, one for each code point.
    """
    return " ".join(f"{name}={_value_text(value)}" for name, value in fields.items())


def parse_fields(text: str) -> dict[str, str]:
    """Return the fields in a text; the inverse of :func:`fields_text`.

    Raises:
        ValueError: if :func:`fields_text` never writes this text.
    """
    is_bare = _ALL_BARE.fullmatch(text) is not None
    parts = text.split(" ") if is_bare else _FIELD.findall(text)
    fields = {}
    for part in parts:
        name, _, value = part.partition("=")
        is_quoted = value.startswith('"')
        fields[sys.intern(name)] = _ESCAPE.sub(_unescape, value[1:-1]) if is_quoted else value
    if len(fields) != len(parts) or not (is_bare or fields_text(fields) == text):
        raise ValueError(f"{text!r} is not a list of name=value")
    return fields


def _value_text(value: str) -> str:
    return value if _BARE.fullmatch(value) else f'"{_ESCAPED.sub(_escape, value)}"'


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}" if match[0] in '"\\' else f"\\u{ord(match[0]):04x}"


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else match[2]


@dataclass(frozen=True)
class Break:
    """A place where the chain is broken.

    Attributes:
        line: line of the file, from 1.
        why: how it differs from what was written.
    """

    line: int
    why: str


@dataclass(frozen=True)
class History:
    """The contents of an audit log.

    Attributes:
        events: events of all lines that are, byte for byte, as they were written.
        breaks: lines that are not; empty if the chain is intact.
        head: the last link, 64 hex digits: one value that identifies the whole report.
    """

    events: tuple[Event, ...]
    breaks: tuple[Break, ...]
    head: str


def target_of(events: Iterable[Event]) -> str:
    """Return the target of the bundle that made the rows of a report; empty if it is unknown."""
    return next((event.fields[TARGET] for event in events if TARGET in event.fields), "")


def film_event(row: Row) -> Event:
    """Return the audit event for the result of a film."""
    if row.probability is None:
        fields = {"reason": str(row.reason or "")}
    else:
        fields = {"probability": str(row.probability), "prediction": row.prediction}
    return Event(row.screened_at, row.status.value, row.film, fields, row.sha256)


def write_audit(folder: Path, events: Iterable[Event], rows: int) -> str:
    """Write ``audit.csv`` into a finished report and return the head of the chain.

    The last line lists the other files with their hashes, so a truncated chain counts as broken.
    Files in subfolders, of which there may be thousands, each get a line of their own before it.

    Raises:
        ReportError: if a file's name would make the last line ambiguous.
    """
    hashes = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path not in (folder / AUDIT, folder / SIGNATURE)
    }
    at = now()
    drawn = [Event(at, DRAWN, name, {}, sha) for name, sha in hashes.items() if "/" in name]
    files = {name: sha for name, sha in hashes.items() if "/" not in name}
    if odd := [name for name in files if name == ROWS or not _BARE.fullmatch(name)]:
        raise ReportError(
            f"the name of a file in a report must not be {ROWS} nor have =, quotes or spaces: "
            f"{odd[0]!r}"
        )
    written = Event(at, WRITTEN, "report", {ROWS: str(rows)} | files)
    previous = _START
    with (folder / AUDIT).open("w", newline="", encoding="utf-8") as file:
        file.write(_line(_COLUMNS))
        for seq, event in enumerate(chain(events, drawn, [written]), start=1):
            values = [event.at, event.event, event.subject, event.detail, event.sha256]
            cells = _cells(seq, values, previous)
            file.write(_line(cells))
            previous = cells[-1]
    return previous


def read_audit(content: bytes) -> History:
    """Read ``audit.csv`` and find every line that differs from what was written.

    Each line is rendered again from its own cells and the previous link, and compared with the
    file. Every byte belongs to a line, so no change goes unnoticed. After a broken line, the next
    line is checked against the number and link that the broken line states, so that one change is
    not reported again for all lines that follow.
    """
    try:
        whole = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return History((), (Break(line, "is not UTF-8"),), "")
    lines = _lines(whole)
    breaks = []
    if next(lines, (1, "", []))[1] != _line(_COLUMNS):
        breaks.append(Break(1, "is not the line that names the columns"))
    events = []
    number, seq, previous, is_intact = 1, 0, _START, True
    for number, raw, cells in lines:
        seq += 1
        is_whole = len(cells) == len(_COLUMNS)
        values = [text(each) for each in cells[1:6]]
        expected = _cells(seq, values, previous) if is_whole else []
        is_written = is_whole and raw == _line(expected)
        event = _event(values) if is_written else None
        is_intact = event is not None
        if event is not None:
            events.append(event)
        else:
            breaks.append(Break(number, _NO_FIELDS if is_written else _why(cells, expected)))
        if len(cells) >= len(_COLUMNS):
            seq, previous = _number(cells[0], seq), cells[len(_COLUMNS) - 1]
    if is_intact and not (events and events[-1].event == WRITTEN):
        breaks.append(
            Break(
                number + 1,
                "is missing: the last line lists the other files, so the end was cut off",
            )
        )
    return History(tuple(events), tuple(breaks), previous)


def is_report_of(folder: Path, job: str) -> bool:
    """Return True if `folder` holds a complete and unchanged report of the job with this name."""
    path = folder / AUDIT
    if not path.is_file():
        return False
    history = read_audit(path.read_bytes())
    submitted = any(event.event == "submitted" and event.subject == job for event in history.events)
    return submitted and not history.breaks


def _lines(whole: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield first line number, text and cells of each record; no cells if it is not valid CSV."""
    raw_lines: list[str] = []

    def record_lines() -> Iterator[str]:
        for line in StringIO(whole, newline="\n"):
            raw_lines.append(line)
            yield line

    reader, number = csv.reader(record_lines()), 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells = []
        yield number, "".join(raw_lines), cells
        number += len(raw_lines)
        raw_lines.clear()


def _line(cells: Iterable[str]) -> str:
    """Return a line as it is written to the file."""
    buffer = StringIO(newline="")
    csv.writer(buffer, lineterminator=LINE_END).writerow(cells)
    return buffer.getvalue()


_NO_FIELDS: Final = "has a detail that is not a list of name=value"


def _event(values: Sequence[str]) -> Event | None:
    """Return the event of these columns; None if the detail is no list of fields."""
    at, event, subject, detail, sha256 = values
    try:
        return Event(at, sys.intern(event), subject, parse_fields(detail), sha256)
    except ValueError:
        return None


def _cells(seq: int, values: Sequence[str], previous: str) -> list[str]:
    return [str(seq), *map(cell, values), previous, _link(seq, values, previous)]


def _link(seq: int, values: Sequence[str], previous: str) -> str:
    body = _to_json([seq, *values, previous])
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()


def _number(seq: str, otherwise: int) -> int:
    return int(seq) if len(seq) < 12 and seq.isascii() and seq.isdigit() else otherwise


def _why(cells: list[str], expected: list[str]) -> str:
    if not expected:
        return f"has {len(cells)} cells, expected {len(_COLUMNS)}"
    if cells[0] != expected[0]:
        return (
            f"is number {cells[0][:20]}, expected {expected[0]}: a line was removed, added or moved"
        )
    if cells[-2] != expected[-2]:
        return "does not have the hash of the line before it"
    if cells[-1] != expected[-1]:
        return "does not have the hash that it states"
    return "has different quotes, line ends or formula marks than when it was written"
