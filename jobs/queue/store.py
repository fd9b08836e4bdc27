"""Interfaces of a queue's storage.

Each method runs in one transaction. Methods that take a claimed job raise
:class:`~jobs.errors.LeaseLost` if another worker has claimed it since, or it was cancelled. Every
method may raise :class:`~jobs.errors.QueueUnavailable`; its transaction may have been committed
nevertheless, so every method may be called again with the same arguments.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from jobs.queue.jobs import Job, State
from screening.audit import Event
from screening.files import Found
from screening.results import Row, Status

#: Nights kept per site; for a watched folder, each study is one.
NIGHTS: Final = 400


class JobStore(Protocol):
    """Jobs, their films and rows."""

    def add(self, job: Job) -> Job:
        """Add a new job and return it, or return the open job with the same identity."""

    def get(self, name: str) -> Job:
        """Return the job named `name`, or raise :class:`~jobs.errors.UnknownJob`."""

    def jobs(self, *states: State) -> list[Job]:
        """Return all jobs, or those in one of these states, oldest first."""

    def totals(self) -> Mapping[State, int]:
        """Return the number of jobs in each state; states without jobs are left out."""

    def claim(self, worker: str, lease: float, only: str | None = None) -> Job | None:
        """Claim the next job; return None if there is none.

        A job can be claimed if it is queued and may start, or if it is running and its lease has
        expired. A job of a schedule has to wait while an earlier job of that schedule is open or
        any of them is running. The highest priority comes first, then the oldest. Films that were
        in progress in the previous worker are counted as suspects of its death.

        Args:
            worker: name of the claiming worker.
            lease: seconds of the lease; each commit renews it.
            only: claim this job or none.
        """

    def renew(self, job: Job, lease: float) -> None:
        """Extend the lease of a claimed job to `lease` seconds from now."""

    def expire(self, job: Job) -> None:
        """End the lease of a job whose worker is known to be dead."""

    def list_films(self, job: Job, films: Sequence[Found], history: Sequence[Event]) -> None:
        """Save the films of a job and the given events, once.

        The report will have one row per film. A job has all its films or none.
        """

    def films(self, job: Job) -> list[Found]:
        """Return all listed films of the job, in the order of the report."""

    def films_left(self, job: Job) -> list[Found]:
        """Return the films of the job without a row, in the order of the report."""

    def deaths(self, job: Job) -> dict[str, int]:
        """Return films without a row that were in progress when a worker died, and how often."""

    def commit(
        self, job: Job, rows: Sequence[Row], lease: float, taken: Sequence[str] = ()
    ) -> None:
        """Write rows, each once, mark further films as in progress, and renew the lease.

        Rows show progress: the job's counts of deaths and attempts start over.

        Args:
            taken: films that will be read from now on.
        """

    def rows(self, job: Job) -> list[Row]:
        """Return the rows committed so far, in the order of the report."""

    def counts(self, job: Job) -> dict[Status, int]:
        """Return the number of rows with each status; statuses without rows are left out."""

    def scored_before(self, job: Job, sha256: str) -> str:
        """Return another finished job of this folder and bundle that scored the file, or ``""``."""

    def record(self, job: Job, event: Event) -> None:
        """Add an event to the job's history."""

    def events(self, job: Job) -> list[Event]:
        """Return the job's history, oldest first."""

    def clear_suspicion(self, job: Job) -> None:
        """Record that the worker that lost this claim is alive.

        It was only late, or the queue was unavailable for longer than its lease, so the films that
        it had in progress did not kill it.
        """

    def release(self, job: Job) -> None:
        """Return a claimed job to the queue unfinished, with no films in progress."""

    def postpone(self, job: Job, seconds: float, message: str, attempts: int) -> None:
        """Return a claimed job to the queue, to be claimed after `seconds` at the earliest.

        Args:
            message: what it waits for.
            attempts: how often in a row it was postponed because of a failure.
        """

    def finish(self, job: Job, exit_code: int, message: str = "") -> None:
        """End a claimed job: done for exit codes 0 and 3, failed for others."""

    def cancel(self, name: str) -> Job:
        """Cancel an open job; its worker gets LeaseLost at its next write.

        Raises:
            TransitionError: if it has ended.
        """

    def retry(self, name: str, event: Event) -> Job:
        """Queue a job that has ended again; its failed films lose their rows.

        Raises:
            TransitionError: if it is still open, or is done without a failed film.
            JobsError: if the same work is queued as another job.
        """

    def prune(self, ended_before: str) -> list[str]:
        """Delete jobs that ended before this time (UTC, ISO 8601); return their names."""

    def pin(self, name: str, value: str) -> str:
        """Return the value shared by all workers of a queue: the first one pinned as `name`."""

    def close(self) -> None:
        """Close the connections to the database."""


class RunHistory(Protocol):
    """Profiles of earlier jobs, with which the films of a new one are compared."""

    def save_night(self, job: Job, profile: Mapping[str, Any]) -> None:
        """Save the profile of a claimed job's films, for comparison with later nights of its site.

        There is one profile per job; saving again replaces it. It outlives the job. For each site
        and model, the newest :data:`NIGHTS` are kept.

        Args:
            profile: plain values, for JSON.
        """

    def nights(self, job: Job, most: int) -> list[dict[str, Any]]:
        """Return profiles of the last nights before a job, of its site and model, oldest first.

        Args:
            most: maximum number of profiles.
        """


class Outbox(Protocol):
    """Notifications of ended jobs that are still to be sent; each is sent at least once."""

    def pending_notifications(self, since: str) -> list[Job]:
        """Return jobs that ended since this time (UTC, ISO 8601) and were not notified yet."""

    def mark_notified(self, job: Job) -> None:
        """Record that the job's end was notified."""
