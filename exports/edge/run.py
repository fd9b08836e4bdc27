"""A folder on a device: screened once, or watched while a modality writes into it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from exports.edge.journal import LISTED, Journal
from screening.audit import AUDIT, KEYED, Event, film_event, write_audit
from screening.errors import ReportError
from screening.files import Found, atomic_directory, discover, film_path, found_at, now
from screening.inference.pipeline import Screener, Seen
from screening.inference.report_images import ReportImages
from screening.results import PREDICTIONS, Row, write_rows

_BATCH: Final = 8

#: Seconds between two looks at a watched folder.
_LOOK: Final = 0.5


@dataclass(frozen=True, eq=False)
class EdgeRun:
    """One report in the making.

    Attributes:
        out: report folder; it appears whole, or not at all.
        watch: go on looking for new files until `stop` is set.
        settle: seconds for which a watched file must not have changed.
        say: told each row of a watched folder as one line of JSON.
        stop: ends the watch after the films in hand.
    """

    screener: Screener
    out: Path
    watch: bool = False
    settle: float = 5.0
    say: Callable[[str], None] = print
    stop: threading.Event = field(default_factory=threading.Event)

    def carry_out(self) -> list[Row]:
        """Screen what has no row yet, and write the report.

        Returns:
            The rows, by film.

        Raises:
            ReportError: if a journal or report cannot be written, or is one of something else.
        """
        journal = Journal.open(journal_of(self.out), self._begun())
        try:
            self._screen(journal)
        except BaseException:
            if journal.is_empty:
                journal.remove()
                self._clear()
            raise
        rows = sorted(journal.rows, key=lambda row: row.film)
        self._write(rows, journal)
        journal.remove()
        self._clear()
        return rows

    def _begun(self) -> dict[str, object]:
        """What a journal must be of; with the files that are there now, unless more will come."""
        screener = self.screener
        return {
            "folder": str(screener.folder.resolve()),
            "model_sha256": screener.model_sha256,
            "runtime": screener.predictor.runtime,
            "exact": screener.reader.recipe.exact,
            # Two keys would give one patient two names.
            "key": screener.key.hash("journal", "key"),
            "heatmaps": screener.gallery is not None,
            "refuse": [] if screener.lungs is None else list(screener.lungs.refused),
            "watch": self.watch,
            LISTED: [] if self.watch else [asdict(found) for found in discover(screener.folder)],
        }

    def _screen(self, journal: Journal) -> None:
        seen = Seen()
        for row in journal.rows:
            seen.add(row)
        card, runtime = self.screener.card, self.screener.predictor.runtime
        detail = f"{card.model} {runtime}"
        word = "resumed" if journal.resumed else "started"
        events = [Event(now(), word, "job", detail, self.screener.model_sha256)]
        if not journal.resumed:
            events.append(Event(now(), KEYED, self.screener.key.fingerprint))
        journal.commit(events=events)
        for batch in self._batches(journal):
            rows = self.screener.screen(batch, seen)
            journal.commit(rows)
            if self.watch:
                for row in rows:
                    self.say(json.dumps(row.as_dict()))

    def _batches(self, journal: Journal) -> Iterator[list[Found]]:
        done = {row.film for row in journal.rows}
        if self.watch:
            yield from self._arriving(done)
            return
        listed = [Found(**found) for found in journal.begun[LISTED]]
        left = [found for found in listed if found.film not in done]
        for start in range(0, len(left), _BATCH):
            yield left[start : start + _BATCH]

    def _arriving(self, done: set[str]) -> Iterator[list[Found]]:
        """Files that have settled, as they do."""
        last: dict[str, tuple[int, int]] = {}
        since: dict[str, float] = {}
        while not self.stop.is_set():
            settled = []
            for found in discover(self.screener.folder):
                if found.film in done:
                    continue
                state, at = self._state(found), time.monotonic()
                if last.get(found.film) != state:
                    last[found.film], since[found.film] = state, at
                elif at - since[found.film] >= self.settle:
                    settled.append(found)
            for start in range(0, len(settled), _BATCH):
                if self.stop.is_set():
                    return
                batch = settled[start : start + _BATCH]
                yield batch
                done.update(found.film for found in batch)
            if not settled:
                self.stop.wait(_LOOK)

    def _state(self, found: Found) -> tuple[int, int]:
        """What changes while a file is written: its size and time."""
        try:
            stat = film_path(self.screener.folder, found.film).stat()
        except OSError:
            return (0, 0)
        return (stat.st_size, stat.st_mtime_ns)

    def _write(self, rows: list[Row], journal: Journal) -> None:
        try:
            with atomic_directory(self.out) as report:
                write_rows(report / PREDICTIONS, rows)
                if self.screener.gallery is not None:
                    self.screener.gallery.hang(report, rows)
                events = [*journal.events, *map(film_event, journal.rows), *self._late(rows)]
                write_audit(report, events, len(rows))
        except OSError as error:
            raise ReportError(
                f"the report {self.out} cannot be written: {error.strerror}; nothing that was "
                "screened is lost: mend this and give the same command again"
            ) from error

    def _late(self, rows: list[Row]) -> list[Event]:
        """Files that came after the list was taken, or had not settled."""
        listed, at = {row.film for row in rows}, now()
        late = [found.film for found in discover(self.screener.folder) if found.film not in listed]
        return [Event(at, "arrived_late", film) for film in late]

    def _clear(self) -> None:
        if self.screener.gallery is not None:
            self.screener.gallery.clear()


def journal_of(out: Path) -> Path:
    """Where the journal of the report `out` lies until it is there."""
    return out.parent / f".{out.name}.journal"


def is_whole(out: Path) -> bool:
    """True if the report `out` is there: it appears whole, so a part of it is all of it."""
    return (out / AUDIT).is_file()


def report_images_of(out: Path) -> ReportImages:
    """Where the pictures of the report `out` wait for it."""
    return ReportImages(out.parent / f".{out.name}.pictures")


def screen_film(screener: Screener, film: Path) -> Row:
    """One film of the screener's folder, on its own."""
    (row,) = screener.screen([found_at(film)], Seen())
    return row
