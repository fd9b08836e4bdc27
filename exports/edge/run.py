"""Screen a folder on a device once, or watch it while a modality writes into it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from exports.edge.journal import LISTED, Journal
from screening.audit import AUDIT, KEYED, TARGET, Event, film_event, write_audit
from screening.errors import ReportError
from screening.files import Found, atomic_directory, discover, film_path, found_at, now
from screening.inference.pipeline import Screener, Seen
from screening.inference.report_images import ReportImages
from screening.results import PREDICTIONS, Row, write_rows

_BATCH: Final = 8

#: Seconds between two scans of a watched folder.
_LOOK: Final = 0.5


@dataclass(frozen=True, eq=False)
class EdgeRun:
    """A screening of one folder that writes one report.

    Attributes:
        screener: model with all options, and the folder to screen.
        out: report folder; it is created atomically.
        watch: continue to look for new files until `stop` is set.
        settle: seconds for which a watched file must not have changed.
        say: called with each row of a watched folder as one line of JSON.
        stop: ends the watch after the current batch.
    """

    screener: Screener
    out: Path
    watch: bool = False
    settle: float = 5.0
    say: Callable[[str], None] = print
    stop: threading.Event = field(default_factory=threading.Event)

    def carry_out(self) -> list[Row]:
        """Screen the films that have no row yet, and write the report.

        Returns:
            All rows, sorted by film.

        Raises:
            ReportError: if the journal or report cannot be written, or the journal belongs to
                another screening.
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
        """Values that a resumed journal must match, and the files listed now unless watching."""
        screener = self.screener
        return {
            "folder": str(screener.folder.resolve()),
            "model_sha256": screener.model_sha256,
            "runtime": screener.predictor.runtime,
            "exact": screener.reader.recipe.exact,
            # With two keys, one patient would have two pseudonyms.
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
        card, predictor = self.screener.card, self.screener.predictor
        fields = {"model": card.model, TARGET: predictor.target, "runtime": predictor.runtime}
        word = "resumed" if journal.resumed else "started"
        events = [Event(now(), word, "job", fields, self.screener.model_sha256)]
        if not journal.resumed:
            events.append(Event(now(), KEYED, self.screener.key.fingerprint))
        journal.commit(events=events)
        for batch in self._batches(journal):
            rows = self.screener.screen(batch, seen)
            journal.commit(rows)
            if self.watch:
                for row in rows:
                    self.say(json.dumps(row.as_columns()))

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
        """Yield batches of files that have not changed for `settle` seconds."""
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
        """Size and modification time, which change while a file is written."""
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
                f"the report {self.out} cannot be written: {error.strerror}; fix this and run the "
                "same command again: all results are kept"
            ) from error

    def _late(self, rows: list[Row]) -> list[Event]:
        """Create events for files that arrived after the listing, or had not settled."""
        listed, at = {row.film for row in rows}, now()
        late = [found.film for found in discover(self.screener.folder) if found.film not in listed]
        return [Event(at, "arrived_late", film) for film in late]

    def _clear(self) -> None:
        if self.screener.gallery is not None:
            self.screener.gallery.clear()


def journal_of(out: Path) -> Path:
    """Path of the journal of the report `out`, which exists until the report is written."""
    return out.parent / f".{out.name}.journal"


def is_whole(out: Path) -> bool:
    """Whether the report `out` is complete; it is created atomically, so one file is proof."""
    return (out / AUDIT).is_file()


def report_images_of(out: Path) -> ReportImages:
    """Folder of the images of the report `out` until the report is written."""
    return ReportImages(out.parent / f".{out.name}.pictures")


def screen_film(screener: Screener, film: Path) -> Row:
    """Screen a single film of the screener's folder."""
    (row,) = screener.screen([found_at(film)], Seen())
    return row
