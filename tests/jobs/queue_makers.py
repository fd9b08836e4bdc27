"""Clocks, engines and jobs that the tests of the queue make for themselves."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from exports.bundle import Bundle, seal
from jobs.database import open_database
from jobs.job import Job
from jobs.runner import Tools
from jobs.sql_store import SqlStore
from makers import make_card
from screening.films import Found
from screening.pipeline import Screener, Seen
from screening.report.write import Report
from screening.row import Row, Status


class PowerCut(BaseException):
    """What no code can handle."""


class FakeClock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


class SerialEngine:
    """Screens film by film, without threads; stops with an error before batch `dies_at`."""

    def __init__(self, dies_at: int | None = None, error: BaseException | None = None) -> None:
        self._dies_at = dies_at
        self._error = error or PowerCut()

    def screen(
        self, screener: Screener, films: Sequence[Found], seen: Seen, batch: int
    ) -> Iterator[list[Row]]:
        for number, start in enumerate(range(0, len(films), batch)):
            if number == self._dies_at:
                raise self._error
            read = [screener.read(found) for found in films[start : start + batch]]
            yield screener.score(read, seen)


class Witness:
    """A watcher that remembers; tests put what shall happen meanwhile into a subclass."""

    def __init__(self) -> None:
        self.starts: list[tuple[int, int]] = []
        self.batches: list[list[str]] = []
        self.reports: list[Report] = []

    def started(self, _job: Job, films: int, left: int) -> None:
        self.starts.append((films, left))

    def committed(self, rows: list[Row]) -> None:
        self.batches.append([row.film for row in rows])

    def reported(self, report: Report) -> None:
        self.reports.append(report)


@contextmanager
def opened_store(path: Path, clock: FakeClock) -> Iterator[SqlStore]:
    """A store on the queue file `path`; closed afterwards."""
    engine = open_database(path)
    try:
        yield SqlStore(engine, clock)
    finally:
        engine.dispose()


def make_job(name: str = "job-1", folder: Path = Path("/films"), **changes: object) -> Job:
    """A job as it is submitted, two films a batch; any field by keyword."""
    job = Job(
        name=name,
        folder=folder,
        model=Path("/bundle"),
        model_sha256="f" * 64,
        report=folder.parent / f"report-{name}",
        labels=None,
        key=Path("/patient.key"),
        runtime="onnx",
        batch=2,
        submitted_at="2026-11-22T21:30:05.123+00:00",
    )
    return replace(job, **changes)


def make_tools(store: SqlStore, screener: Screener, **changes: object) -> Tools:
    """Tools that screen one film after the other with `screener`."""

    def opened(job: Job) -> Screener:
        shown_name = screener.key.film if job.hash_names else str
        reader = replace(screener.reader, folder=job.folder, limits=job.limits)
        return replace(screener, reader=reader, shown_name=shown_name)

    return replace(Tools(store, SerialEngine(), opened, Witness()), **changes)


def scored_row(film: str, probability: float = 0.25) -> Row:
    """A row with a value of each kind."""
    return Row(
        film=film,
        sha256="a" * 64,
        status=Status.SCORED,
        probability=probability,
        prediction="NORMAL",
        threshold=0.5,
        seconds=0.125,
        warnings="größer; =1+1",
    )


def found(*films: str) -> list[Found]:
    """Entries of a folder, a hundred bytes each."""
    return [Found(film, 100) for film in films]


def empty_bundle(folder: Path, threshold: float = 0.5) -> Bundle:
    """An intact bundle that holds a card and no model."""
    folder.mkdir(parents=True, exist_ok=True)
    make_card(threshold).write(folder)
    seal(folder)
    return Bundle.open(folder)


def table(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
