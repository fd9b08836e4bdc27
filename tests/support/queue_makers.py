"""Clocks, engines and jobs for tests of the queue."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import count, islice
from pathlib import Path

from exports.bundle import Bundle, seal
from jobs.queue.jobs import Job, Options
from jobs.queue.schedules import Schedule
from jobs.queue.sql.database import open_database
from jobs.queue.sql.store import SqlStore
from jobs.worker.job_run import Tools
from makers import make_card, write_film
from screening.files import Found
from screening.inference.pipeline import Screener, Seen
from screening.report.writer import Report
from screening.results import FilmWarning, Row, Status

_OPTIONS = {field.name for field in fields(Options)}


class PowerCut(BaseException):
    """An error that no code handles, like a power failure."""


class FakeClock:
    """A clock that advances only when a test sets it."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


class SerialEngine:
    """Screens in one thread; raises an error before batch `dies_at`."""

    def __init__(self, dies_at: int | None = None, error: BaseException | None = None) -> None:
        self._dies_at = dies_at
        self._error = error or PowerCut()

    def screen(
        self, screener: Screener, films: Iterable[Found], seen: Seen, batch: int
    ) -> Iterator[list[Row]]:
        coming = iter(films)
        for number in count():
            portion = list(islice(coming, batch))
            if not portion:
                return
            if number == self._dies_at:
                raise self._error
            yield screener.screen(portion, seen)


class Witness:
    """An observer that records calls; tests subclass it to add side effects."""

    def __init__(self) -> None:
        self.starts: list[tuple[int, int]] = []
        self.batches: list[list[str]] = []
        self.reports: list[Report] = []
        self.waits: list[Job] = []
        self.ends: list[Job] = []
        self.idles = 0

    def started(self, _job: Job, films: int, left: int) -> None:
        self.starts.append((films, left))

    def committed(self, rows: list[Row], _seconds: float) -> None:
        self.batches.append([row.film for row in rows])

    def reported(self, report: Report, _seconds: float) -> None:
        self.reports.append(report)

    def waiting(self, job: Job) -> None:
        self.waits.append(job)

    def ended(self, job: Job) -> None:
        self.ends.append(job)

    def idle(self) -> None:
        self.idles += 1


@contextmanager
def opened_store(path: Path, clock: FakeClock) -> Iterator[SqlStore]:
    """Open a store on the queue file `path`; close it afterwards."""
    store = SqlStore(open_database(path, clock))
    try:
        yield store
    finally:
        store.close()


def make_job(name: str = "job-1", folder: Path = Path("/films"), **changes: object) -> Job:
    """Make a newly submitted job with a batch size of two; any field or option by keyword."""
    asked = {name: changes.pop(name) for name in list(changes) if name in _OPTIONS}
    defaults = Options(key=Path("/patient.key"), batch=2, settle=0, retries=0)
    job = Job(
        name=name,
        folder=folder,
        model=Path("/bundle"),
        model_sha256="f" * 64,
        report=folder.parent / f"report-{name}",
        options=replace(defaults, **asked),
        submitted_at="2026-11-22T21:30:05.123+00:00",
    )
    return replace(job, **changes)


def make_schedule(name: str = "nightly", **changes: object) -> Schedule:
    """Make a schedule for 02:30 in Berlin that has never fired; any field or option by keyword."""
    asked = {name: changes.pop(name) for name in list(changes) if name in _OPTIONS}
    planned = Schedule(
        name=name,
        cron="30 2 * * *",
        tz="Europe/Berlin",
        folder="/films",
        report="",
        reports=Path("/reports"),
        model=Path("/bundle"),
        options=replace(Options(key=Path("/patient.key"), settle=0, retries=0), **asked),
        added_at="2026-11-22T21:30:05.123+00:00",
        last=0.0,
    )
    return replace(planned, **changes)


def make_tools(store: SqlStore, screener: Screener, **changes: object) -> Tools:
    """Make tools that screen film by film with `screener`."""

    def opened(job: Job) -> Screener:
        shown_name = screener.key.film if job.options.hash_names else str
        reader = replace(screener.reader, folder=job.folder, limits=job.options.limits)
        return replace(screener, reader=reader, shown_name=shown_name)

    return replace(Tools(store, store, SerialEngine(), opened, Witness(), pace=0), **changes)


def scored_row(film: str, probability: float = 0.25) -> Row:
    """Make a row with a value of each kind."""
    return Row(
        film=film,
        sha256="a" * 64,
        status=Status.SCORED,
        probability=probability,
        prediction="NORMAL",
        threshold=0.5,
        seconds=0.125,
        warnings=(FilmWarning("same_pixels", "größer; =1+1"), FilmWarning("rotated")),
    )


def found(*films: str) -> list[Found]:
    """Make directory entries of a hundred bytes each."""
    return [Found(film, 100) for film in films]


def empty_bundle(folder: Path, threshold: float = 0.5) -> Bundle:
    """Write an intact bundle with a card and a dummy model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").touch()
    make_card(threshold).write(folder)
    seal(folder)
    return Bundle.open(folder)


def table(path: Path) -> list[dict[str, str]]:
    """Read the lines of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_films(folder: Path, number: int) -> list[str]:
    """Write films 0, 1, … of increasing brightness, from 0.2 on; return their names."""
    return [
        write_film(folder / f"{index}.png", seed=index, brightness=0.2 + 0.1 * index).name
        for index in range(number)
    ]
