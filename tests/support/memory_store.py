"""In-memory queue: the reference model for the SQL stores."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from jobs import exit_codes
from jobs.errors import JobsError, LeaseLost, TransitionError, UnknownJob
from jobs.host import user_and_host
from jobs.queue.jobs import OPEN, Action, Job, State, after
from jobs.queue.store import NIGHTS
from screening.audit import Event
from screening.files import Found
from screening.results import Row, Status


@dataclass
class _Film:
    """State of a film in a job."""

    found: Found
    row: Row | None = None
    in_hand: bool = False
    deaths: int = 0
    lost_fence: int = 0


@dataclass
class _Entry:
    """A job with its films by name, in the order of the report, and its history."""

    job: Job
    events: list[Event]
    lease: float = 0.0
    told: bool = False
    films: dict[str, _Film] = field(default_factory=dict)

    @property
    def open_films(self) -> list[_Film]:
        return [film for film in self.films.values() if film.row is None]

    def change(self, **values: Any) -> None:
        self.job = replace(self.job, **values)

    def record(self, event: Event) -> None:
        if event not in self.events:
            self.events.append(event)


class MemoryStore:
    """The three stores of :mod:`jobs.queue.store` without a database; not thread-safe.

    Args:
        clock: seconds since the epoch, for leases and the times in jobs.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}  # oldest first
        self._pins: dict[str, str] = {}
        self._nights: dict[str, tuple[Job, dict[str, Any]]] = {}

    def add(self, job: Job) -> Job:
        """Add a new job and return it, or return the open job with the same identity."""
        for entry in self._entries.values():
            if entry.job.name == job.name or _is_twin(entry.job, job):
                return entry.job
        submitted = Event(job.submitted_at, "submitted", job.name, user_and_host())
        self._entries[job.name] = _Entry(job, [submitted])
        return job

    def get(self, name: str) -> Job:
        """Return the job named `name`, or raise :class:`~jobs.errors.UnknownJob`."""
        return self._entry(name).job

    def jobs(self, *states: State) -> list[Job]:
        """Return all jobs, or those in one of these states, oldest first."""
        jobs = [entry.job for entry in self._entries.values()]
        return [job for job in jobs if not states or job.state in states]

    def totals(self) -> Mapping[State, int]:
        """Return the number of jobs in each state; states without jobs are left out."""
        return Counter(job.state for job in self.jobs())

    def claim(self, worker: str, lease: float, only: str | None = None) -> Job | None:
        """Claim the next job; return None if there is none."""
        free = [
            entry
            for entry in self._entries.values()
            if only in (None, entry.job.name) and self._is_claimable(entry)
        ]
        if not free:
            return None
        entry = max(free, key=lambda entry: entry.job.priority)  # the first of several
        job = entry.job
        is_lost = job.state is State.RUNNING and job.worker != worker
        if is_lost:
            _mark_lost(entry)
        entry.lease = lease
        entry.change(
            state=after(job.state, Action.CLAIM),
            fence=job.fence + 1,
            worker=worker,
            lease_until=self._clock() + lease,
            started_at=job.started_at or self._now(),
            deaths=job.deaths + is_lost,
            message="",
        )
        return entry.job

    def renew(self, job: Job, lease: float) -> None:
        """Extend the lease of a claimed job to `lease` seconds from now."""
        self._renew(self._held(job), lease)

    def expire(self, job: Job) -> None:
        """End the lease of a job whose worker is known to be dead."""
        entry = self._entries.get(job.name)
        if entry and entry.job.fence == job.fence:
            entry.change(lease_until=0.0)

    def list_films(self, job: Job, films: Sequence[Found], history: Sequence[Event]) -> None:
        """Save the films of a job and the given events, once."""
        entry = self._held(job)
        if entry.job.listed_at:
            return
        listed = {found.film: _Film(found) for found in films}
        if len(listed) != len(films):
            raise ValueError("a film is listed twice")
        entry.films = listed
        entry.change(films=len(films), listed_at=self._now())
        for event in history:
            entry.record(event)

    def films(self, job: Job) -> list[Found]:
        """Return all listed films of the job, in the order of the report."""
        return [film.found for film in self._films(job)]

    def films_left(self, job: Job) -> list[Found]:
        """Return the films of the job without a row, in the order of the report."""
        return [film.found for film in self._films(job) if film.row is None]

    def deaths(self, job: Job) -> dict[str, int]:
        """Return films without a row that were in progress when a worker died, and how often."""
        left = [film for film in self._films(job) if film.row is None]
        return {film.found.film: film.deaths for film in left if film.deaths}

    def commit(
        self, job: Job, rows: Sequence[Row], lease: float, taken: Sequence[str] = ()
    ) -> None:
        """Write rows, each once, mark further films as in progress, and renew the lease."""
        entry = self._held(job)
        new: dict[str, Row] = {}
        for row in rows:
            film = entry.films.get(row.film)
            known = new.get(row.film) or (film and film.row)
            if film is None or known not in (None, row):
                film_name = "a film" if job.options.hash_names else row.film
                raise JobsError(f"{film_name} is not an open film of job {job.name}")
            if known is None:
                new[row.film] = row
        for name, row in new.items():
            entry.films[name].row = row
        if rows:
            entry.change(committed=entry.job.committed + len(new), deaths=0, attempts=0)
        for name in taken:
            if name in entry.films:
                entry.films[name].in_hand = True
        self._renew(entry, lease)

    def rows(self, job: Job) -> list[Row]:
        """Return the rows committed so far, in the order of the report."""
        return [film.row for film in self._films(job) if film.row is not None]

    def counts(self, job: Job) -> dict[Status, int]:
        """Return the number of rows with each status; statuses without rows are left out."""
        return dict(Counter(row.status for row in self.rows(job)))

    def scored_before(self, job: Job, sha256: str) -> str:
        """Return another finished job of this folder and bundle that scored the file, or ``""``."""
        for other in self.jobs(State.DONE):
            same = (other.folder, other.model_sha256) == (job.folder, job.model_sha256)
            scored = {row.sha256 for row in self.rows(other) if row.status is Status.SCORED}
            if same and other.name != job.name and sha256 in scored:
                return other.name
        return ""

    def record(self, job: Job, event: Event) -> None:
        """Add an event to the job's history."""
        self._held(job).record(event)

    def events(self, job: Job) -> list[Event]:
        """Return the job's history, oldest first."""
        entry = self._entries.get(job.name)
        return list(entry.events) if entry else []

    def clear_suspicion(self, job: Job) -> None:
        """Record that the worker that lost this claim is alive."""
        for film in self._films(job):
            if film.lost_fence == job.fence:
                film.deaths, film.lost_fence = film.deaths - 1, 0

    def release(self, job: Job) -> None:
        """Return a claimed job to the queue unfinished, with no films in progress."""
        self._hand_back(job, Action.RELEASE)

    def postpone(self, job: Job, seconds: float, message: str, attempts: int) -> None:
        """Return a claimed job to the queue, to be claimed after `seconds` at the earliest."""
        later = self._clock() + seconds
        self._hand_back(job, Action.POSTPONE, not_before=later, message=message, attempts=attempts)

    def finish(self, job: Job, exit_code: int, message: str = "") -> None:
        """End a claimed job: done for exit codes 0 and 3, failed for others."""
        good = exit_code in (exit_codes.OK, exit_codes.SOME_FAILED)
        state = after(State.RUNNING, Action.FINISH if good else Action.FAIL)
        if self._is(job, state) and self.get(job.name).exit_code == exit_code:
            return
        self._held(job).change(
            state=state,
            exit_code=exit_code,
            message=message,
            finished_at=self._now(),
            lease_until=0.0,
        )

    def cancel(self, name: str) -> Job:
        """Cancel an open job; its worker gets LeaseLost at its next write."""
        entry = self._entry(name)
        job = entry.job
        if job.state is not State.CANCELLED:
            entry.change(
                state=after(job.state, Action.CANCEL),
                fence=job.fence + 1,
                worker="",
                lease_until=0.0,
                finished_at=self._now(),
            )
        return entry.job

    def retry(self, name: str, event: Event) -> Job:
        """Queue a job that has ended again; its failed films lose their rows."""
        entry = self._entry(name)
        job = entry.job
        if event in entry.events:
            return job
        state = after(job.state, Action.RETRY)
        rows = [film.row for film in entry.films.values() if film.row is not None]
        failed = [row.film for row in rows if row.status is Status.FAILED]
        if job.state is State.DONE and not failed:
            raise TransitionError(f"job {name} is done and none of its films failed")
        for twin in filter(lambda other: _is_twin(other, job), self.jobs()):
            raise JobsError(f"job {name} cannot be retried: job {twin.name} does the same work")
        for film in failed:
            entry.films[film].row = None
        for open_film in entry.open_films:
            open_film.in_hand, open_film.deaths, open_film.lost_fence = False, 0, 0
        entry.change(
            state=state,
            committed=job.committed - len(failed),
            worker="",
            lease_until=0.0,
            not_before=0.0,
            attempts=0,
            deaths=0,
            finished_at="",
            exit_code=None,
            message="",
        )
        entry.told = False
        entry.record(event)
        return entry.job

    def prune(self, ended_before: str) -> list[str]:
        """Delete jobs that ended before this time (UTC, ISO 8601); return their names."""
        ended = [job for job in self.jobs() if job.state not in OPEN]
        names = [job.name for job in ended if job.finished_at < ended_before]
        for name in names:
            del self._entries[name]
        return names

    def pin(self, name: str, value: str) -> str:
        """Return the value shared by all workers of a queue: the first one pinned as `name`."""
        return self._pins.setdefault(name, value)

    def save_night(self, job: Job, profile: Mapping[str, Any]) -> None:
        """Save the profile of a claimed job's films."""
        self._held(job)
        self._nights[job.name] = (job, dict(profile))
        for name in self._nights_of(job)[:-NIGHTS]:
            del self._nights[name]

    def nights(self, job: Job, most: int) -> list[dict[str, Any]]:
        """Return profiles of the last nights before a job, of its site and model, oldest first."""
        before = [
            self._nights[name][1]
            for name in self._nights_of(job)
            if name != job.name and self._nights[name][0].submitted_at <= job.submitted_at
        ]
        return before[-most:]

    def pending_notifications(self, since: str) -> list[Job]:
        """Return jobs that ended since this time (UTC, ISO 8601) and were not notified yet."""
        over = self.jobs(State.DONE, State.FAILED)
        return [job for job in over if job.finished_at >= since and not self._entry(job.name).told]

    def mark_notified(self, job: Job) -> None:
        """Record that the job's end was notified."""
        if self._is(job, State.DONE) or self._is(job, State.FAILED):
            self._entry(job.name).told = True

    def close(self) -> None:
        """Do nothing."""

    def _nights_of(self, job: Job) -> list[str]:
        """Return the names of jobs with saved nights of the same site and model, oldest first."""
        same = [
            other
            for other, _profile in self._nights.values()
            if (other.site, other.model_sha256) == (job.site, job.model_sha256)
        ]
        return [other.name for other in sorted(same, key=lambda it: (it.submitted_at, it.name))]

    def _now(self) -> str:
        return stamp(self._clock())

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise UnknownJob(f"there is no job {name}")
        return self._entries[name]

    def _films(self, job: Job) -> list[_Film]:
        entry = self._entries.get(job.name)
        return list(entry.films.values()) if entry else []

    def _is_claimable(self, entry: _Entry) -> bool:
        job, time = entry.job, self._clock()
        for earlier in self.jobs():
            if earlier is job:
                break
            if job.schedule and earlier.schedule == job.schedule and earlier.state in OPEN:
                return False
        if job.state is State.QUEUED:
            return job.not_before <= time
        is_expired = job.lease_until < time or job.lease_until > time + 2 * entry.lease
        return job.state is State.RUNNING and is_expired

    def _is(self, job: Job, state: State) -> bool:
        """Return True if this claim of the job has led to that state."""
        entry = self._entries.get(job.name)
        return entry is not None and (entry.job.fence, entry.job.state) == (job.fence, state)

    def _held(self, job: Job) -> _Entry:
        if not self._is(job, State.RUNNING):
            raise LeaseLost(f"job {job.name} is no longer held by {job.worker}")
        return self._entries[job.name]

    def _renew(self, entry: _Entry, lease: float) -> None:
        entry.lease = lease
        entry.change(lease_until=self._clock() + lease)

    def _hand_back(self, job: Job, action: Action, **changes: Any) -> None:
        state = after(State.RUNNING, action)
        if self._is(job, state):
            return
        entry = self._held(job)
        entry.change(state=state, worker="", lease_until=0.0, **changes)
        for film in entry.films.values():
            film.in_hand = False


def stamp(seconds: float) -> str:
    """Format a time as in jobs: UTC, ISO 8601, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _is_twin(other: Job, job: Job) -> bool:
    """Return True if `other` is an open job for the same work."""
    return bool(job.identity) and other.identity == job.identity and other.state in OPEN


def _mark_lost(entry: _Entry) -> None:
    """Mark the films in progress in a lost worker: one of them may have killed it."""
    for film in entry.open_films:
        if film.in_hand:
            film.in_hand, film.deaths = False, film.deaths + 1
            film.lost_fence = entry.job.fence
