"""Where the time of a job went, and how near that is to what the machine can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from jobs.job import Job
from jobs.watchers import Quiet
from screening.cost import Cost
from screening.row import Row

if TYPE_CHECKING:
    from screening.report.write import Report


class Profile(Quiet):
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
