"""What a queue knows about jobs to come, whatever it is kept in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobs.job import Job
from jobs.schedule import Firing, Schedule


@dataclass(frozen=True)
class Watched:
    """A sub-folder that has become a job.

    Attributes:
        modified_ns: when its list of entries last changed, as it was then; nanoseconds since 1970.
        job: name of the job.
    """

    modified_ns: int
    job: str


class Agenda(Protocol):
    """Schedules with their firings, and the sub-folders that have become jobs.

    A method does everything in one transaction, and may be called again after its answer was lost.
    """

    def add(self, schedule: Schedule) -> None:
        """Add a schedule.

        Raises:
            ScheduleError: if another one has its name.
        """

    def schedules(self) -> list[Schedule]:
        """All of them, by name."""

    def remove(self, name: str) -> None:
        """Forget a schedule and its firings; jobs that it has queued stay.

        Raises:
            ScheduleError: if there is none.
        """

    def firings(self, name: str) -> list[Firing]:
        """The firings of a schedule that were dealt with, oldest first."""

    def fire(
        self, schedule: Schedule, due: Mapping[int, Job], skipped: Sequence[int], last: int
    ) -> bool:
        """Queue the jobs of firings that are due; False if somebody else has done it.

        Args:
            schedule: as it was read; its `last` must still be the one in the queue.
            due: jobs by the time of their firing.
            skipped: firings that are not made up for.
            last: the newest of all of them.
        """

    def reports(self, name: str) -> set[Path]:
        """Where the reports of a schedule's open jobs will go."""

    def watched(self, folder: Path, names: Collection[str]) -> dict[str, Watched]:
        """Those of these sub-folders of `folder` that have become jobs, by name."""

    def watch(self, folder: Path, name: str, modified_ns: int, job: Job) -> bool:
        """Queue the job of a sub-folder; False if it has become a job before."""

    def rewatch(self, folder: Path, name: str, modified_ns: int) -> None:
        """A sub-folder has changed since it became a job."""
