"""Jobs for people and programs: words, tables, sheets and JSON fields."""

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
from jobs.queue.store import Store
from screening.audit import Event
from screening.files import display_name
from screening.results import Status

#: Seconds from which the next larger unit is used, and the seconds in it.
_UNITS: Final = ((36 * 3600, 86400, "d"), (5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))


def folder(job: Job) -> str:
    """The folder, unless it may hold a name."""
    return "(not shown: --hash-names)" if job.options.hash_names else display_name(str(job.folder))


def progress(job: Job) -> str:
    """Films done and found: ``1200/1500``."""
    return f"{job.committed}/{job.films}" if job.films else "-"


def worker(job: Job) -> str:
    """Host and process of the worker; empty if there is none."""
    return display_name(job.worker.rpartition(":")[0] or job.worker)


def tags(job: Job) -> str:
    """The job's tags, without a space between them: ``ct,night``."""
    return ",".join(map(display_name, job.tags))


def state_since(job: Job) -> datetime:
    """Since when the job has been in its state, UTC; of one that waits, when it was submitted."""
    started = job.started_at if job.state is State.RUNNING else ""
    return datetime.fromisoformat(job.finished_at or started or job.submitted_at)


def duration_text(seconds: float) -> str:
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
        return f"its worker was last heard of more than {duration_text(now - job.lease_until)} ago"
    if job.state is not State.QUEUED:
        return display_name(job.message)
    if job.not_before > now:
        until = f"waits until {_moment(job.not_before, now)}"
        return f"{until}: {display_name(job.message)}" if job.message else until
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


def failed_films(store: Store, job: Job) -> int:
    """How many films of the job have failed so far; the store is asked only if one may have."""
    if not job.committed or job.exit_code == exit_codes.OK:
        return 0
    return store.counts(job).get(Status.FAILED, 0)


def fields(job: Job, failed: int) -> dict[str, Any]:
    """What every ``--json`` says of a job; None where there is nothing to say.

    Args:
        failed: how many of its films have failed so far.
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
    """The same, and what only ``jobs show`` says.

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
    """Seconds since the epoch as every other time is written; None for 0."""
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
    """The lines of it: what it is, how it stands, its options, and its history.

    Args:
        counts: films by status, so far.
        waiting: all open jobs, oldest first.
        now: seconds since the epoch.
    """
    said = _asked(job) | _become(job, counts, note(job, waiting, now))
    for title, value in said.items():
        if value:
            yield f"{title:<12} {value}"
    yield "options"
    for name, value in _options(job):
        yield f"  {name:<18} {display_name(value)}"
    yield "history"
    for event in history:
        yield display_name(f"  {event.at}  {event.event}  {event.detail}".rstrip())


def _asked(job: Job) -> dict[str, str]:
    """What was asked for."""
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


def _become(job: Job, counts: Mapping[Status, int], note: str) -> dict[str, str]:
    """What has become of it."""
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
        "put off": _times(job.attempts),
        "deaths": f"{_times(job.deaths)} in a row, of its workers" if job.deaths else "",
        "exit code": "" if job.exit_code is None else str(job.exit_code),
        "note": note,
        "message": "" if display_name(job.message) in note else display_name(job.message),
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


#: Colours are no more than a help: the word is always there.
_STYLES: Final = {
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "red",
    State.CANCELLED: "dim",
}


@dataclass(frozen=True)
class Listed:
    """A job of the list.

    Attributes:
        failed: films that have failed so far.
        note: what it waits for, or why it ended as it did.
    """

    job: Job
    failed: int
    note: str


class Tail:
    """Text that is shortened at its front: the end of a path says most."""

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
    """A table without lines, as wide as its cells or as the terminal."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def state_text(job: Job) -> Text:
    """The job's state, in its colour."""
    return Text(job.state.value, style=_STYLES.get(job.state, ""))


def table(listed: Sequence[Listed], now: float) -> Table:
    """For a terminal, of 80 columns or more.

    Args:
        now: seconds since the epoch.
    """
    shown = empty_table()
    for title in ("JOB", "STATE"):
        shown.add_column(title, no_wrap=True)
    shown.add_column("FILMS", no_wrap=True, justify="right")
    # The room is the folder's, if it is not needed.
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
            _place(one),
        )
    return shown


def lines(listed: Iterable[Listed]) -> Iterator[str]:
    """For everything else: aligned columns, a job a line, ``-`` for what there is not."""
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


def _place(one: Listed) -> RenderableType:
    """The folder, and below it what there is to say."""
    more = [
        f"priority {one.job.priority}" if one.job.priority else "",
        tags(one.job),
        one.note,
    ]
    said = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in more if line]
    return Group(Tail(folder(one.job)), *said)
