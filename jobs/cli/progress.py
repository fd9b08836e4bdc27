"""Progress bars and result summaries on a terminal, and a filter for native log lines.

The C++ parts of TensorFlow and LiteRT write informational lines directly to the file descriptor,
and none of their documented settings stops them. Errors still come through.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jobs import exit_codes
from screening.files import display_name
from screening.report.drift.drift_csv import breaches
from screening.results import PNEUMONIA, Row, Status

if TYPE_CHECKING:
    from types import TracebackType

    from jobs.queue.jobs import Job
    from screening.report.writer import Report

#: Lines of absl (severity, month and day, or the form before initialisation) and of LiteRT.
_NATIVE_LOGS: Final = re.compile(
    rb"^(WARNING: All log messages before absl|INFO: Created TensorFlow|To enable the following instr|[IW]\d{4} )"
)


@contextmanager
def native_logs_filtered() -> Iterator[None]:
    """Within the block, drop informational lines that native code writes to standard error."""
    sys.stderr.flush()
    real = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    forwarder = threading.Thread(target=_forward, args=(reading, real), daemon=True)
    forwarder.start()
    python_stderr, sys.stderr = sys.stderr, os.fdopen(os.dup(real), "w", buffering=1)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = python_stderr
        # This closes the last copy of the pipe's write end, so that the forwarding thread ends.
        os.dup2(real, 2)
        forwarder.join(timeout=5)
        os.close(real)


def _forward(reading: int, real: int) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not _NATIVE_LOGS.match(line):
                os.write(real, line)


_SUMMARY_METRICS: Final = (
    "precision",
    "recall",
    "precision_with_unscored",
    "recall_with_unscored",
    "ppv_projected",
    "npv_projected",
)


def summary_lines(report: Report) -> Iterator[str]:
    """Yield counts, unused labels, drift alerts and, with labels, precision and recall."""
    number = Counter(row.status for row in report.rows)
    positive = sum(row.prediction == PNEUMONIA for row in report.rows)
    counts = ", ".join(f"{number[status]} {status.value}" for status in Status)
    yield f"{len(report.rows)} files: {counts}; {positive} flagged as {PNEUMONIA}"
    if report.unused:
        problems = Counter(one.problem.value.replace("_", " ") for one in report.unused)
        counts = ", ".join(f"{count} {problem}" for problem, count in problems.items())
        yield f"Labels not used: {counts}; see labels.csv"
    yield from (display_name(f"Drift: {line.sentence}") for line in breaches(report.drift))
    for line in report.lines:
        figure = line.figure
        if (line.subset, line.unit) != ("all", "film") or line.metric not in _SUMMARY_METRICS:
            continue
        if figure.value is not None and figure.ci_low is not None and figure.ci_high is not None:
            interval = f"{figure.ci_low:.3f} to {figure.ci_high:.3f}"
            name = line.metric.replace("_", " ")
            yield f"{name} {figure.value:.3f} ({interval}, n = {figure.n})"


class _Bar:
    """A rich progress bar, shown only on a terminal."""

    def __init__(self, live: bool = True) -> None:
        console = Console(stderr=True)
        self.watched = live and sys.stderr.isatty()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self.watched,
        )

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        """Print a line that stays above the bar."""
        if self.watched:
            # File names can contain rich's markup.
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            click.echo(line, err=True)


class TrainingProgress(_Bar):
    """Epochs and batches of a training run."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._task: TaskID | None = None

    def batch(self, epoch: int, batches: int, done: int, loss: float) -> None:
        """Update the bar after a batch."""
        if self._task is None:
            self._task = self.bar.add_task("", total=batches, note="")
        self.bar.update(
            self._task,
            description=f"epoch {epoch + 1}/{self._epochs}",
            completed=done,
            note=f"loss {loss:.4f}",
        )

    def epoch(self, row: dict[str, float]) -> None:
        """Print the figures of a finished epoch."""
        figures = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        self.say(f"epoch {int(row['epoch'])}/{self._epochs}: {figures}")


class ScreeningProgress(_Bar):
    """Progress and results of the current job.

    Args:
        live: show a bar if standard error is a terminal.
        silent: print nothing, because the log reports the progress.
    """

    def __init__(self, live: bool = True, silent: bool = False) -> None:
        super().__init__(live and not silent)
        self._silent = silent
        self._task: TaskID | None = None

    def say(self, line: str) -> None:
        """Print a line that stays above the bar, unless silent."""
        if not self._silent:
            super().say(line)

    def started(self, job: Job, films: int, left: int) -> None:
        """Start the bar of a job."""
        resumed = f", {films - left} of them already done" if left < films else ""
        where = job.shown_folder if job.options.hash_names else f"in {job.folder}"
        self.say(f"Screening {films} files {where}{resumed}")
        if self._task is not None:
            self.bar.remove_task(self._task)
        self._task = self.bar.add_task(job.name, total=films, completed=films - left, note="")

    def committed(self, rows: list[Row], _seconds: float) -> None:
        """Advance the bar by the committed rows."""
        if self._task is not None:
            self.bar.advance(self._task, len(rows))

    def reported(self, report: Report, _seconds: float) -> None:
        """Print the summary and the location of the report."""
        for line in summary_lines(report):
            self.say(line)
        self.say(f"Report: {report.folder}")

    def waiting(self, job: Job) -> None:
        """Print until when and why a job was postponed."""
        at = datetime.fromtimestamp(job.not_before).astimezone()
        self.say(f"Job {job.name} waits until {at:%H:%M:%S}: {job.message}")

    def ended(self, job: Job) -> None:
        """Print the error if the job has failed."""
        if job.exit_code not in (exit_codes.OK, exit_codes.SOME_FAILED):
            self.say(f"Error: job {job.name}: {job.message}")

    def idle(self) -> None:
        """Print nothing while the queue is empty."""
