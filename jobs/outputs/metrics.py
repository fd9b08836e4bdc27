"""Prometheus metrics, written to a file for node_exporter's textfile collector.

Names and units follow https://prometheus.io/docs/practices/naming. No label value comes from a
film, a folder or a user.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Info, Summary, generate_latest
from prometheus_client.registry import Collector

from jobs import exit_codes
from jobs.queue.jobs import State
from screening import __version__
from screening.report.drift.drift_csv import NAMES
from screening.results import Row, Status

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_SUCCESS: Final = "screening_last_success_timestamp_seconds"
_SUCCESS_LINE: Final = re.compile(rf"^{_SUCCESS}(?:{{.*}})? ([0-9.e+]+)$", re.MULTILINE)


class Stage(StrEnum):
    """Stages of a job that are timed.

    Reading and scoring are one stage, because a row records only the sum of both.
    """

    SCREEN = "screen"
    COMMIT = "commit"
    REPORT = "report"


class Metrics:
    """Counts the work of one worker and writes it to a file on request.

    All counters start at 0 with the process, which Prometheus treats as a restart. Only the time of
    the last success is taken over from the file of an earlier process.

    Args:
        path: the file; the collector reads it if its name ends in ``.prom``. One per worker.
        clock: seconds since the epoch.
        worker: value of the label `worker` on every metric. Needed when the files of several
            workers are in one folder: the collector drops duplicate series.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.time, worker: str = ""
    ) -> None:
        self._path = path
        self._clock = clock
        self._warned = False
        registry = CollectorRegistry()
        self._collector = _Labelled(registry, {"worker": worker} if worker else {})
        self._films = Counter(
            "screening_films_total", "Films by status.", ["status"], registry=registry
        )
        self._stages = Summary(
            "screening_stage_duration_seconds",
            "Duration of a stage: reading and scoring a film, committing a batch, writing a report.",
            ["stage"],
            registry=registry,
        )
        self._jobs = Counter(
            "screening_jobs_ended_total",
            "Ended jobs by exit code.",
            ["exit_code"],
            registry=registry,
        )
        self._drift = Gauge(
            "screening_drift_breaches",
            "Drift limits that the last report exceeded, by measure.",
            ["measure"],
            registry=registry,
        )
        self._success = Gauge(
            _SUCCESS, "Time of the last job with exit code 0 or 3; 0 if none.", registry=registry
        )
        self._queue = Gauge(
            "screening_queue_jobs", "Jobs in the queue by state.", ["state"], registry=registry
        )
        self._oldest = Gauge(
            "screening_queue_oldest_job_age_seconds",
            "Waiting time of the oldest queued job; 0 if no job is queued.",
            registry=registry,
        )
        build = Info("screening_build", "Versions of screening and Python.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._begin()

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Count films, and the time spent on screening and on the commit."""
        self._spent(Stage.COMMIT, seconds)
        for row in rows:
            self._films.labels(row.status.value).inc()
            if row.reason_code != "not_screened":
                self._spent(Stage.SCREEN, row.seconds)

    def reported(self, seconds: float, breached: Mapping[str, int]) -> None:
        """Record the time spent on the report; its films were counted when they were committed.

        Args:
            breached: number of breached limits by measure; 0 for a missing one.
        """
        self._spent(Stage.REPORT, seconds)
        for measure in NAMES:
            self._drift.labels(measure).set(breached.get(measure, 0))

    def ended(self, exit_code: int) -> None:
        """Count a job."""
        self._jobs.labels(str(exit_code)).inc()
        if exit_code in (exit_codes.OK, exit_codes.SOME_FAILED):
            self._success.set(self._clock())

    def _spent(self, stage: Stage, seconds: float) -> None:
        """Add to the time spent in a stage."""
        self._stages.labels(stage.value).observe(seconds)

    def queue(self, depth: Mapping[State, int], oldest: float | None) -> None:
        """Set the queue metrics for the next write.

        Args:
            depth: jobs by state; 0 for a missing state.
            oldest: seconds that the oldest queued job has waited; None if no job waits.
        """
        for state in State:
            self._queue.labels(state.value).set(depth.get(state, 0))
        self._oldest.set(0 if oldest is None else oldest)

    def write(self) -> None:
        """Write the file atomically, readable for the collector, which runs as another user.

        An unwritable file does not fail a job: it is logged as one warning, and not again until a
        write has succeeded.
        """
        # The collector ignores files that do not end in .prom.
        aside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with aside.open("wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(generate_latest(self._collector))
            aside.replace(self._path)
            self._warned = False
        except OSError as error:
            with suppress(OSError):
                aside.unlink()
            if not self._warned:
                structlog.get_logger().warning(
                    "metrics_not_written", file=str(self._path), error=error.strerror
                )
            self._warned = True

    def _begin(self) -> None:
        """Create every series with value 0, so that rates can be computed from the first event."""
        for status in Status:
            self._films.labels(status.value)
        for stage in Stage:
            self._stages.labels(stage.value)
        for code in (
            exit_codes.OK,
            exit_codes.SOME_FAILED,
            exit_codes.SYSTEMIC_FAILURE,
            exit_codes.ERROR,
        ):
            self._jobs.labels(str(code))
        for measure in NAMES:
            self._drift.labels(measure)
        self.queue({}, None)
        self._success.set(_last_success(self._path))


@dataclass(frozen=True)
class _Labelled(Collector):
    """Adds constant labels to all metrics of a registry.

    The ``_created`` samples, which are not part of Prometheus' text format, are left out.
    """

    registry: CollectorRegistry
    labels: Mapping[str, str]

    def collect(self) -> Iterator[Metric]:
        for metric in self.registry.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, **self.labels})
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ]
            yield metric


def _last_success(path: Path) -> float:
    """Return the last success recorded in the file; 0 if it has none or is unreadable."""
    try:
        written = _SUCCESS_LINE.search(path.read_text(encoding="utf-8"))
        return float(written[1]) if written else 0.0
    except (OSError, ValueError):
        return 0.0
