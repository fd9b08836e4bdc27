"""Observers of a worker: logs, metrics, notifications, and the profile of a job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from jobs import exit_codes
from jobs.errors import NotificationFailed, QueueUnavailable
from jobs.outputs.metrics import Metrics
from jobs.outputs.notifications import Notifier
from jobs.queue.jobs import Job, State
from jobs.queue.store import Store
from jobs.worker.job_run import Observer
from screening.inference.costs import Cost
from screening.report.drift.night_comparison import breaches
from screening.results import Row

if TYPE_CHECKING:
    from screening.report.writer import Report

#: Seconds until somebody who could not be told is told again; doubled each time.
_AGAIN: Final = 60.0

#: At most so many: a server that does not answer takes half a minute of the night.
_SELDOM: Final = 960.0

#: Seconds after which telling goes on later.
_LONG: Final = 60.0

#: What ended longer ago, in seconds, is no news any more.
_NEWS: Final = 86400.0


class NullObserver:
    """A watcher that does nothing; others are told only of what they ask for."""

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Rows are in the ledger."""

    def reported(self, report: Report, seconds: float) -> None:
        """The report is there."""

    def waiting(self, job: Job) -> None:
        """The job was put off."""

    def ended(self, job: Job) -> None:
        """The job is done or has failed."""

    def idle(self) -> None:
        """There is nothing to do just now."""


class Observers:
    """Several watchers as one."""

    def __init__(self, *watchers: Observer) -> None:
        self._watchers = watchers

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""
        for watcher in self._watchers:
            watcher.started(job, films, left)

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Rows are in the ledger."""
        for watcher in self._watchers:
            watcher.committed(rows, seconds)

    def reported(self, report: Report, seconds: float) -> None:
        """The report is there."""
        for watcher in self._watchers:
            watcher.reported(report, seconds)

    def waiting(self, job: Job) -> None:
        """The job was put off."""
        for watcher in self._watchers:
            watcher.waiting(job)

    def ended(self, job: Job) -> None:
        """The job is done or has failed."""
        for watcher in self._watchers:
            watcher.ended(job)

    def idle(self) -> None:
        """There is nothing to do just now."""
        for watcher in self._watchers:
            watcher.idle()


class MetricsWriter(NullObserver):
    """Counts what a worker does, and writes its metrics every so often and at the end of each job.

    Args:
        store: asked how full the queue is, once; the next time is the next try.
        clock: seconds since the epoch.
        every: seconds between two writings.
    """

    def __init__(
        self, metrics: Metrics, store: Store, clock: Callable[[], float], every: float = 15.0
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._every = every
        self._written = 0.0

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Count films."""
        self._metrics.committed(rows, seconds)
        self.idle()

    def reported(self, report: Report, seconds: float) -> None:
        """Count the time of the report, and what has drifted."""
        self._metrics.reported(seconds, Counter(line.measure for line in breaches(report.drift)))

    def ended(self, job: Job) -> None:
        """Count a job."""
        self._metrics.ended(exit_codes.ERROR if job.exit_code is None else job.exit_code)
        self._write()

    def idle(self) -> None:
        """Write, if it is time to."""
        # A clock that was put back does not keep the file from being written.
        if not 0 <= self._clock() - self._written < self._every:
            self._write()

    def _write(self) -> None:
        self._written = self._clock()
        try:
            waiting = [
                job for job in self._store.jobs(State.QUEUED) if job.not_before <= self._written
            ]
            oldest = min((job.submitted for job in waiting), default=None)
            age = None if oldest is None else max(0.0, self._written - oldest)
            self._metrics.queue(self._store.totals(), age)
        except QueueUnavailable:
            # The file then has the figures of the last time.
            pass
        self._metrics.write()


class NotificationObserver(NullObserver):
    """Tells somebody else that a job has ended: once, or again if it cannot be sure.

    Whom nobody can reach is tried after one minute, two, four, and so on, while jobs end in peace.

    Args:
        store: asked once; the next time is the next try.
        clock: seconds since the epoch.
    """

    def __init__(self, notifier: Notifier, store: Store, clock: Callable[[], float]) -> None:
        self._notifier = notifier
        self._store = store
        self._clock = clock
        self._next = 0.0
        self._wait = _AGAIN
        self._failures: Counter[str] = Counter()

    def ended(self, _job: Job) -> None:
        """Tell of it; the job is not affected if that fails."""
        if self._wait == _AGAIN or self._is_time():
            self._tell()

    def idle(self) -> None:
        """Tell of jobs whose worker died before it could, and try again where telling failed."""
        if self._is_time():
            self._tell()

    def _is_time(self) -> bool:
        # A clock that was put back does not keep anybody waiting.
        return not 0 < self._next - self._clock() <= _SELDOM

    def _tell(self) -> None:
        began = self._clock()
        since = datetime.fromtimestamp(began - _NEWS, UTC).isoformat(timespec="milliseconds")
        self._next = began + _AGAIN
        try:
            untold = self._store.pending_notifications(since)
            # One of which nobody can be told does not keep the others back.
            for job in sorted(untold, key=lambda job: self._failures[job.name]):
                if not 0 <= self._clock() - began < _LONG:
                    return
                self._tell_of(job)
        except NotificationFailed as error:
            structlog.get_logger().error("not_notified", job=job.name, error=str(error))
            self._failures = Counter({each.name: self._failures[each.name] for each in untold})
            self._failures[job.name] += 1
            self._next = self._clock() + self._wait
            self._wait = min(2 * self._wait, _SELDOM)
        except QueueUnavailable:
            # It is told of the next time.
            pass

    def _tell_of(self, job: Job) -> None:
        counts = self._store.counts(job)
        self._notifier.notify(job, {status.value: n for status, n in counts.items()})
        self._wait = _AGAIN
        self._store.tell(job)


class JobProfile(NullObserver):
    """Adds up what films cost; a watcher that an engine tells of them, too.

    Args:
        cores: that screen.
        clock: seconds.
    """

    def __init__(self, cores: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._cores = cores
        self._clock = clock
        self._began = self._first = self._last = clock()
        self._cost = Cost()
        self._films = 0
        self._rows = 0.0
        self._commits = 0.0
        self._report = 0.0

    def told(self, costs: list[Cost], rows: float) -> None:
        """Films were screened; making their rows took so many processor seconds."""
        self._films += len(costs)
        self._rows += rows
        for cost in costs:
            self._cost += cost

    def started(self, _job: Job, _films: int, _left: int) -> None:
        """Screening begins."""
        self._first = self._last = self._clock()

    def committed(self, _rows: list[Row], seconds: float) -> None:
        """Rows are in the ledger."""
        self._commits += seconds
        self._last = self._clock()

    def reported(self, _report: Report, seconds: float) -> None:
        """The report is there."""
        self._report += seconds

    def lines(self) -> Iterator[str]:
        """A table of the stages, for people."""
        if not self._films:
            yield "No film was screened."
            return
        stages = {
            "reading and hash": self._cost.reading,
            "decoding": self._cost.decoding,
            "preparing": self._cost.preparing,
            "inference": self._cost.inference,
            # A bundle without a lung network does not have this stage.
            **({"lungs": self._cost.lungs} if self._cost.lungs else {}),
            "answering": self._cost.answering,
            "rows": self._rows,
            "commits": self._commits,
        }
        spent, elapsed = sum(stages.values()), self._last - self._first
        yield f"{'stage':<18}{'ms a film':>10}{'share':>8}"
        for name, seconds in stages.items():
            yield f"{name:<18}{1e3 * seconds / self._films:>10.2f}{seconds / spent:>8.0%}"
        yield f"{'all':<18}{1e3 * spent / self._films:>10.2f}"
        pace, most = self._films / max(elapsed, 1e-9), self._cores * self._films / spent
        yield (
            f"{self._films:,} films in {elapsed:.1f} s: {pace:.1f} a second; with nothing but these "
            f"stages {self._cores} cores could do {most:.1f}: {pace / most:.0%}"
        )
        yield f"start-up {self._first - self._began:.1f} s, report {self._report:.1f} s"
