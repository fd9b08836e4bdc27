"""SQL queries used by the store's transactions, and conversion of their records."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    bindparam,
    cast,
    column,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from jobs.errors import JobsError, TransitionError, UnknownJob
from jobs.host import user_and_host
from jobs.queue.jobs import OPEN, Action, Job, Options, State, after
from jobs.queue.schedules import Schedule
from jobs.queue.sql import schema
from jobs.queue.sql.schema import events, films, jobs, nights
from screening.audit import Event, parse_fields
from screening.files import Found, path_of, text_of
from screening.results import Row, Status

_PATHS: Final = ("folder", "model", "report")

# PostgreSQL cannot compare JSON, so the fields of an event are stored as text.
_EVENT_COLUMNS: Final = ("at", "event", "subject", "detail", "sha256")

#: Columns that are not fields of a job.
_INTERNAL: Final = ("id", "lease", "told")


def job_of(line: dict[str, Any]) -> Job:
    """Convert a record of the table to a job."""
    values = {name: value for name, value in line.items() if name not in _INTERNAL}
    paths = {name: Path(path_of(values[name])) for name in _PATHS}
    return Job(
        **values
        | paths
        | {
            "state": State(values["state"]),
            "options": Options.from_dict(values["options"]),
            "tags": tuple(values["tags"]),
        }
    )


def line_of(job: Job) -> dict[str, Any]:
    """Convert a new job to a record of the table; inverse of :func:`job_of`."""
    names = [column.name for column in schema.jobs.c if column.name not in _INTERNAL]
    values = {name: getattr(job, name) for name in names}
    paths = {name: text_of(str(values[name])) for name in _PATHS}
    options = {"options": job.options.as_dict(), "tags": list(job.tags)}
    return values | paths | options | {"lease": 0.0, "told": 0}


def schedule_of(line: dict[str, Any]) -> Schedule:
    """Convert a record of the table to a schedule."""
    templates = {name: path_of(line[name]) for name in ("folder", "report")}
    changed = {
        "reports": Path(path_of(line["reports"])),
        "model": Path(path_of(line["model"])),
        "options": Options.from_dict(line["options"]),
        "tags": tuple(line["tags"]),
    }
    return Schedule(**line | templates | changed)


def line_of_schedule(schedule: Schedule) -> dict[str, Any]:
    """Convert a schedule to a record of the table; inverse of :func:`schedule_of`."""
    return vars(schedule) | {
        "folder": text_of(schedule.folder),
        "report": text_of(schedule.report),
        "reports": text_of(str(schedule.reports)),
        "model": text_of(str(schedule.model)),
        "options": schedule.options.as_dict(),
        "tags": list(schedule.tags),
    }


def line_of_event(event: Event) -> dict[str, str]:
    """Convert an event to a record of the table; the fields become text."""
    return {name: getattr(event, name) for name in _EVENT_COLUMNS}


#: Maximum of films per statement.
_ENTERED: Final = 10_000


def insert_job(connection: Connection, job: Job) -> None:
    """Insert a new job, and start its history."""
    job_id = connection.scalar(jobs.insert().values(line_of(job)).returning(jobs.c.id))
    record(connection, job_id, Event(job.submitted_at, "submitted", job.name, user_and_host()))


def claimable(time: ColumnElement[float]) -> ColumnElement[bool]:
    """Condition for claimable jobs: due and next in their schedule, or running without a worker."""
    other = jobs.alias("other")
    its_turn = ~exists().where(
        other.c.schedule == jobs.c.schedule,
        # A later job may be running when an earlier one is retried.
        or_(
            (other.c.id < jobs.c.id) & other.c.state.in_(OPEN),
            other.c.state == State.RUNNING,
        ),
    )
    waits = (
        (jobs.c.state == State.QUEUED)
        & (jobs.c.not_before <= time)
        & or_(jobs.c.schedule == "", its_turn)
    )
    # A lease that ends implausibly late was given before the clock was set back.
    expired = or_(jobs.c.lease_until < time, jobs.c.lease_until > time + 2 * jobs.c.lease)
    return or_(waits, (jobs.c.state == State.RUNNING) & expired)


def mark_lost(connection: Connection, job_id: int, fence: int) -> None:
    """Mark the films in progress in a lost worker: one of them may have killed it.

    Args:
        fence: of its claim.
    """
    lost = (films.c.job_id == job_id) & (films.c.in_hand == 1) & films.c.row.is_(None)
    values = {"in_hand": 0, "deaths": films.c.deaths + 1, "lost_fence": fence}
    connection.execute(update(films).where(lost).values(values))


def enter(connection: Connection, job_id: int, listed: Sequence[Found]) -> None:
    """Insert the films of a job, in the order of the report."""
    for start in range(0, len(listed), _ENTERED):
        lines = {
            str(position): {
                "job": job_id,
                "film": found.film,
                "size": found.size,
                "modified_ns": found.modified_ns,
                "is_file": int(found.is_file),
            }
            for position, found in enumerate(listed[start : start + _ENTERED], start)
        }
        connection.execute(_ENTER, {"lines": lines})


def fill(connection: Connection, job_id: int, rows: Sequence[Row]) -> int:
    """Write rows of films that have none yet; return their number."""
    if not rows:
        return 0
    lines = {
        row.film: {
            "job": job_id,
            "status": row.status,
            "sha256": row.sha256,
            # As text: PostgreSQL rejects escaped NULs in the JSON objects it parses.
            "row": json.dumps(row.as_dict()),
        }
        for row in rows
    }
    return connection.execute(_FILL, {"lines": lines}).rowcount


# All films of a statement are sent as one JSON object: one statement per film would cost a round
# trip each, and parameters per film a long text that pg8000 parses character by character.
_LINE: Final = (
    func.json_each(bindparam("lines", type_=JSON))
    .table_valued("key", column("value", JSON))
    .alias("line")
)
# The job's number is in the object: from elsewhere, SQLite would scan the object for each film.
_IS_OF_LINE: Final = (films.c.job_id == _LINE.c.value["job"].as_integer()) & (
    films.c.film == _LINE.c.key
)
_TAKE: Final = update(films).where(_IS_OF_LINE).values(in_hand=1)
_FILL: Final = (
    update(films)
    .where(_IS_OF_LINE, films.c.row.is_(None))
    .values(
        row=func.json(_LINE.c.value["row"].as_string()),
        status=_LINE.c.value["status"].as_string(),
        sha256=_LINE.c.value["sha256"].as_string(),
    )
)
_ENTER: Final = films.insert().from_select(
    ["job_id", "position", "film", "size", "modified_ns", "is_file", "in_hand", "deaths"],
    select(
        _LINE.c.value["job"].as_integer(),
        cast(_LINE.c.key, Integer),
        _LINE.c.value["film"].as_string(),
        cast(_LINE.c.value["size"].as_string(), BigInteger),
        cast(_LINE.c.value["modified_ns"].as_string(), BigInteger),
        _LINE.c.value["is_file"].as_integer(),
        literal(0),
        literal(0),
    ),
)


def refuse_others(connection: Connection, job: Job, job_id: int, rows: Sequence[Row]) -> None:
    """Raise JobsError unless each of these rows is already stored unchanged in the job."""
    for row in rows:
        if row not in select_rows(connection, job_id, films.c.film == row.film):
            film = "a film" if job.options.hash_names else row.film
            raise JobsError(f"{film} is not an open film of job {job.name}")


def take(connection: Connection, job_id: int, names: Sequence[str]) -> None:
    """Mark films as in progress."""
    if names:
        connection.execute(_TAKE, {"lines": {name: {"job": job_id} for name in names}})


def queue_again(connection: Connection, job: Job, job_id: int) -> None:
    """Reset a job that has ended to queued; its failed films lose their rows.

    Raises:
        TransitionError: if it is still open, or is done without a failed film.
        JobsError: if the same work is queued as another job.
    """
    state = after(job.state, Action.RETRY)
    own = films.c.job_id == job_id
    undo = {"row": None, "status": None, "sha256": None}
    failed = update(films).where(own, films.c.status == Status.FAILED).values(undo)
    number = connection.execute(failed).rowcount
    if job.state is State.DONE and not number:
        raise TransitionError(
            f"job {job.name} is done and none of its films failed: nothing to retry"
        )
    _refuse_twin(connection, job)
    # The end of the job clears the suspicion on films that were in progress.
    fresh = (
        update(films).where(own, films.c.row.is_(None)).values(in_hand=0, deaths=0, lost_fence=0)
    )
    connection.execute(fresh)
    change(
        connection,
        job_id,
        state=state,
        worker="",
        lease_until=0.0,
        not_before=0.0,
        attempts=0,
        deaths=0,
        committed=jobs.c.committed - number,
        finished_at="",
        exit_code=None,
        message="",
        told=0,
    )


def _refuse_twin(connection: Connection, job: Job) -> None:
    """Raise JobsError if an open job for the same work exists."""
    if not job.identity:
        return
    twins = select_jobs(connection, jobs.c.identity == job.identity, jobs.c.state.in_(OPEN))
    for twin in twins:
        raise JobsError(f"job {job.name} cannot be retried: job {twin.name} does the same work")


def record(connection: Connection, job_id: Any, event: Event) -> None:
    """Add an event to a job's history, once: the answer to an earlier call may have been lost."""
    if not is_recorded(connection, job_id, event):
        connection.execute(events.insert().values(job_id=job_id, **line_of_event(event)))


def is_recorded(connection: Connection, job_id: Any, event: Event) -> bool:
    """Return True if the job's history contains this exact event."""
    same = [events.c[name] == value for name, value in line_of_event(event).items()]
    return bool(connection.scalar(select(exists().where(events.c.job_id == job_id, *same))))


def select_events(connection: Connection, job_id: Any) -> list[Event]:
    """Return the history of a job, oldest first."""
    columns = (events.c[name] for name in _EVENT_COLUMNS)
    query = select(*columns).where(events.c.job_id == job_id).order_by(events.c.id)
    return [
        Event(at, event, subject, parse_fields(detail), sha256)
        for at, event, subject, detail, sha256 in connection.execute(query)
    ]


def change(connection: Connection, job_id: Any, **values: Any) -> None:
    """Update the record of one job."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))


def id_of(job: Job) -> Any:
    """Return a sub-query for the job's ID, which other tables refer to."""
    return select(jobs.c.id).where(jobs.c.name == job.name).scalar_subquery()


def get_job(connection: Connection, name: str, *, lock: bool = False) -> Job:
    """Return the job named `name`, or raise :class:`~jobs.errors.UnknownJob`."""
    found = select_jobs(connection, jobs.c.name == name, lock=lock)
    if not found:
        raise UnknownJob(f"there is no job {name}; see `screening jobs list`")
    return found[0]


def select_jobs(connection: Connection, *which: Any, lock: bool = False) -> list[Job]:
    """Return jobs, oldest first."""
    query = select(jobs).where(*which).order_by(jobs.c.id)
    if lock:
        query = query.with_for_update()
    return [job_of(dict(line)) for line in connection.execute(query).mappings()]


def select_rows(connection: Connection, job_id: Any, *which: ColumnElement[bool]) -> list[Row]:
    """Return committed rows of a job, in the order of the report."""
    query = (
        select(films.c.row)
        .where(films.c.job_id == job_id, films.c.row.is_not(None), *which)
        .order_by(films.c.position)
    )
    return [Row.from_dict(values) for values in connection.scalars(query)]


def keep_night(connection: Connection, job: Job, profile: Mapping[str, Any], most: int) -> None:
    """Save a job's profile, replacing an earlier one, and keep the newest `most` of its site."""
    c = nights.c
    of_site = _of_site(job)
    connection.execute(delete(nights).where(c.job == job.name))
    line = {
        "job": job.name,
        "site": job.site,
        "model_sha256": job.model_sha256,
        "submitted_at": job.submitted_at,
        "profile": dict(profile),
    }
    connection.execute(nights.insert().values(line))
    newest = select(c.job).where(of_site).order_by(c.submitted_at.desc(), c.job.desc()).limit(most)
    connection.execute(delete(nights).where(of_site, c.job.not_in(newest)))


def select_nights(connection: Connection, job: Job, most: int) -> list[dict[str, Any]]:
    """Return profiles of the last nights of a job's site before it, oldest first."""
    c = nights.c
    query = (
        select(c.profile)
        .where(_of_site(job), c.job != job.name, c.submitted_at <= job.submitted_at)
        .order_by(c.submitted_at.desc(), c.job.desc())
        .limit(most)
    )
    return list(connection.scalars(query))[::-1]


def _of_site(job: Job) -> ColumnElement[bool]:
    return (nights.c.site == job.site) & (nights.c.model_sha256 == job.model_sha256)


def select_films(connection: Connection, job: Job, *which: ColumnElement[bool]) -> list[Found]:
    """Return films of a job as they were listed, in the order of the report."""
    query = (
        select(films.c.film, films.c.size, films.c.is_file, films.c.modified_ns)
        .where(films.c.job_id == id_of(job), *which)
        .order_by(films.c.position)
    )
    return [
        Found(film, size, bool(is_file), modified_ns)
        for film, size, is_file, modified_ns in connection.execute(query)
    ]
