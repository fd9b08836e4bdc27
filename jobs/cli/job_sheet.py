"""All that a queue knows of one job, for people."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.cli import job_words
from jobs.job import Job
from jobs.states import State
from screening.audit import Event
from screening.printable import printable
from screening.row import Status


def sheet(
    job: Job,
    counts: Mapping[Status, int],
    history: Iterable[Event],
    waiting: Sequence[Job],
    now: float,
) -> Iterator[str]:
    """The lines of it: what it is, how it stands, its options, and its history.

    Args:
        counts: films by status, so far.
        waiting: all open jobs, oldest first.
        now: seconds since the epoch.
    """
    said = _asked(job) | _become(job, counts, job_words.note(job, waiting, now))
    for title, value in said.items():
        if value:
            yield f"{title:<12} {value}"
    yield "options"
    for name, value in _options(job):
        yield f"  {name:<18} {printable(value)}"
    yield "history"
    for event in history:
        yield printable(f"  {event.at}  {event.event}  {event.detail}".rstrip())


def _asked(job: Job) -> dict[str, str]:
    """What was asked for."""
    return {
        "job": job.name,
        "folder": job_words.folder(job),
        "model": f"{printable(str(job.model))} ({job.model_sha256[:16]})",
        "report": printable(str(job.report)),
        "priority": str(job.priority or ""),
        "tags": job_words.tags(job),
        "schedule": printable(job.schedule),
        "submitted": job.submitted_at,
    }


def _become(job: Job, counts: Mapping[Status, int], note: str) -> dict[str, str]:
    """What has become of it."""
    numbers = [f"{counts[status]} {status.value}" for status in Status if status in counts]
    none = "none in the folder" if job.listed_at else "not listed yet"
    lease = datetime.fromtimestamp(job.lease_until, UTC).isoformat(timespec="milliseconds")
    return {
        "state": job.state.value,
        "films": ", ".join([job_words.progress(job), *numbers]) if job.films else none,
        "started": job.started_at,
        "listed": job.listed_at,
        "finished": job.finished_at,
        "worker": printable(job.worker) or "none",
        "lease until": lease if job.state is State.RUNNING else "",
        "claims": str(job.fence or ""),
        "put off": _times(job.attempts),
        "deaths": f"{_times(job.deaths)} in a row, of its workers" if job.deaths else "",
        "exit code": "" if job.exit_code is None else str(job.exit_code),
        "note": note,
        "message": "" if printable(job.message) in note else printable(job.message),
    }


def _options(job: Job) -> Iterator[tuple[str, str]]:
    for name, value in job.options.as_dict().items():
        if isinstance(value, dict):
            yield from ((f"{name}.{part}", _plain(of_it)) for part, of_it in value.items())
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _times(number: int) -> str:
    return "" if not number else "once" if number == 1 else f"{number} times"
