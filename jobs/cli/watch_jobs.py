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
from jobs.queue.store import Store
from screening.files import now

#: Seconds over which the pace is taken: rows come in batches, and films differ.
_WINDOW: Final = 60.0


class Throughput:
    """Films a second, from how many there were at each look.

    Args:
        clock: seconds that never go back.
        window: how many of them count; the time between the last two looks, if that is longer.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, window: float = _WINDOW
    ) -> None:
        self._clock = clock
        self._window = window
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, done: int) -> float | None:
        """Films a second, now that so many are done; None as long as that is not known."""
        now = self._clock()
        self._looks.append((now, done))
        while len(self._looks) > 2 and now - self._looks[1][0] >= self._window:
            self._looks.popleft()
        began, first = self._looks[0]
        return (done - first) / (now - began) if now > began else None


def seconds_left(films: int, rate: float | None) -> float | None:
    """How long so many films will take; None if there is no telling."""
    return films / rate if rate else None


@dataclass(frozen=True)
class JobProgress:
    """A job at one moment.

    Attributes:
        failed: films that have failed so far.
        rate: films a second; None if it is not running, or that is not known yet.
        left: seconds until its last film is done, as it looks; None likewise.
        note: what it waits for, or why it ended as it did.
    """

    job: Job
    failed: int
    rate: float | None
    left: float | None
    note: str


class JobMonitor:
    """Looks at the jobs of a queue.

    Args:
        names: those to look at, also when they have ended; without any, whatever is open, and once
            more when it has ended.
        clock: seconds that never go back.
    """

    def __init__(
        self, store: Store, names: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._open: list[str] = []
        self._paces: dict[tuple[str, int], Throughput] = {}

    def look(self) -> list[JobProgress]:
        """The jobs as they are now, those that run first."""
        waiting = self._store.jobs(*OPEN)
        jobs = list(self._named() if self._names else [*self._ended(waiting), *waiting])
        self._open = [job.name for job in jobs if job.state in OPEN]
        jobs.sort(key=lambda job: job.state is State.QUEUED)
        return [self._glance(job, waiting) for job in jobs]

    def _named(self) -> Iterator[Job]:
        for name in self._names:
            yield self._store.get(name)

    def _ended(self, waiting: Sequence[Job]) -> Iterator[Job]:
        still = {job.name for job in waiting}
        for name in self._open:
            if name in still:
                continue
            try:
                yield self._store.get(name)
            except UnknownJob:
                # Somebody has pruned it already.
                continue

    def _glance(self, job: Job, waiting: Sequence[Job]) -> JobProgress:
        rate = left = None
        if job.state is State.RUNNING:
            # Another worker has another pace.
            pace = self._paces.setdefault((job.name, job.fence), Throughput(self._clock))
            rate = pace.look(job.committed)
            left = seconds_left(job.films - job.committed, rate) if job.films else None
        failed = failed_films(self._store, job)
        return JobProgress(job, failed, rate, left, job_view.note(job, waiting, time.time()))


class Display(Protocol):
    """Where glances are shown."""

    def show(self, glances: Sequence[JobProgress]) -> None:
        """What was seen now."""


def watch(
    lookout: JobMonitor,
    display: Display,
    interval: float,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Job]:
    """Look and show, every `interval` seconds, until no job is open; the jobs as they ended."""
    while True:
        glances = lookout.look()
        display.show(glances)
        if not any(glance.job.state in OPEN for glance in glances):
            return [glance.job for glance in glances]
        sleep(interval)


def display_on(console: Console, as_json: bool) -> AbstractContextManager[Display]:
    """The display that suits who reads: a program, a terminal, or a file."""
    if as_json:
        return nullcontext(JsonLines())
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveTable(console)
    return nullcontext(Lines())


class JsonLines:
    """A JSON object a look, on a line of its own."""

    def show(self, glances: Sequence[JobProgress]) -> None:
        jobs = [
            fields(glance.job, glance.failed)
            | {"films_per_second": _round(glance.rate), "seconds_left": _round(glance.left)}
            for glance in glances
        ]
        click.echo(json.dumps({"at": now(), "jobs": jobs}))


class Lines:
    """A line for each job that has changed since the last look."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[object, ...]] = {}

    def show(self, glances: Sequence[JobProgress]) -> None:
        for glance in glances:
            job = glance.job
            seen = (job.state, job.fence, job.films, job.committed, glance.note)
            if self._before.get(job.name) != seen:
                self._before[job.name] = seen
                click.echo(f"{now()}  {line(glance)}")


def line(glance: JobProgress) -> str:
    """A job in one line."""
    job = glance.job
    said = [job.name, f"{job.state.value:<9}", job_view.progress(job)]
    if glance.failed:
        said.append(f"{glance.failed} failed")
    if job.state is State.RUNNING:
        said += [_rate(glance), _left(glance), job_view.worker(job)]
    return "  ".join(word for word in [*said, glance.note] if word)


class LiveTable:
    """A table that stays in its place; a job that has ended has a line above it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._said: set[str] = set()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def show(self, glances: Sequence[JobProgress]) -> None:
        for glance in glances:
            name = glance.job.name
            if glance.job.state in OPEN:
                self._said.discard(name)
            elif name not in self._said:
                self._said.add(name)
                self._live.console.print(Text(line(glance)))
        still = [glance for glance in glances if glance.job.state in OPEN]
        self._live.update(table(still) if still else "", refresh=True)


def table(glances: Sequence[JobProgress]) -> Table:
    """Open jobs, for a terminal of 80 columns or more."""
    shown = empty_table()
    shown.expand = True
    shown.add_column("JOB", no_wrap=True)
    shown.add_column("PROGRESS", ratio=1, no_wrap=True, min_width=8)
    for title in ("FILMS", "FILMS/S", "LEFT"):
        shown.add_column(title, no_wrap=True, justify="right")
    shown.add_column("WORKER", no_wrap=True, max_width=24)
    for glance in glances:
        job = glance.job
        shown.add_row(
            job.name,
            _progress(glance),
            job_view.progress(job),
            _rate(glance).removesuffix(" films/s"),
            _left(glance).removesuffix(" left"),
            job_view.worker(job),
        )
    return shown


def _progress(glance: JobProgress) -> RenderableType:
    """A bar, or in words why there is none."""
    job = glance.job
    if job.films and not glance.note:
        return ProgressBar(total=job.films, completed=job.committed)
    return Text(glance.note or job.state.value, style="dim", overflow="ellipsis")


def _rate(glance: JobProgress) -> str:
    return "" if glance.rate is None else f"{glance.rate:.1f} films/s"


def _left(glance: JobProgress) -> str:
    return "" if glance.left is None else f"{job_view.duration_text(glance.left)} left"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
