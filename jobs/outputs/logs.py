"""Structured logs: one event per line, with the job and the film it concerns.

A film is identified by the first 16 hex digits of its file's SHA-256, which leads to its line in
``predictions.csv``, and by its position among the committed films. Its file name is never logged:
it may contain a patient's name, and logs are sent to places where reports are not. For the same
reason folders and error messages are not logged; ``screening jobs show`` prints them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from jobs import exit_codes
from screening.files import display_name, now
from screening.report.drift.drift_csv import breaches
from screening.results import Row, Status

if TYPE_CHECKING:
    from jobs.queue.jobs import Job
    from screening.report.writer import Report

_FIRST: Final = ("at", "level", "event", "job")
_LEVELS: Final = {
    exit_codes.OK: logging.INFO,
    exit_codes.SOME_FAILED: logging.WARNING,
}


def configure(json: bool, stream: TextIO) -> None:
    """Send the log of this process to `stream`; called once, by the command line.

    Args:
        json: write one JSON object per line; otherwise ``key=value`` pairs (logfmt).

    Every line has `at` (UTC, ISO 8601), `level`, `event`, and the values bound to its thread with
    :mod:`structlog.contextvars`. A thread started later must bind its own.
    """
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if json
        else [_printable, structlog.processors.LogfmtRenderer(key_order=_FIRST, drop_missing=True)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_time,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    set_on_retry_hooks([_log_retry])


def _log_retry(details: RetryDetails) -> None:
    structlog.get_logger().warning(
        "tried_again_later", seconds=round(details.wait_for, 2), error=str(details.caused_by)
    )


class LogObserver:
    """Logs the progress of a job and the films that failed or were refused.

    From :meth:`started` to :meth:`ended`, the job's name is bound to everything that this thread
    logs.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._log = structlog.get_logger()
        self._began: float | None = None
        self._last = 0.0
        self._position = 0

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""
        structlog.contextvars.bind_contextvars(job=job.name)
        self._began = self._last = self._clock()
        self._position = films - left
        self._log.info(
            "job_started",
            worker=job.worker,
            claim=job.fence,
            model_sha256=job.model_sha256[:16],
            films=films,
            left=left,
        )

    def committed(self, rows: list[Row], _seconds: float) -> None:
        """Rows were committed."""
        before, self._last = self._last, self._clock()
        self._log.info(
            "batch_committed",
            films=len(rows),
            **_numbers(rows),
            seconds=round(self._last - before, 3),
        )
        for row in rows:
            self._position += 1
            self._film(row)

    def reported(self, report: Report, seconds: float) -> None:
        """The report was written."""
        numbers = _numbers(report.rows)
        self._log.info("job_reported", films=len(report.rows), **numbers, seconds=round(seconds, 3))
        for line in breaches(report.drift):
            # The sentence of the breach may name a manufacturer, which comes from the films.
            self._log.warning(
                "drift", measure=line.measure, against=line.against, window=line.window
            )

    def waiting(self, job: Job) -> None:
        """The job was postponed; the reason is not logged, because it may name a folder."""
        level = logging.WARNING if job.attempts else logging.INFO
        self._log.log(level, "job_waiting", job=job.name, attempts=job.attempts)

    def idle(self) -> None:
        """Log nothing."""

    def ended(self, job: Job) -> None:
        """The job has ended; it may have failed before it started."""
        exit_code = exit_codes.ERROR if job.exit_code is None else job.exit_code
        took = {} if self._began is None else {"seconds": round(self._clock() - self._began, 3)}
        level = _LEVELS.get(exit_code, logging.ERROR)
        self._log.log(level, "job_ended", job=job.name, exit_code=exit_code, **took)
        self._began = None
        structlog.contextvars.unbind_contextvars("job")

    def _film(self, row: Row) -> None:
        """Log a film that failed or was refused.

        A duplicate has the result of its first file, and thousands of films that were not reached
        are one failure of the job.
        """
        code = row.reason_code
        if row.status not in (Status.FAILED, Status.REFUSED) or code == "not_screened":
            return
        level = logging.WARNING if row.status is Status.FAILED else logging.INFO
        # A film that could not be read has no hash.
        film = {"film": row.sha256[:16]} if row.sha256 else {}
        self._log.log(
            level, f"film_{row.status.value}", **film, position=self._position, reason=code
        )


def _numbers(rows: Sequence[Row]) -> dict[str, int]:
    number = Counter(row.status for row in rows)
    return {status.value: number[status] for status in Status}


def _add_time(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {"at": now(), **event}


def _printable(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep text from outside on one line and free of terminal control characters."""
    return {
        key: display_name(value) if isinstance(value, str) else value
        for key, value in event.items()
    }
