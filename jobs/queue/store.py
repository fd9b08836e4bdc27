"""What a queue must be able to do, whatever it is kept in."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from jobs.queue.jobs import Job, State
from screening.audit import Event
from screening.files import Found
from screening.results import Row, Status

#: Nights of a site that are remembered; of a watched folder each study is one.
NIGHTS: Final = 400


class Store(Protocol):
    """Jobs, the films of each, and their rows.

    A method does everything in one transaction. Methods that take a job as it was claimed raise
    :class:`~jobs.errors.LeaseLost` if another worker has claimed it since, or somebody has
    cancelled it. Every method may raise :class:`~jobs.errors.QueueUnavailable`; its transaction may
    have been committed all the same, so each may be called again with the same arguments.
    """

    def add(self, job: Job) -> Job:
        """Queue a new job, and return it; or the open job that has the same identity."""

    def get(self, name: str) -> Job:
        """The job called `name`, or :class:`~jobs.errors.UnknownJob`."""

    def jobs(self, *states: State) -> list[Job]:
        """All jobs, or those in one of these states, oldest first."""

    def claim(self, worker: str, lease: float, only: str | None = None) -> Job | None:
        """Take the job that is next, or None.

        That is the one with the highest priority, and of these the oldest, that waits and may begin,
        or whose worker let its lease run out; but none that has to wait for another job of its
        schedule: for an earlier one that is open, or for any that is running. Films that another worker had in hand are counted as its deaths.

        Args:
            worker: who takes it.
            lease: for how many seconds; each commit renews it.
            only: take this job or none.
        """

    def renew(self, job: Job, lease: float) -> None:
        """Hold a claimed job for another `lease` seconds from now."""

    def expire(self, job: Job) -> None:
        """End the lease of a job whose worker is known to be dead."""

    def list_films(self, job: Job, films: Sequence[Found], history: Sequence[Event]) -> None:
        """Write down the films of a job, once, and that this was done.

        They are the rows that the report will have; a job has its films or none.
        """

    def films(self, job: Job) -> list[Found]:
        """All films of the job as they were listed, in the order of the report."""

    def films_left(self, job: Job) -> list[Found]:
        """Films of the job that have no row yet, in the order of the report."""

    def deaths(self, job: Job) -> dict[str, int]:
        """Films without a row that were in hand when a worker died, and how often."""

    def commit(
        self, job: Job, rows: Sequence[Row], lease: float, taken: Sequence[str] = ()
    ) -> None:
        """Write rows, each once, take further films in hand, and renew the lease.

        Args:
            taken: films that will be read from now on.
        """

    def rows(self, job: Job) -> list[Row]:
        """Rows committed so far, in the order of the report."""

    def counts(self, job: Job) -> dict[Status, int]:
        """How many rows there are with each status; no key where there is none."""

    def scored_before(self, job: Job, sha256: str) -> str:
        """Another, finished job of the same folder and bundle that has scored this file, or ``""``."""

    def record(self, job: Job, event: Event) -> None:
        """Add to the job's history."""

    def events(self, job: Job) -> list[Event]:
        """The job's history, oldest first."""

    def clear_suspicion(self, job: Job) -> None:
        """Say that the worker that has lost this claim is alive.

        It was only late, or the queue was away for longer than its lease: the films that it had in
        hand were not what it died of.
        """

    def release(self, job: Job) -> None:
        """Give a claimed job back unfinished; no film is in hand any more."""

    def postpone(self, job: Job, seconds: float, message: str, attempts: int) -> None:
        """Give a claimed job back, not to be claimed for some time.

        Args:
            message: what it waits for.
            attempts: how often that was because something failed.
        """

    def finish(self, job: Job, exit_code: int, message: str = "") -> None:
        """End a claimed job: done for the exit codes 0 and 3, failed for the others."""

    def cancel(self, name: str) -> Job:
        """Cancel a job that is open; a worker that holds it will notice.

        Raises:
            TransitionError: if it has ended.
        """

    def retry(self, name: str, event: Event) -> Job:
        """Queue a job that has ended once more; its failed films lose their rows.

        Raises:
            TransitionError: if it is still open, or is done without a failed film.
            JobsError: if the same work is queued as another job.
        """

    def prune(self, ended_before: str) -> list[str]:
        """Forget jobs that ended before this time (UTC, ISO 8601); their names."""

    def pin(self, name: str, value: str) -> str:
        """What the queue's workers agreed upon: `value`, or what was pinned before."""

    def save_night(self, job: Job, profile: Mapping[str, Any]) -> None:
        """Keep what a claimed job's films were like, for the next nights of its site.

        Once for each job: what was kept of it before is replaced. It outlives the job; of each site
        and model the newest :data:`NIGHTS` are kept.

        Args:
            profile: plain values, for JSON.
        """

    def nights(self, job: Job, most: int) -> list[dict[str, Any]]:
        """Profiles of the last nights before a job, of the same site and model, oldest first.

        Args:
            most: how many.
        """

    def pending_notifications(self, since: str) -> list[Job]:
        """Jobs that have ended since this time (UTC, ISO 8601) and whose end nobody was told of."""

    def tell(self, job: Job) -> None:
        """Somebody was told that the job has ended."""

    def totals(self) -> Mapping[State, int]:
        """How many jobs are in each state; no key where there is none."""

    def close(self) -> None:
        """Let go of the database."""
