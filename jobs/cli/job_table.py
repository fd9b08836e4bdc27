"""Jobs one below the other: a table on a terminal, a line each elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from jobs.cli import job_words
from jobs.job import Job
from jobs.states import State

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
        span = job_words.span(now - job_words.since(one.job).timestamp())
        shown.add_row(
            one.job.name,
            state_text(one.job),
            job_words.progress(one.job),
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
        yield "  ".join([*padded, job_words.folder(one.job), one.note]).rstrip()


def _cells(one: Listed) -> list[str]:
    since = job_words.since(one.job).astimezone(UTC)
    return [
        one.job.name,
        one.job.state.value,
        job_words.progress(one.job),
        str(one.failed),
        str(one.job.priority),
        f"{since:%Y-%m-%dT%H:%M:%SZ}",
        job_words.tags(one.job) or "-",
    ]


def _place(one: Listed) -> RenderableType:
    """The folder, and below it what there is to say."""
    more = [
        f"priority {one.job.priority}" if one.job.priority else "",
        job_words.tags(one.job),
        one.note,
    ]
    said = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in more if line]
    return Group(Tail(job_words.folder(one.job)), *said)
