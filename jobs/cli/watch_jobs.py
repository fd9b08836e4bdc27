"""Show the progress of open jobs: a table on a terminal, lines elsewhere."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol, Self

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.cli import job_view
from jobs.cli.job_view import empty_table, failed_films, fields
from jobs.errors import UnknownJob
from jobs.queue.jobs import OPEN, Job, State
from jobs.queue.store import JobStore
from screening.files import now

#: Seconds over which throughput is averaged: rows arrive in batches, and films differ.
_WINDOW: Final = 60.0


class Throughput:
    """Films per second, from the number of finished films at each sample.

    Args:
        clock: monotonic time in seconds.
        window: seconds over which to average; at least the time between the last two samples.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, window: float = _WINDOW
    ) -> None:
        self._clock = clock
        self._window = window
        self._samples: deque[tuple[float, int]] = deque()

    def look(self, done: int) -> float | None:
        """Add a sample and return the films per second; None while that is unknown."""
        now = self._clock()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()
        began, first = self._samples[0]
        return (done - first) / (now - began) if now > began else None


def seconds_left(films: int, rate: float | None) -> float | None:
    """Return the estimated seconds for `films` more films; None if the rate is unknown or 0."""
    return films / rate if rate else None


@dataclass(frozen=True)
class JobProgress:
    """The progress of a job at one moment.

    Attributes:
        failed: films that have failed so far.
        rate: films per second; None if the job is not running or the rate is not known yet.
        left: estimated seconds until the last film is done; None if unknown.
        note: what the job waits for, or why it ended.
    """

    job: Job
    failed: int
    rate: float | None
    left: float | None
    note: str


class JobMonitor:
    """Reads the progress of the jobs in a queue.

    Args:
        names: jobs to watch, including those that have ended; if empty, all open jobs, and each of
            them once more after it has ended.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, store: JobStore, names: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._open: list[str] = []
        self._throughputs: dict[tuple[str, int], Throughput] = {}

    def look(self) -> list[JobProgress]:
        """Return the jobs as they are now, running ones first."""
        waiting = self._store.jobs(*OPEN)
        jobs = list(self._named() if self._names else [*self._ended(waiting), *waiting])
        self._open = [job.name for job in jobs if job.state in OPEN]
        jobs.sort(key=lambda job: job.state is State.QUEUED)
        return [self._snapshot(job, waiting) for job in jobs]

    def _named(self) -> Iterator[Job]:
        for name in self._names:
            yield self._store.get(name)

    def _ended(self, waiting: Sequence[Job]) -> Iterator[Job]:
        open_now = {job.name for job in waiting}
        for name in self._open:
            if name in open_now:
                continue
            try:
                yield self._store.get(name)
            except UnknownJob:
                # The job was pruned in the meantime.
                continue

    def _snapshot(self, job: Job, waiting: Sequence[Job]) -> JobProgress:
        rate = left = None
        if job.state is State.RUNNING:
            # A job that another worker takes over gets a new measurement.
            throughput = self._throughputs.setdefault(
                (job.name, job.fence), Throughput(self._clock)
            )
            rate = throughput.look(job.committed)
            left = seconds_left(job.films - job.committed, rate) if job.films else None
        failed = failed_films(self._store, job)
        return JobProgress(job, failed, rate, left, job_view.note(job, waiting, time.time()))


class Display(Protocol):
    """An output for progress."""

    def show(self, snapshots: Sequence[JobProgress]) -> None:
        """Show the current progress."""


def watch(
    monitor: JobMonitor,
    display: Display,
    interval: float,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Job]:
    """Show the jobs every `interval` seconds until none is open; return them as they ended."""
    while True:
        snapshots = monitor.look()
        display.show(snapshots)
        if not any(snapshot.job.state in OPEN for snapshot in snapshots):
            return [snapshot.job for snapshot in snapshots]
        sleep(interval)


def display_on(console: Console, as_json: bool) -> AbstractContextManager[Display]:
    """Return the display for a program, a terminal or a file."""
    if as_json:
        return nullcontext(JsonLines())
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveTable(console)
    return nullcontext(Lines())


class JsonLines:
    """Prints one JSON object per update, on a line of its own."""

    def show(self, snapshots: Sequence[JobProgress]) -> None:
        jobs = [
            fields(snapshot.job, snapshot.failed)
            | {"films_per_second": _round(snapshot.rate), "seconds_left": _round(snapshot.left)}
            for snapshot in snapshots
        ]
        click.echo(json.dumps({"at": now(), "jobs": jobs}))


class Lines:
    """Prints a line for each job that has changed since the last update."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[object, ...]] = {}

    def show(self, snapshots: Sequence[JobProgress]) -> None:
        for snapshot in snapshots:
            job = snapshot.job
            seen = (job.state, job.fence, job.films, job.committed, snapshot.note)
            if self._before.get(job.name) != seen:
                self._before[job.name] = seen
                click.echo(f"{now()}  {line(snapshot)}")


def line(snapshot: JobProgress) -> str:
    """Format the progress of a job as one line."""
    job = snapshot.job
    words = [job.name, f"{job.state.value:<9}", job_view.progress(job)]
    if snapshot.failed:
        words.append(f"{snapshot.failed} failed")
    if job.state is State.RUNNING:
        words += [_rate(snapshot), _left(snapshot), job_view.worker(job)]
    return "  ".join(word for word in [*words, snapshot.note] if word)


class LiveTable:
    """A table that is updated in place; jobs that end are printed above it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._printed: set[str] = set()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def show(self, snapshots: Sequence[JobProgress]) -> None:
        for snapshot in snapshots:
            name = snapshot.job.name
            if snapshot.job.state in OPEN:
                self._printed.discard(name)
            elif name not in self._printed:
                self._printed.add(name)
                self._live.console.print(Text(line(snapshot)))
        open_now = [snapshot for snapshot in snapshots if snapshot.job.state in OPEN]
        self._live.update(table(open_now) if open_now else "", refresh=True)


def table(snapshots: Sequence[JobProgress]) -> Table:
    """Return the open jobs as a table for a terminal of at least 80 columns."""
    shown = empty_table()
    shown.expand = True
    shown.add_column("JOB", no_wrap=True)
    shown.add_column("PROGRESS", ratio=1, no_wrap=True, min_width=8)
    for title in ("FILMS", "FILMS/S", "LEFT"):
        shown.add_column(title, no_wrap=True, justify="right")
    shown.add_column("WORKER", no_wrap=True, max_width=24)
    for snapshot in snapshots:
        job = snapshot.job
        shown.add_row(
            job.name,
            _progress(snapshot),
            job_view.progress(job),
            _rate(snapshot).removesuffix(" films/s"),
            _left(snapshot).removesuffix(" left"),
            job_view.worker(job),
        )
    return shown


def _progress(snapshot: JobProgress) -> RenderableType:
    """Return a progress bar, or a text that says why it is missing."""
    job = snapshot.job
    if job.films and not snapshot.note:
        return ProgressBar(total=job.films, completed=job.committed)
    return Text(snapshot.note or job.state.value, style="dim", overflow="ellipsis")


def _rate(snapshot: JobProgress) -> str:
    return "" if snapshot.rate is None else f"{snapshot.rate:.1f} films/s"


def _left(snapshot: JobProgress) -> str:
    return "" if snapshot.left is None else f"{job_view.duration_text(snapshot.left)} left"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
