"""Text, table and JSON views of jobs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from jobs import exit_codes
from jobs.queue.jobs import OPEN, Job, State
from jobs.queue.store import JobStore
from screening.audit import Event
from screening.files import display_name
from screening.results import Status

#: Shortest duration in seconds for which a unit is used, seconds per unit, and its name.
_UNITS: Final = ((36 * 3600, 86400, "d"), (5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))


def folder(job: Job) -> str:
    """Return the job's folder for display; it is hidden with ``--hash-names``."""
    return "(not shown: --hash-names)" if job.options.hash_names else display_name(str(job.folder))


def progress(job: Job) -> str:
    """Return the numbers of films done and found: ``1200/1500``."""
    return f"{job.committed}/{job.films}" if job.films else "-"


def worker(job: Job) -> str:
    """Return host and process of the worker; empty if the job has none."""
    return display_name(job.worker.rpartition(":")[0] or job.worker)


def tags(job: Job) -> str:
    """Return the job's tags, separated by commas only: ``ct,night``."""
    return ",".join(map(display_name, job.tags))


def state_since(job: Job) -> datetime:
    """Return the time at which the job entered its state, UTC; for a queued job, its submission."""
    started = job.started_at if job.state is State.RUNNING else ""
    return datetime.fromisoformat(job.finished_at or started or job.submitted_at)


def duration_text(seconds: float) -> str:
    """Format a duration in a single unit: ``12 min``."""
    seconds = max(0.0, seconds)
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"{round(seconds / size)} {unit}"


def note(job: Job, waiting: Iterable[Job], now: float) -> str:
    """Say what a job waits for or why it ended; empty if neither applies.

    Args:
        waiting: all open jobs, oldest first.
        now: seconds since the epoch.
    """
    if job.state is State.RUNNING and job.lease_until < now:
        return f"its worker has not responded for more than {duration_text(now - job.lease_until)}"
    if job.state is not State.QUEUED:
        return display_name(job.message)
    if job.not_before > now:
        until = f"waits until {_local_time(job.not_before, now)}"
        return f"{until}: {display_name(job.message)}" if job.message else until
    earlier = _earlier(job, waiting)
    return f"waits for job {earlier.name} of the same schedule" if earlier else ""


def _earlier(job: Job, waiting: Iterable[Job]) -> Job | None:
    """Return the open job of the same schedule that runs before this one."""
    if not job.schedule:
        return None
    same = [other for other in waiting if other.schedule == job.schedule and other.state in OPEN]
    return None if not same or same[0].name == job.name else same[0]


def _local_time(seconds: float, now: float) -> str:
    """Format a time in the local zone, with its date if that is not today."""
    at, today = (datetime.fromtimestamp(time, UTC).astimezone() for time in (seconds, now))
    return f"{at:%H:%M:%S}" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M}"


def failed_films(store: JobStore, job: Job) -> int:
    """Count the failed films of a job so far; query the store only if there can be any."""
    if not job.committed or job.exit_code == exit_codes.OK:
        return 0
    return store.counts(job).get(Status.FAILED, 0)


def fields(job: Job, failed: int) -> dict[str, Any]:
    """Return the fields that every ``--json`` output has for a job; missing values are None.

    Args:
        failed: number of its films that have failed so far.
    """
    return {
        "name": job.name,
        "state": job.state.value,
        "folder": None if job.options.hash_names else str(job.folder),
        "report": str(job.report),
        "model": str(job.model),
        "model_sha256": job.model_sha256,
        "priority": job.priority,
        "tags": list(job.tags),
        "schedule": job.schedule or None,
        "films": job.films,
        "committed": job.committed,
        "failed": failed,
        "submitted_at": job.submitted_at,
        "not_before": _iso(job.not_before),
        "started_at": job.started_at or None,
        "finished_at": job.finished_at or None,
        "worker": job.worker or None,
        "lease_until": _iso(job.lease_until),
        "attempts": job.attempts,
        "exit_code": job.exit_code,
        "message": job.message or None,
    }


def all_fields(job: Job, counts: Mapping[Status, int], history: Iterable[Event]) -> dict[str, Any]:
    """Return the fields of :func:`fields` and those that only ``jobs show`` prints.

    Args:
        counts: films by status, so far.
    """
    return fields(job, counts.get(Status.FAILED, 0)) | {
        "listed_at": job.listed_at or None,
        "claims": job.fence,
        "deaths": job.deaths,
        "counts": {status.value: counts.get(status, 0) for status in Status},
        "options": job.options.as_dict(),
        "history": [asdict(event) for event in history],
    }


def _iso(seconds: float) -> str | None:
    """Format seconds since the epoch as ISO 8601, UTC, with milliseconds; None for 0."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def sheet(
    job: Job,
    counts: Mapping[Status, int],
    history: Iterable[Event],
    waiting: Sequence[Job],
    now: float,
) -> Iterator[str]:
    """Yield the lines of ``jobs show``: submission, state, options and history.

    Args:
        counts: films by status, so far.
        waiting: all open jobs, oldest first.
        now: seconds since the epoch.
    """
    entries = _submission_fields(job) | _state_fields(job, counts, note(job, waiting, now))
    for title, value in entries.items():
        if value:
            yield f"{title:<12} {value}"
    yield "options"
    for name, value in _options(job):
        yield f"  {name:<18} {display_name(value)}"
    yield "history"
    for event in history:
        yield display_name(f"  {event.at}  {event.event}  {event.detail}".rstrip())


def _submission_fields(job: Job) -> dict[str, str]:
    """Return titles and values of the submission."""
    return {
        "job": job.name,
        "folder": folder(job),
        "model": f"{display_name(str(job.model))} ({job.model_sha256[:16]})",
        "report": display_name(str(job.report)),
        "priority": str(job.priority or ""),
        "tags": tags(job),
        "schedule": display_name(job.schedule),
        "submitted": job.submitted_at,
    }


def _state_fields(job: Job, counts: Mapping[Status, int], note: str) -> dict[str, str]:
    """Return titles and values of the current state."""
    numbers = [f"{counts[status]} {status.value}" for status in Status if status in counts]
    none = "none in the folder" if job.listed_at else "not listed yet"
    lease = datetime.fromtimestamp(job.lease_until, UTC).isoformat(timespec="milliseconds")
    return {
        "state": job.state.value,
        "films": ", ".join([progress(job), *numbers]) if job.films else none,
        "started": job.started_at,
        "listed": job.listed_at,
        "finished": job.finished_at,
        "worker": display_name(job.worker) or "none",
        "lease until": lease if job.state is State.RUNNING else "",
        "claims": str(job.fence or ""),
        "postponed": _times(job.attempts),
        "worker died": _times(job.deaths),
        "exit code": "" if job.exit_code is None else str(job.exit_code),
        "note": note,
        "message": "" if display_name(job.message) in note else display_name(job.message),
    }


def _options(job: Job) -> Iterator[tuple[str, str]]:
    for name, value in job.options.as_dict().items():
        if isinstance(value, dict):
            yield from (
                (f"{name}.{part}", _plain(part_value)) for part, part_value in value.items()
            )
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _times(number: int) -> str:
    return "" if not number else "once" if number == 1 else f"{number} times"


#: Colours are optional: the word is always printed.
_STYLES: Final = {
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "red",
    State.CANCELLED: "dim",
}


@dataclass(frozen=True)
class Listed:
    """A job in the list.

    Attributes:
        failed: films that have failed so far.
        note: what the job waits for, or why it ended.
    """

    job: Job
    failed: int
    note: str


class Tail:
    """Text that is truncated at its start, because the end of a path says most."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        text = self._text
        while cell_len(text) > options.max_width:
            text = "…" + text.removeprefix("…")[1:]
        yield Text(text, no_wrap=True)

    def __rich_measure__(self, _console: Console, _options: ConsoleOptions) -> Measurement:
        return Measurement(min(10, cell_len(self._text)), cell_len(self._text))


def empty_table() -> Table:
    """Return a table without rows, as wide as its cells need, at most as wide as the terminal."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def state_text(job: Job) -> Text:
    """Return the job's state in its colour."""
    return Text(job.state.value, style=_STYLES.get(job.state, ""))


def table(listed: Sequence[Listed], now: float) -> Table:
    """Return the list as a table for a terminal of at least 80 columns.

    Args:
        now: seconds since the epoch.
    """
    shown = empty_table()
    for title in ("JOB", "STATE"):
        shown.add_column(title, no_wrap=True)
    shown.add_column("FILMS", no_wrap=True, justify="right")
    # Without failed films, leave the width of this column to the folder.
    some_failed = any(one.failed for one in listed)
    if some_failed:
        shown.add_column("FAILED", no_wrap=True, justify="right", style="red")
    shown.add_column("SINCE", no_wrap=True, justify="right")
    shown.add_column("FOLDER")
    for one in listed:
        span = duration_text(now - state_since(one.job).timestamp())
        shown.add_row(
            one.job.name,
            state_text(one.job),
            progress(one.job),
            *([str(one.failed or "")] if some_failed else []),
            span,
            _folder_cell(one),
        )
    return shown


def lines(listed: Iterable[Listed]) -> Iterator[str]:
    """Yield the list as plain text: one job per line, aligned columns, ``-`` for missing values."""
    listed = list(listed)
    cells = [_cells(one) for one in listed]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for one, row in zip(listed, cells, strict=True):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join([*padded, folder(one.job), one.note]).rstrip()


def _cells(one: Listed) -> list[str]:
    since = state_since(one.job).astimezone(UTC)
    return [
        one.job.name,
        one.job.state.value,
        progress(one.job),
        str(one.failed),
        str(one.job.priority),
        f"{since:%Y-%m-%dT%H:%M:%SZ}",
        tags(one.job) or "-",
    ]


def _folder_cell(one: Listed) -> RenderableType:
    """Return the folder, with priority, tags and note on the lines below it."""
    more = [
        f"priority {one.job.priority}" if one.job.priority else "",
        tags(one.job),
        one.note,
    ]
    entries = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in more if line]
    return Group(Tail(folder(one.job)), *entries)
