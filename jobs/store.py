"""What a queue must be able to do, whatever it is kept in."""

from collections.abc import Sequence
from typing import Protocol

from jobs.job import Job
from jobs.states import State
from screening.audit import Event
from screening.films import Found
from screening.row import Row


class Store(Protocol):
    """Jobs, the films of each, and their rows.

    Writing methods take the job as it was claimed. They do everything in one transaction, and
    raise :class:`~jobs.errors.LeaseLost` if another worker has claimed the job since.
    """

    def add(self, job: Job) -> None:
        """Queue a new job."""

    def get(self, name: str) -> Job:
        """The job called `name`, or :class:`~jobs.errors.UnknownJob`."""

    def jobs(self, *states: State) -> list[Job]:
        """All jobs, or those in one of these states, oldest first."""

    def claim(self, worker: str, lease: float, only: str | None = None) -> Job | None:
        """Take the oldest job that waits, or whose worker let its lease run out; None if none.

        Args:
            worker: who takes it.
            lease: for how many seconds; each commit renews it.
            only: take this job or none.
        """

    def expire(self, job: Job) -> None:
        """End the lease of a job whose worker is known to be dead."""

    def list_films(self, job: Job, films: Sequence[Found], history: Sequence[Event]) -> None:
        """Write down the films of a job, once, and that this was done.

        They are the rows that the report will have; a job has its films or none.
        """

    def films_left(self, job: Job) -> list[Found]:
        """Films of the job that have no row yet, in the order of the report."""

    def commit(self, job: Job, rows: Sequence[Row], lease: float) -> None:
        """Write rows, each once, and renew the lease."""

    def rows(self, job: Job) -> list[Row]:
        """Rows committed so far, in the order of the report."""

    def record(self, job: Job, event: Event) -> None:
        """Add to the job's history."""

    def events(self, job: Job) -> list[Event]:
        """The job's history, oldest first."""

    def release(self, job: Job) -> None:
        """Give a job back unfinished."""

    def finish(self, job: Job, exit_code: int, message: str = "") -> None:
        """End a job: done for the exit codes 0 and 3, failed for the others."""
