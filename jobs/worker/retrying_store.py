"""Retry calls to a queue that is temporarily unavailable."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, ParamSpec, TypeVar

import stamina

from jobs.errors import QueueUnavailable
from jobs.queue.jobs import Job, State
from jobs.queue.schedules import Schedule, ScheduledRun, ScheduleStore, WatchedFolder
from jobs.queue.store import JobStore, RunHistory
from jobs.worker.lease import Stop
from screening.audit import Event
from screening.files import Found
from screening.results import Row, Status

_FIRST: Final = 30.0
_LONGEST: Final = 3600.0


def delay(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds before the next attempt.

    The delay doubles with each attempt up to an hour, and half of it is random. The jitter keeps
    jobs that failed together from returning together; see M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015 ("equal jitter").

    Args:
        attempt: 0 before the first retry.
        chance: returns a random number from 0 to 1.
    """
    longest = min(_LONGEST, _FIRST * 2.0 ** min(attempt, 16))
    return longest * (1 + chance()) / 2


Result = TypeVar("Result")
Store = TypeVar("Store")
P = ParamSpec("P")

#: Seconds that a command retries before it gives up.
PATIENCE: Final = 600.0

#: Seconds that a stopping worker retries its final writes: long enough for a database restart.
#: Films that it leaves marked as in progress are suspected of having killed it.
FAREWELL: Final = 10.0


def retry_calls(
    ask: Callable[[], Result], stop: Stop, seconds: float | None = PATIENCE, farewell: float = 0.0
) -> Result:
    """Call `ask` until the queue answers.

    Args:
        ask: must be safe to call again if its answer was lost.
        stop: after a stop request, retries end after `farewell` seconds; after a second one, at
            once.
        seconds: give up after this time; None for never.
        farewell: seconds of retrying after a stop request.

    Raises:
        QueueUnavailable: if it gives up.
    """

    def should_retry(error: Exception) -> bool:
        waits = not stop.asked or (stop.seconds < farewell and not stop.asked_twice)
        return isinstance(error, QueueUnavailable) and waits

    for attempt in stamina.retry_context(
        on=should_retry, attempts=None, timeout=seconds, wait_initial=0.1, wait_max=5.0
    ):
        with attempt:
            return ask()
    raise AssertionError("the loop returns or raises")


class _RetryingStore(Generic[Store]):
    """Calls a store whose database may be restarting.

    Args:
        seconds: time after which :class:`~jobs.errors.QueueUnavailable` is raised; None for never.
    """

    def __init__(self, store: Store, stop: Stop, seconds: float | None = PATIENCE) -> None:
        self._store = store
        self._stop = stop
        self._seconds = seconds

    def _retry(
        self, method: Callable[P, Result], *arguments: P.args, **keywords: P.kwargs
    ) -> Result:
        return retry_calls(lambda: method(*arguments, **keywords), self._stop, self._seconds)

    def _retry_final_write(
        self, method: Callable[P, Result], *arguments: P.args, **keywords: P.kwargs
    ) -> Result:
        return retry_calls(
            lambda: method(*arguments, **keywords), self._stop, self._seconds, FAREWELL
        )


class RetryingJobStore(_RetryingStore[JobStore], JobStore):
    """A :class:`~jobs.queue.store.JobStore` that survives a restart of the database."""

    def add(self, job: Job) -> Job:
        return self._retry(self._store.add, job)

    def get(self, name: str) -> Job:
        return self._retry(self._store.get, name)

    def jobs(self, *states: State) -> list[Job]:
        return self._retry(self._store.jobs, *states)

    def totals(self) -> Mapping[State, int]:
        return self._retry(self._store.totals)

    def claim(self, worker: str, lease: float, only: str | None = None) -> Job | None:
        return self._retry(self._store.claim, worker, lease, only)

    def renew(self, job: Job, lease: float) -> None:
        # The next heartbeat is the next attempt.
        self._store.renew(job, lease)

    def expire(self, job: Job) -> None:
        self._retry(self._store.expire, job)

    def list_films(self, job: Job, films: Sequence[Found], history: Sequence[Event]) -> None:
        self._retry(self._store.list_films, job, films, history)

    def films(self, job: Job) -> list[Found]:
        return self._retry(self._store.films, job)

    def films_left(self, job: Job) -> list[Found]:
        return self._retry(self._store.films_left, job)

    def deaths(self, job: Job) -> dict[str, int]:
        return self._retry(self._store.deaths, job)

    def commit(
        self, job: Job, rows: Sequence[Row], lease: float, taken: Sequence[str] = ()
    ) -> None:
        self._retry_final_write(self._store.commit, job, rows, lease, taken)

    def rows(self, job: Job) -> list[Row]:
        return self._retry(self._store.rows, job)

    def counts(self, job: Job) -> dict[Status, int]:
        return self._retry(self._store.counts, job)

    def scored_before(self, job: Job, sha256: str) -> str:
        return self._retry(self._store.scored_before, job, sha256)

    def record(self, job: Job, event: Event) -> None:
        self._retry(self._store.record, job, event)

    def events(self, job: Job) -> list[Event]:
        return self._retry(self._store.events, job)

    def clear_suspicion(self, job: Job) -> None:
        self._retry_final_write(self._store.clear_suspicion, job)

    def release(self, job: Job) -> None:
        self._retry_final_write(self._store.release, job)

    def postpone(self, job: Job, seconds: float, message: str, attempts: int) -> None:
        self._retry_final_write(self._store.postpone, job, seconds, message, attempts)

    def finish(self, job: Job, exit_code: int, message: str = "") -> None:
        self._retry_final_write(self._store.finish, job, exit_code, message)

    def cancel(self, name: str) -> Job:
        return self._retry(self._store.cancel, name)

    def retry(self, name: str, event: Event) -> Job:
        return self._retry(self._store.retry, name, event)

    def prune(self, ended_before: str) -> list[str]:
        return self._retry(self._store.prune, ended_before)

    def pin(self, name: str, value: str) -> str:
        return self._retry(self._store.pin, name, value)

    def close(self) -> None:
        self._store.close()


class RetryingRunHistory(_RetryingStore[RunHistory], RunHistory):
    """A :class:`~jobs.queue.store.RunHistory` that survives a restart of the database."""

    def save_night(self, job: Job, profile: Mapping[str, Any]) -> None:
        self._retry(self._store.save_night, job, profile)

    def nights(self, job: Job, most: int) -> list[dict[str, Any]]:
        return self._retry(self._store.nights, job, most)


class RetryingScheduleStore(_RetryingStore[ScheduleStore], ScheduleStore):
    """A :class:`~jobs.queue.schedules.ScheduleStore` that survives a restart of the database."""

    def add(self, schedule: Schedule) -> None:
        self._retry(self._store.add, schedule)

    def schedules(self) -> list[Schedule]:
        return self._retry(self._store.schedules)

    def remove(self, name: str) -> None:
        self._retry(self._store.remove, name)

    def firings(self, name: str) -> list[ScheduledRun]:
        return self._retry(self._store.firings, name)

    def fire(
        self, schedule: Schedule, due: Mapping[int, Job], skipped: Sequence[int], last: int
    ) -> bool:
        return self._retry(self._store.fire, schedule, due, skipped, last)

    def reports(self, name: str) -> set[Path]:
        return self._retry(self._store.reports, name)

    def watched(self, folder: Path, names: Collection[str]) -> dict[str, WatchedFolder]:
        return self._retry(self._store.watched, folder, names)

    def watch(self, folder: Path, name: str, modified_ns: int, job: Job) -> bool:
        return self._retry(self._store.watch, folder, name, modified_ns, job)

    def rewatch(self, folder: Path, name: str, modified_ns: int) -> None:
        self._retry(self._store.rewatch, folder, name, modified_ns)
