"""The queue in SQL (SQLAlchemy Core): leases, fencing, and one row a film."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, bindparam, func, or_, select, update

from jobs import exit_codes, schema
from jobs.errors import JobsError, LeaseLost, UnknownJob
from jobs.job import Job
from jobs.states import Action, State, after
from screening.audit import Event
from screening.clock import now
from screening.films import Found
from screening.limits import Limits
from screening.row import Row

_PATHS: Final = ("folder", "model", "report", "labels", "key")


class SqlStore:
    """A :class:`~jobs.store.Store` in a database.

    Args:
        engine: from :func:`jobs.database.open_database`.
        clock: seconds since the epoch, for leases.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def add(self, job: Job) -> None:
        """Queue a new job."""
        with self._engine.begin() as connection:
            connection.execute(schema.jobs.insert().values(_values(job)))

    def get(self, name: str) -> Job:
        """The job called `name`, or :class:`~jobs.errors.UnknownJob`."""
        with self._engine.connect() as connection:
            found = _select(connection, schema.jobs.c.name == name)
        if not found:
            raise UnknownJob(f"there is no job {name}; screening jobs list shows all")
        return found[0]

    def jobs(self, *states: State) -> list[Job]:
        """All jobs, or those in one of these states, oldest first."""
        which = [schema.jobs.c.state.in_(states)] if states else []
        with self._engine.connect() as connection:
            return _select(connection, *which)

    def claim(self, worker: str, lease: float, only: str | None = None) -> Job | None:
        """Take the oldest job that waits, or whose worker let its lease run out."""
        jobs, now_seconds = schema.jobs, self._clock()
        waits = or_(
            jobs.c.state == State.QUEUED,
            (jobs.c.state == State.RUNNING) & (jobs.c.lease_until < now_seconds),
        )
        which = waits if only is None else waits & (jobs.c.name == only)
        oldest = select(jobs.c.id).where(which).order_by(jobs.c.id).limit(1).scalar_subquery()
        claim = (
            update(jobs)
            .where(jobs.c.id == oldest)
            .values(
                state=State.RUNNING,
                fence=jobs.c.fence + 1,
                worker=worker,
                lease_until=now_seconds + lease,
                started_at=func.coalesce(func.nullif(jobs.c.started_at, ""), now()),
            )
            .returning(jobs.c.name)
        )
        with self._engine.begin() as connection:
            name = connection.scalar(claim)
            return _select(connection, jobs.c.name == name)[0] if name else None

    def expire(self, job: Job) -> None:
        """End the lease of a job whose worker is known to be dead."""
        jobs = schema.jobs
        same = (jobs.c.name == job.name) & (jobs.c.fence == job.fence)
        with self._engine.begin() as connection:
            connection.execute(update(jobs).where(same).values(lease_until=0.0))

    def list_films(self, job: Job, films: Sequence[Found], history: Sequence[Event]) -> None:
        """Write down the films of a job, once, and that this was done."""
        with self._fenced(job) as (connection, job_id):
            lines = [
                {
                    "job_id": job_id,
                    "position": position,
                    "film": found.film,
                    "size": found.size,
                    "is_file": int(found.is_file),
                    "row": None,
                }
                for position, found in enumerate(films)
            ]
            if lines:
                connection.execute(schema.films.insert(), lines)
            for event in history:
                _record(connection, job_id, event)

    def films_left(self, job: Job) -> list[Found]:
        """Films of the job that have no row yet, in the order of the report."""
        films = schema.films
        query = (
            select(films.c.film, films.c.size, films.c.is_file)
            .join(schema.jobs)
            .where(schema.jobs.c.name == job.name, films.c.row.is_(None))
            .order_by(films.c.position)
        )
        with self._engine.connect() as connection:
            return [
                Found(film, size, bool(is_file))
                for film, size, is_file in connection.execute(query)
            ]

    def commit(self, job: Job, rows: Sequence[Row], lease: float) -> None:
        """Write rows, each once, and renew the lease."""
        films = schema.films
        fill = (
            update(films)
            .where(
                films.c.job_id == bindparam("job"),
                films.c.film == bindparam("name"),
                films.c.row.is_(None),
            )
            .values(row=bindparam("values"))
        )
        with self._fenced(job, self._clock() + lease) as (connection, job_id):
            for row in rows:
                values = {"job": job_id, "name": row.film, "values": row.as_dict()}
                if connection.execute(fill, values).rowcount != 1:
                    film = "a film" if job.hash_names else row.film
                    raise JobsError(f"{film} is no open film of job {job.name}")

    def rows(self, job: Job) -> list[Row]:
        """Rows committed so far, in the order of the report."""
        films = schema.films
        query = (
            select(films.c.row)
            .join(schema.jobs)
            .where(schema.jobs.c.name == job.name, films.c.row.is_not(None))
            .order_by(films.c.position)
        )
        with self._engine.connect() as connection:
            return [Row.from_dict(values) for values in connection.scalars(query)]

    def record(self, job: Job, event: Event) -> None:
        """Add to the job's history."""
        with self._fenced(job) as (connection, job_id):
            _record(connection, job_id, event)

    def events(self, job: Job) -> list[Event]:
        """The job's history, oldest first."""
        c = schema.events.c
        query = (
            select(c.at, c.event, c.subject, c.detail, c.sha256)
            .join(schema.jobs)
            .where(schema.jobs.c.name == job.name)
            .order_by(c.id)
        )
        with self._engine.connect() as connection:
            return [Event(*line) for line in connection.execute(query)]

    def release(self, job: Job) -> None:
        """Give a job back unfinished."""
        with self._fenced(job, 0.0) as (connection, job_id):
            _set(connection, job_id, state=after(State.RUNNING, Action.RELEASE), worker="")

    def finish(self, job: Job, exit_code: int, message: str = "") -> None:
        """End a job: done for the exit codes 0 and 3, failed for the others."""
        good = exit_code in (exit_codes.OK, exit_codes.SOME_FAILED)
        state = after(State.RUNNING, Action.FINISH if good else Action.FAIL)
        with self._fenced(job, 0.0) as (connection, job_id):
            _set(
                connection,
                job_id,
                state=state,
                exit_code=exit_code,
                message=message,
                finished_at=now(),
            )

    @contextmanager
    def _fenced(
        self, job: Job, lease_until: float | None = None
    ) -> Iterator[tuple[Connection, int]]:
        """A transaction that exists only while `job` is still held by this worker."""
        jobs = schema.jobs
        until = jobs.c.lease_until if lease_until is None else lease_until
        held = (
            update(jobs)
            .where(
                jobs.c.name == job.name,
                jobs.c.fence == job.fence,
                jobs.c.state == State.RUNNING,
            )
            .values(lease_until=until)
            .returning(jobs.c.id)
        )
        with self._engine.begin() as connection:
            job_id = connection.scalar(held)
            if job_id is None:
                raise LeaseLost(f"job {job.name} is no longer held by {job.worker}")
            yield connection, job_id


def _record(connection: Connection, job_id: int, event: Event) -> None:
    connection.execute(schema.events.insert().values(job_id=job_id, **vars(event)))


def _set(connection: Connection, job_id: int, **values: Any) -> None:
    connection.execute(update(schema.jobs).where(schema.jobs.c.id == job_id).values(values))


def _select(connection: Connection, *which: Any) -> list[Job]:
    films, jobs = schema.films, schema.jobs
    # Counted for the chosen jobs alone: the queue may hold millions of films of others.
    own = select(func.count()).where(films.c.job_id == jobs.c.id)
    listed = own.scalar_subquery().label("films")
    committed = own.where(films.c.row.is_not(None)).scalar_subquery().label("committed")
    query = select(jobs, listed, committed).where(*which).order_by(jobs.c.id)
    return [_job(dict(line)) for line in connection.execute(query).mappings()]


def _job(values: dict[str, Any]) -> Job:
    del values["id"]
    for name in _PATHS:
        values[name] = Path(values[name]) if values[name] is not None else None
    values["state"] = State(values["state"])
    values["limits"] = Limits(**values["limits"])
    return Job(**values)


def _values(job: Job) -> dict[str, Any]:
    values = {
        column.name: getattr(job, column.name) for column in schema.jobs.c if column.name != "id"
    }
    values["limits"] = asdict(job.limits)
    for name in _PATHS:
        values[name] = str(values[name]) if values[name] is not None else None
    return values
