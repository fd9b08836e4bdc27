"""Progress and results on a terminal.

Its C++ parts write informational lines straight to the file descriptor, and no setting that they
document stops them. Errors still come through.
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
from screening.report.drift.night_comparison import breaches
from screening.results import PNEUMONIA, Row, Status

if TYPE_CHECKING:
    from types import TracebackType

    from jobs.queue.jobs import Job
    from screening.report.writer import Report

#: absl's severity, month and day, or thread-less start-up form; and LiteRT's greeting.
_CHATTER: Final = re.compile(
    rb"^(WARNING: All log messages before absl|INFO: Created TensorFlow|To enable the following instr|[IW]\d{4} )"
)


@contextmanager
def native_logs_filtered() -> Iterator[None]:
    """Within the block, drop chatter that native code writes to standard error."""
    sys.stderr.flush()
    real = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    pump = threading.Thread(target=_pump, args=(reading, real), daemon=True)
    pump.start()
    python_stderr, sys.stderr = sys.stderr, os.fdopen(os.dup(real), "w", buffering=1)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = python_stderr
        # The last copy of the pipe's end goes with this, so the pump sees its end.
        os.dup2(real, 2)
        pump.join(timeout=5)
        os.close(real)


def _pump(reading: int, real: int) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not _CHATTER.match(line):
                os.write(real, line)


_SAID: Final = (
    "precision",
    "recall",
    "precision_with_unscored",
    "recall_with_unscored",
    "ppv_projected",
    "npv_projected",
)


def summary_lines(report: Report) -> Iterator[str]:
    """Counts, labels that were not used, what has drifted, and precision and recall where there are labels."""
    number = Counter(row.status for row in report.rows)
    positive = sum(row.prediction == PNEUMONIA for row in report.rows)
    counts = ", ".join(f"{number[status]} {status.value}" for status in Status)
    yield f"{len(report.rows)} files: {counts}; {positive} called {PNEUMONIA}"
    if report.unused:
        problems = Counter(one.problem.value.replace("_", " ") for one in report.unused)
        counts = ", ".join(f"{count} {problem}" for problem, count in problems.items())
        yield f"Labels not used: {counts}; labels.csv has their lines"
    yield from (display_name(f"Drift: {line.sentence}") for line in breaches(report.drift))
    for line in report.lines:
        figure = line.figure
        if (line.subset, line.unit) != ("all", "film") or line.metric not in _SAID:
            continue
        if figure.value is not None and figure.ci_low is not None and figure.ci_high is not None:
            interval = f"{figure.ci_low:.3f} to {figure.ci_high:.3f}"
            name = line.metric.replace("_", " ")
            yield f"{name} {figure.value:.3f} ({interval}, n = {figure.n})"


class _Bar:
    """A rich progress bar that is silent where nobody watches."""

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
        """A line that stays, above the bar."""
        if self.watched:
            # A name may hold what rich takes for markup.
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            click.echo(line, err=True)


class TrainingProgress(_Bar):
    """Epochs and batches of a training."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._task: TaskID | None = None

    def batch(self, epoch: int, batches: int, done: int, loss: float) -> None:
        """A batch is done."""
        if self._task is None:
            self._task = self.bar.add_task("", total=batches, note="")
        self.bar.update(
            self._task,
            description=f"epoch {epoch + 1}/{self._epochs}",
            completed=done,
            note=f"loss {loss:.4f}",
        )

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is done."""
        figures = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
        self.say(f"epoch {int(row['epoch'])}/{self._epochs}: {figures}")


class ScreeningProgress(_Bar):
    """Films of the job in hand, and what came of it.

    Args:
        live: with a bar, where there is a terminal.
        silent: nothing at all; something else tells of the work.
    """

    def __init__(self, live: bool = True, silent: bool = False) -> None:
        super().__init__(live and not silent)
        self._silent = silent
        self._task: TaskID | None = None

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        if not self._silent:
            super().say(line)

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""
        resumed = f", {films - left} of them done before" if left < films else ""
        where = job.shown_folder if job.options.hash_names else f"in {job.folder}"
        self.say(f"Screening {films} files {where}{resumed}")
        if self._task is not None:
            self.bar.remove_task(self._task)
        self._task = self.bar.add_task(job.name, total=films, completed=films - left, note="")

    def committed(self, rows: list[Row], _seconds: float) -> None:
        """Rows are in the ledger."""
        if self._task is not None:
            self.bar.advance(self._task, len(rows))

    def reported(self, report: Report, _seconds: float) -> None:
        """The report is there."""
        for line in summary_lines(report):
            self.say(line)
        self.say(f"Report: {report.folder}")

    def waiting(self, job: Job) -> None:
        """The job was put off."""
        at = datetime.fromtimestamp(job.not_before).astimezone()
        self.say(f"Job {job.name} waits until {at:%H:%M:%S}: {job.message}")

    def ended(self, job: Job) -> None:
        """The job is done or has failed."""
        if job.exit_code not in (exit_codes.OK, exit_codes.SOME_FAILED):
            self.say(f"Error: job {job.name}: {job.message}")

    def idle(self) -> None:
        """Nothing is said while there is nothing to do."""
