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
from screening.row import Row, cell, text

FILE_NAME: Final = "audit.csv"
_COLUMNS: Final = ("seq", "at", "event", "subject", "detail", "sha256", "previous", "chain")
_START: Final = "0" * 64


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

    The last link names every other file with its hash, so a cut chain is a broken chain.
    """
    files = " ".join(f"{path.name}={sha256_of(path)}" for path in sorted(folder.iterdir()))
    written = Event(now(), "written", "report", f"{rows} rows {files}")
    previous = _START
    with (folder / FILE_NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for seq, event in enumerate([*events, written], start=1):
            link = _link(seq, event, previous)
            values = [event.at, event.event, event.subject, event.detail, event.sha256]
            writer.writerow([seq, *map(cell, values), previous, link])
            previous = link
    return previous


def broken_links(path: Path) -> list[int]:
    """Sequence numbers of the lines that do not follow from the one before; empty if intact."""
    broken = []
    previous = _START
    with path.open(newline="", encoding="utf-8") as file:
        for seq, line in enumerate(csv.DictReader(file), start=1):
            event = Event(*(text(line[name]) for name in _COLUMNS[1:6]))
            link = _link(seq, event, previous)
            if (line["seq"], line["previous"], line["chain"]) != (str(seq), previous, link):
                broken.append(seq)
            previous = line["chain"]
    return broken


def _link(seq: int, event: Event, previous: str) -> str:
    body = json.dumps([seq, *asdict(event).values(), previous], ensure_ascii=False)
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
