"""SQL storage of jobs (SQLAlchemy Core): leases, fencing, and one row per film."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, Executable, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from jobs import exit_codes
from jobs.errors import JobsError, LeaseLost
from jobs.queue.jobs import OPEN, Action, Job, State, after
from jobs.queue.sql.database import Database
from jobs.queue.sql.queries import (
    change,
    claimable,
    enter,
    fill,
    get_job,
    id_of,
    insert_job,
    is_recorded,
    keep_night,
    mark_lost,
    queue_again,
    record,
    refuse_others,
    select_events,
    select_films,
    select_jobs,
    select_nights,
    select_rows,
    take,
)
from jobs.queue.sql.schema import films, jobs, pins
from jobs.queue.store import NIGHTS
from screening.audit import Event
from screening.files import Found, now, text_of
from screening.results import Row, Status

_IDLE: Final = {"worker": "", "lease_until": 0.0}

#: States in which a job ends on its own.
_OVER: Final = (State.DONE, State.FAILED)


class SqlStore:
    """The three stores of :mod:`jobs.queue.store` in a database.

    Args:
        database: from :func:`jobs.queue.sql.database.open_database`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: Job) -> Job:
        """Add a new job and return it, or return the open job with the same identity."""
        same = jobs.c.name == job.name
        if job.identity:
            same |= (jobs.c.identity == job.identity) & jobs.c.state.in_(OPEN)
        try:
            with self._database.writing() as connection:
                found = select_jobs(connection, same)
                if not found:
                    insert_job(connection, job)
        except IntegrityError:
            # Another connection queued the same work after the select, and it may have ended since.
            return self.add(job)
        return found[0] if found else job

    def get(self, name: str) -> Job:
        """Return the job named `name`, or raise :class:`~jobs.errors.UnknownJob`."""
        with self._database.reading() as connection:
            return get_job(connection, name)

    def jobs(self, *states: State) -> list[Job]:
        """Return all jobs, or those in one of these states, oldest first."""
        which = [jobs.c.state.in_(states)] if states else []
        with self._database.reading() as connection:
            return select_jobs(connection, *which)

    def totals(self) -> Mapping[State, int]:
        """Return the number of jobs in each state; states without jobs are left out."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._database.reading() as connection:
            return {State(state): number for state, number in connection.execute(query)}

    def claim(self, worker: str, lease: float, only: str | None = None) -> Job | None:
        """Claim the next job; return None if there is none."""
        time = self._database.now()
        first = (
            select(jobs.c.id, jobs.c.state, jobs.c.worker, jobs.c.fence)
            .where(claimable(time), *([] if only is None else [jobs.c.name == only]))
            .order_by(jobs.c.priority.desc(), jobs.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._database.writing() as connection:
            found = connection.execute(first).one_or_none()
            if found is None:
                return None
            lost = found.state == State.RUNNING and found.worker != worker
            values = {
                "state": after(State(found.state), Action.CLAIM),
                "fence": jobs.c.fence + 1,
                "worker": worker,
                "lease": lease,
                "lease_until": time + lease,
                "started_at": func.coalesce(func.nullif(jobs.c.started_at, ""), now()),
                "message": "",
            }
            if lost:
                values["deaths"] = jobs.c.deaths + 1
                mark_lost(connection, found.id, found.fence)
            change(connection, found.id, **values)
            return select_jobs(connection, jobs.c.id == found.id)[0]

    def renew(self, job: Job, lease: float) -> None:
        """Extend the lease of a claimed job to `lease` seconds from now."""
        with self._fenced(job, lease):
            pass

    def expire(self, job: Job) -> None:
        """End the lease of a job whose worker is known to be dead."""
        same = (jobs.c.name == job.name) & (jobs.c.fence == job.fence)
        with self._database.writing() as connection:
            connection.execute(update(jobs).where(same).values(lease_until=0.0))

    def list_films(self, job: Job, listed: Sequence[Found], history: Sequence[Event]) -> None:
        """Save the films of a job and the given events, once."""
        with self._fenced(job) as (connection, job_id):
            if connection.scalar(select(jobs.c.listed_at).where(jobs.c.id == job_id)):
                return
            enter(connection, job_id, listed)
            change(connection, job_id, films=len(listed), listed_at=now())
            for event in history:
                record(connection, job_id, event)

    def films(self, job: Job) -> list[Found]:
        """Return all listed films of the job, in the order of the report."""
        with self._database.reading() as connection:
            return select_films(connection, job)

    def films_left(self, job: Job) -> list[Found]:
        """Return the films of the job without a row, in the order of the report."""
        with self._database.reading() as connection:
            return select_films(connection, job, films.c.row.is_(None))

    def deaths(self, job: Job) -> dict[str, int]:
        """Return films without a row that were in progress when a worker died, and how often."""
        query = select(films.c.film, films.c.deaths).where(
            films.c.job_id == id_of(job), films.c.row.is_(None), films.c.deaths > 0
        )
        with self._database.reading() as connection:
            return {line.film: line.deaths for line in connection.execute(query)}

    def commit(
        self, job: Job, rows: Sequence[Row], lease: float, taken: Sequence[str] = ()
    ) -> None:
        """Write rows, each once, mark further films as in progress, and renew the lease."""
        committed = jobs.c.committed + len(rows)
        more = {"committed": committed, "deaths": 0, "attempts": 0} if rows else {}
        with self._fenced(job, lease, more) as (connection, job_id):
            missing = len(rows) - fill(connection, job_id, rows)
            if missing:
                # These were committed before, and the answer was lost.
                refuse_others(connection, job, job_id, rows)
                change(connection, job_id, committed=jobs.c.committed - missing)
            take(connection, job_id, taken)

    def rows(self, job: Job) -> list[Row]:
        """Return the rows committed so far, in the order of the report."""
        with self._database.reading() as connection:
            return select_rows(connection, id_of(job))

    def counts(self, job: Job) -> dict[Status, int]:
        """Return the number of rows with each status; statuses without rows are left out."""
        query = (
            select(films.c.status, func.count())
            .where(films.c.job_id == id_of(job), films.c.status.is_not(None))
            .group_by(films.c.status)
        )
        with self._database.reading() as connection:
            return {Status(status): number for status, number in connection.execute(query)}

    def scored_before(self, job: Job, sha256: str) -> str:
        """Return another finished job of this folder and bundle that scored the file, or ``""``."""
        query = (
            select(jobs.c.name)
            .join(films)
            .where(
                films.c.sha256 == sha256,
                films.c.status == Status.SCORED,
                jobs.c.name != job.name,
                jobs.c.state == State.DONE,
                jobs.c.folder == text_of(str(job.folder)),
                jobs.c.model_sha256 == job.model_sha256,
            )
            .order_by(jobs.c.id)
            .limit(1)
        )
        with self._database.reading() as connection:
            return connection.scalar(query) or ""

    def record(self, job: Job, event: Event) -> None:
        """Add an event to the job's history."""
        with self._fenced(job) as (connection, job_id):
            record(connection, job_id, event)

    def events(self, job: Job) -> list[Event]:
        """Return the job's history, oldest first."""
        with self._database.reading() as connection:
            return select_events(connection, id_of(job))

    def clear_suspicion(self, job: Job) -> None:
        """Record that the worker that lost this claim is alive."""
        lost = (films.c.job_id == id_of(job)) & (films.c.lost_fence == job.fence)
        values = {"deaths": films.c.deaths - 1, "lost_fence": 0}
        with self._database.writing() as connection:
            connection.execute(update(films).where(lost).values(values))

    def release(self, job: Job) -> None:
        """Return a claimed job to the queue unfinished, with no films in progress."""
        self._hand_back(job, Action.RELEASE, {})

    def postpone(self, job: Job, seconds: float, message: str, attempts: int) -> None:
        """Return a claimed job to the queue, to be claimed after `seconds` at the earliest."""
        later = self._database.now() + seconds
        changes = {"not_before": later, "message": message, "attempts": attempts}
        self._hand_back(job, Action.POSTPONE, changes)

    def finish(self, job: Job, exit_code: int, message: str = "") -> None:
        """End a claimed job: done for exit codes 0 and 3, failed for others."""
        good = exit_code in (exit_codes.OK, exit_codes.SOME_FAILED)
        changes = {"exit_code": exit_code, "message": message, "finished_at": now(), "told": 0}
        state = after(State.RUNNING, Action.FINISH if good else Action.FAIL)
        try:
            with self._fenced(job) as (connection, job_id):
                change(connection, job_id, state=state, lease_until=0.0, **changes)
        except LeaseLost:
            if not self._is(job, state=state, exit_code=exit_code):
                raise

    def cancel(self, name: str) -> Job:
        """Cancel an open job; its worker gets LeaseLost at its next write."""
        with self._database.writing() as connection:
            job = get_job(connection, name, lock=True)
            if job.state is not State.CANCELLED:
                # A higher fence keeps its worker from writing any more.
                change(
                    connection,
                    id_of(job),
                    state=after(job.state, Action.CANCEL),
                    fence=jobs.c.fence + 1,
                    finished_at=now(),
                    **_IDLE,
                )
            return get_job(connection, name)

    def retry(self, name: str, event: Event) -> Job:
        """Queue a job that has ended again; its failed films lose their rows."""
        try:
            with self._database.writing() as connection:
                job = get_job(connection, name, lock=True)
                job_id = connection.scalars(select(id_of(job))).one()
                # The answer to an earlier call may have been lost.
                if not is_recorded(connection, job_id, event):
                    queue_again(connection, job, job_id)
                    record(connection, job_id, event)
                return get_job(connection, name)
        except IntegrityError as error:
            # Another connection queued the same work between the check and the update.
            raise JobsError(
                f"job {name} cannot be retried: another job does the same work"
            ) from error

    def prune(self, ended_before: str) -> list[str]:
        """Delete jobs that ended before this time (UTC, ISO 8601); return their names."""
        old = jobs.c.state.not_in(OPEN) & (jobs.c.finished_at < ended_before)
        with self._database.writing() as connection:
            return list(connection.scalars(delete(jobs).where(old).returning(jobs.c.name)))

    def pin(self, name: str, value: str) -> str:
        """Return the value shared by all workers of a queue: the first one pinned as `name`."""
        query = select(pins.c.value).where(pins.c.name == name)
        try:
            with self._database.writing() as connection:
                pinned = connection.scalar(query)
                if pinned is None:
                    connection.execute(pins.insert().values(name=name, value=value))
        except IntegrityError:
            with self._database.reading() as connection:
                pinned = connection.scalar(query)
        return value if pinned is None else str(pinned)

    def save_night(self, job: Job, profile: Mapping[str, Any]) -> None:
        """Save the profile of a claimed job's films, to compare it with later nights of a site."""
        with self._fenced(job) as (connection, _job_id):
            keep_night(connection, job, profile, NIGHTS)

    def nights(self, job: Job, most: int) -> list[dict[str, Any]]:
        """Return profiles of the last nights before a job, of its site and model, oldest first."""
        with self._database.reading() as connection:
            return select_nights(connection, job, most)

    def pending_notifications(self, since: str) -> list[Job]:
        """Return jobs that ended since this time (UTC, ISO 8601) and were not notified yet."""
        since_then = jobs.c.finished_at >= since
        with self._database.reading() as connection:
            return select_jobs(connection, jobs.c.state.in_(_OVER), since_then, jobs.c.told == 0)

    def mark_notified(self, job: Job) -> None:
        """Record that the job's end was notified."""
        # A job that was retried meanwhile will end again, and needs another notification.
        same = (jobs.c.name == job.name) & (jobs.c.fence == job.fence) & jobs.c.state.in_(_OVER)
        with self._database.writing() as connection:
            connection.execute(update(jobs).where(same).values(told=1))

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()

    def _hand_back(self, job: Job, action: Action, changes: dict[str, Any]) -> None:
        state = after(State.RUNNING, action)
        try:
            with self._fenced(job) as (connection, job_id):
                change(connection, job_id, state=state, **_IDLE | changes)
                held = (films.c.job_id == job_id) & (films.c.in_hand == 1)
                connection.execute(update(films).where(held).values(in_hand=0))
        except LeaseLost:
            if not self._is(job, state=state):
                raise

    def _is(self, job: Job, **values: Any) -> bool:
        """Return True if this claim has led to these values before, and the answer was lost."""
        same = [jobs.c[name] == value for name, value in values.items()]
        mine = (jobs.c.name == job.name) & (jobs.c.fence == job.fence)
        with self._database.reading() as connection:
            return connection.scalar(select(jobs.c.id).where(mine, *same)) is not None

    @contextmanager
    def _fenced(
        self, job: Job, lease: float | None = None, more: Mapping[str, Any] = MappingProxyType({})
    ) -> Iterator[tuple[Connection, int]]:
        """Open a transaction that holds the job's record; raise LeaseLost if the claim is outdated.

        Args:
            lease: seconds of the renewed lease; None to leave it unchanged.
            more: further columns to update with the lease.
        """
        held = (
            (jobs.c.name == job.name)
            & (jobs.c.fence == job.fence)
            & (jobs.c.state == State.RUNNING)
        )
        with self._database.writing() as connection:
            if lease is None:
                mine: Executable = select(jobs.c.id).where(held).with_for_update()
            else:
                until = self._database.now() + lease
                values = {"lease": lease, "lease_until": until, **more}
                mine = update(jobs).where(held).values(values).returning(jobs.c.id)
            job_id = connection.scalar(mine)
            if job_id is None:
                raise LeaseLost(f"job {job.name} is no longer held by {job.worker}")
            yield connection, job_id
