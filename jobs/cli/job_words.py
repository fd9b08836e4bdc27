"""A job for people: short words, each safe for a terminal."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from jobs.job import Job
from jobs.states import OPEN, State
from screening.printable import printable

#: Seconds from which the next larger unit is used, and the seconds in it.
_UNITS: Final = ((36 * 3600, 86400, "d"), (5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))


def folder(job: Job) -> str:
    """The folder, unless it may hold a name."""
    return "(not shown: --hash-names)" if job.options.hash_names else printable(str(job.folder))


def progress(job: Job) -> str:
    """Films done and found: ``1200/1500``."""
    return f"{job.committed}/{job.films}" if job.films else "-"


def worker(job: Job) -> str:
    """Host and process of the worker; empty if there is none."""
    return printable(job.worker.rpartition(":")[0] or job.worker)


def tags(job: Job) -> str:
    """The job's tags, without a space between them: ``ct,night``."""
    return ",".join(map(printable, job.tags))


def since(job: Job) -> datetime:
    """Since when the job has been in its state, UTC; of one that waits, when it was submitted."""
    started = job.started_at if job.state is State.RUNNING else ""
    return datetime.fromisoformat(job.finished_at or started or job.submitted_at)


def span(seconds: float) -> str:
    """A length of time in one unit: ``12 min``."""
    seconds = max(0.0, seconds)
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"{round(seconds / size)} {unit}"


def note(job: Job, waiting: Iterable[Job], now: float) -> str:
    """What a job waits for, or why it ended as it did; empty if there is nothing to say.

    Args:
        waiting: all open jobs, oldest first.
        now: seconds since the epoch.
    """
    if job.state is State.RUNNING and job.lease_until < now:
        return f"its worker was last heard of more than {span(now - job.lease_until)} ago"
    if job.state is not State.QUEUED:
        return printable(job.message)
    if job.not_before > now:
        until = f"waits until {_moment(job.not_before, now)}"
        return f"{until}: {printable(job.message)}" if job.message else until
    earlier = _earlier(job, waiting)
    return f"waits for {earlier.name}, of the same schedule" if earlier else ""


def _earlier(job: Job, waiting: Iterable[Job]) -> Job | None:
    """The open job of the same schedule that comes before."""
    if not job.schedule:
        return None
    same = [other for other in waiting if other.schedule == job.schedule and other.state in OPEN]
    return None if not same or same[0].name == job.name else same[0]


def _moment(seconds: float, now: float) -> str:
    """A time in the machine's zone, with the day if that is another one."""
    at, today = (datetime.fromtimestamp(time, UTC).astimezone() for time in (seconds, now))
    return f"{at:%H:%M:%S}" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M}"
