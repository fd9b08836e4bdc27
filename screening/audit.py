"""The record of what happened, chained by hashes so that no line can change unnoticed."""

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from screening.card import sha256_of
from screening.clock import now
from screening.row import LINE_END, Row, cell, text

AUDIT: Final = "audit.csv"

#: With which key the hashes of a report were made; the subject is its fingerprint.
KEYED: Final = "keyed"
_COLUMNS: Final = ("seq", "at", "event", "subject", "detail", "sha256", "previous", "chain")
_START: Final = "0" * 64
_DRAWN: Final = "drawn"
_WRITTEN: Final = "written"


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        at: UTC, ISO 8601.
        event: what, in one word: ``submitted``, ``scored``, ``written``.
        subject: to what: a job, a film, a report.
        detail: how.
        sha256: hash of the subject, where it is a file.
    """

    at: str
    event: str
    subject: str
    detail: str = ""
    sha256: str = ""


def film_event(row: Row) -> Event:
    """What became of a film."""
    detail = row.reason if row.probability is None else f"{row.probability} {row.prediction}"
    return Event(row.screened_at, row.status.value, row.film, detail, row.sha256)


def write_audit(folder: Path, events: Iterable[Event], rows: int) -> str:
    """Write ``audit.csv`` into a finished report and return the head of the chain.

    The last link names the other files with their hashes, so a cut chain is a broken chain. Files
    in folders, of which there may be thousands, have a line each before it.
    """
    hashes = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    at = now()
    drawn = [Event(at, _DRAWN, name, "", sha) for name, sha in hashes.items() if "/" in name]
    files = " ".join(f"{name}={sha}" for name, sha in hashes.items() if "/" not in name)
    written = Event(at, _WRITTEN, "report", f"{rows} rows {files}")
    previous = _START
    with (folder / AUDIT).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(_COLUMNS)
        for seq, event in enumerate([*events, *drawn, written], start=1):
            cells = _cells(seq, event, previous)
            writer.writerow(cells)
            previous = cells[-1]
    return previous


def broken_links(path: Path) -> list[int]:
    """Sequence numbers of the lines that do not follow from the one before; empty if intact.

    A chain that does not end with the line that names the other files was cut; the missing line's
    number is given then.
    """
    broken = []
    previous, last = _START, ""
    lines = _lines(path)
    for seq, cells in enumerate(lines, start=1):
        values = dict(zip(_COLUMNS, cells, strict=False))
        event = Event(*map(text, cells[1:6])) if len(cells) == len(_COLUMNS) else None
        # A cell must be as it was written, down to the mark that makes a formula inert.
        if event is None or cells != _cells(seq, event, previous):
            broken.append(seq)
        previous, last = values.get("chain", ""), values.get("event", "")
    return broken if last == _WRITTEN else [*broken, len(lines) + 1]


def is_report_of(folder: Path, job: str) -> bool:
    """True if `folder` holds a whole report of the job with this name."""
    path = folder / AUDIT
    if not path.is_file() or broken_links(path):
        return False
    return ["submitted", cell(job)] in [cells[2:4] for cells in _lines(path)]


def _lines(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def _cells(seq: int, event: Event, previous: str) -> list[str]:
    """A line as it stands in the file."""
    values = [event.at, event.event, event.subject, event.detail, event.sha256]
    return [str(seq), *map(cell, values), previous, _link(seq, event, previous)]


def _link(seq: int, event: Event, previous: str) -> str:
    body = json.dumps([seq, *asdict(event).values(), previous], ensure_ascii=False)
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
