"""Observers of a worker: metrics, notifications, and the profile of a job."""

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
from jobs.queue.store import JobStore, Outbox
from jobs.worker.job_run import Observer
from screening.inference.costs import Cost
from screening.report.drift.drift_csv import breaches
from screening.results import Row

if TYPE_CHECKING:
    from screening.report.writer import Report

#: Seconds before a failed notification is retried; doubled each time.
_FIRST_DELAY: Final = 60.0

#: Upper limit of that delay: a server that does not answer costs half a minute per attempt.
_MAX_DELAY: Final = 960.0

#: Seconds that one round of notifications may take; the rest is sent in the next round.
_ROUND: Final = 60.0

#: Ends of jobs older than this, in seconds, are not notified any more.
_MAX_AGE: Final = 86400.0


class NullObserver:
    """An observer that does nothing; subclasses override only the methods they need."""

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Rows were committed."""

    def reported(self, report: Report, seconds: float) -> None:
        """The report was written."""

    def waiting(self, job: Job) -> None:
        """The job was postponed."""

    def ended(self, job: Job) -> None:
        """The job is done or has failed."""

    def idle(self) -> None:
        """The worker has nothing to do."""


class Observers:
    """Combines several observers into one."""

    def __init__(self, *watchers: Observer) -> None:
        self._watchers = watchers

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""
        for watcher in self._watchers:
            watcher.started(job, films, left)

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Rows were committed."""
        for watcher in self._watchers:
            watcher.committed(rows, seconds)

    def reported(self, report: Report, seconds: float) -> None:
        """The report was written."""
        for watcher in self._watchers:
            watcher.reported(report, seconds)

    def waiting(self, job: Job) -> None:
        """The job was postponed."""
        for watcher in self._watchers:
            watcher.waiting(job)

    def ended(self, job: Job) -> None:
        """The job is done or has failed."""
        for watcher in self._watchers:
            watcher.ended(job)

    def idle(self) -> None:
        """The worker has nothing to do."""
        for watcher in self._watchers:
            watcher.idle()


class MetricsWriter(NullObserver):
    """Counts a worker's work, and writes metrics periodically and at the end of each job.

    Args:
        store: queried for the queue's state, without retries; the next write is the next attempt.
        clock: seconds since the epoch.
        every: seconds between two writes.
    """

    def __init__(
        self, metrics: Metrics, store: JobStore, clock: Callable[[], float], every: float = 15.0
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
        """Record the time spent on the report, and drift."""
        self._metrics.reported(seconds, Counter(line.measure for line in breaches(report.drift)))

    def ended(self, job: Job) -> None:
        """Count a job."""
        self._metrics.ended(exit_codes.ERROR if job.exit_code is None else job.exit_code)
        self._write()

    def idle(self) -> None:
        """Write the file if it is due."""
        # Write also if the clock was set back.
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
            # The file keeps the previous values for the queue.
            pass
        self._metrics.write()


class NotificationObserver(NullObserver):
    """Sends notifications of ended jobs: once each, or again if delivery is uncertain.

    A failed delivery is retried after one minute, two, four, and so on; jobs are not affected.

    Args:
        store: queried without retries, like `outbox`; the next round is the next attempt.
        clock: seconds since the epoch.
    """

    def __init__(
        self, notifier: Notifier, store: JobStore, outbox: Outbox, clock: Callable[[], float]
    ) -> None:
        self._notifier = notifier
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._next = 0.0
        self._wait = _FIRST_DELAY
        self._failures: Counter[str] = Counter()

    def ended(self, _job: Job) -> None:
        """Notify; the job is not affected if that fails."""
        if self._wait == _FIRST_DELAY or self._is_due():
            self._notify_pending()

    def idle(self) -> None:
        """Notify of jobs whose worker died before it did, and retry failed deliveries."""
        if self._is_due():
            self._notify_pending()

    def _is_due(self) -> bool:
        # Due also if the clock was set back.
        return not 0 < self._next - self._clock() <= _MAX_DELAY

    def _notify_pending(self) -> None:
        began = self._clock()
        since = datetime.fromtimestamp(began - _MAX_AGE, UTC).isoformat(timespec="milliseconds")
        self._next = began + _FIRST_DELAY
        try:
            pending = self._outbox.pending_notifications(since)
            # Jobs with failed deliveries come last, so that they do not block the others.
            for job in sorted(pending, key=lambda job: self._failures[job.name]):
                if not 0 <= self._clock() - began < _ROUND:
                    return
                self._notify(job)
        except NotificationFailed as error:
            structlog.get_logger().error("not_notified", job=job.name, error=str(error))
            self._failures = Counter({each.name: self._failures[each.name] for each in pending})
            self._failures[job.name] += 1
            self._next = self._clock() + self._wait
            self._wait = min(2 * self._wait, _MAX_DELAY)
        except QueueUnavailable:
            # The next round will notify.
            pass

    def _notify(self, job: Job) -> None:
        counts = self._store.counts(job)
        self._notifier.notify(job, {status.value: n for status, n in counts.items()})
        self._wait = _FIRST_DELAY
        self._outbox.mark_notified(job)


class JobProfile(NullObserver):
    """Adds up the cost of films; the engine reports costs to :meth:`told`.

    Args:
        cores: number of cores used.
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
        """Films were screened; building their rows took `rows` processor seconds."""
        self._films += len(costs)
        self._rows += rows
        for cost in costs:
            self._cost += cost

    def started(self, _job: Job, _films: int, _left: int) -> None:
        """Screening begins."""
        self._first = self._last = self._clock()

    def committed(self, _rows: list[Row], seconds: float) -> None:
        """Rows were committed."""
        self._commits += seconds
        self._last = self._clock()

    def reported(self, _report: Report, seconds: float) -> None:
        """The report was written."""
        self._report += seconds

    def lines(self) -> Iterator[str]:
        """Yield the lines of a readable table of the stages."""
        if not self._films:
            yield "No film was screened."
            return
        stages = {
            "reading and hash": self._cost.reading,
            "decoding": self._cost.decoding,
            "preparing": self._cost.preparing,
            "inference": self._cost.inference,
            # Only bundles with a lung network have this stage.
            **({"lungs": self._cost.lungs} if self._cost.lungs else {}),
            "answering": self._cost.answering,
            "rows": self._rows,
            "commits": self._commits,
        }
        spent, elapsed = sum(stages.values()), self._last - self._first
        yield f"{'stage':<18}{'ms/film':>10}{'share':>8}"
        for name, seconds in stages.items():
            yield f"{name:<18}{1e3 * seconds / self._films:>10.2f}{seconds / spent:>8.0%}"
        yield f"{'all':<18}{1e3 * spent / self._films:>10.2f}"
        pace, most = self._films / max(elapsed, 1e-9), self._cores * self._films / spent
        yield (
            f"{self._films:,} films in {elapsed:.1f} s: {pace:.1f} per second, {pace / most:.0%} of "
            f"the {most:.1f} that {self._cores} cores could do with these stages alone"
        )
        yield f"start-up {self._first - self._began:.1f} s, report {self._report:.1f} s"
