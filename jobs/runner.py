"""Carry out one job: list its films, screen those that have no row yet, write its report."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from jobs import exit_codes
from jobs.engines.engine import Engine
from jobs.errors import JobFailed, SystemicFailure
from jobs.failures import Failures
from jobs.job import Job
from jobs.store import Store
from screening.audit import Event, is_report_of
from screening.clock import now
from screening.films import Found, discover
from screening.pipeline import Screener, Seen
from screening.reasons import reason
from screening.report.labels import Labels
from screening.row import Row, Status

if TYPE_CHECKING:
    from screening.report.write import Report

#: Seconds for which a claim holds; each commit renews it.
LEASE = 120.0

#: Rows committed together where nothing is screened.
_MANY: Final = 1000


class Watcher(Protocol):
    """Told how far a job is."""

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""

    def committed(self, rows: list[Row]) -> None:
        """Rows are in the ledger."""

    def reported(self, report: Report) -> None:
        """The report is there."""


@dataclass(frozen=True)
class Tools:
    """What a job needs; put together by the command line.

    Attributes:
        open_screener: loads the job's bundle, checks that it is the one submitted.
    """

    store: Store
    engine: Engine
    open_screener: Callable[[Job], Screener]
    watcher: Watcher


def carry_out(job: Job, tools: Tools) -> int:
    """Carry out a claimed job, from wherever an earlier worker left it.

    Returns:
        The exit code: 0, or 3 if some films failed.

    Raises:
        ScreeningError: if it cannot be carried out as submitted.
        SystemicFailure: if too many films failed; the report is there.
        LeaseLost: if another worker has taken over.
    """
    with closing(tools.open_screener(job)) as screener:
        return _carry_out(job, tools, screener)


def _carry_out(job: Job, tools: Tools, screener: Screener) -> int:
    store = tools.store
    labels = Labels.read(job.labels) if job.labels else None
    _begin(job, store, screener)
    left = store.films_left(job)
    done = store.rows(job)
    if labels is not None:
        # Labels that fit several films, or contradict each other, are found before the work.
        labels.join(
            [*done, *(Row(film=found.film, status=Status.SCORED) for found in left)], screener.key
        )
    tools.watcher.started(job, len(left) + len(done), len(left))
    failures = Failures(job.max_failure_rate)
    _screen(job, tools, screener, left, done, failures)
    if failures.are_systemic():
        _give_up(job, tools, failures)
    rows = _reconciled(job, store)
    tools.watcher.reported(_report(job, store, rows, labels, screener))
    if job.gallery is not None:
        job.gallery.clear()
    if failures.are_systemic():
        raise SystemicFailure(str(failures))
    failed = any(row.status is Status.FAILED for row in rows)
    return exit_codes.SOME_FAILED if failed else exit_codes.OK


def _screen(
    job: Job,
    tools: Tools,
    screener: Screener,
    left: list[Found],
    done: list[Row],
    failures: Failures,
) -> None:
    """Screen and commit, batch by batch, until all is done or too much has failed."""
    seen = Seen()
    for row in done:
        seen.add(row)
    failures.count(done)
    if failures.are_systemic():
        return
    with closing(tools.engine.screen(screener, left, seen, job.batch)) as batches:
        for rows in batches:
            tools.store.commit(job, rows, LEASE)
            tools.watcher.committed(rows)
            failures.count(rows)
            if failures.are_systemic():
                return


def _give_up(job: Job, tools: Tools, failures: Failures) -> None:
    """Every film that was not reached gets its row, too."""
    left = tools.store.films_left(job)
    tools.store.record(job, Event(now(), "given_up", job.name, str(failures)))
    why = reason("not_screened")
    for start in range(0, len(left), _MANY):
        rows = [
            Row(film=found.film, status=Status.FAILED, reason=why, screened_at=now())
            for found in left[start : start + _MANY]
        ]
        tools.store.commit(job, rows, LEASE)
        tools.watcher.committed(rows)


def _begin(job: Job, store: Store, screener: Screener) -> None:
    """Take the list of files, once; a job that was listed before goes on with that list."""
    who = f"worker {job.worker}, user {_user()}, host {platform.node()}"
    if store.events(job):
        store.record(job, Event(now(), "resumed", job.name, who))
        return
    model = screener.card.model
    runtime = screener.predictor.runtime
    threshold = screener.card.operating_point.threshold
    detail = f"{model}, {runtime}, threshold {threshold}, {who}"
    try:
        films = discover(job.folder)
    except OSError as error:
        folder = f"of job {job.name}" if job.hash_names else str(job.folder)
        raise JobFailed(f"the folder {folder} cannot be listed: {error.strerror}") from error
    history = [
        Event(job.submitted_at, "submitted", job.name),
        Event(now(), "started", job.name, detail, job.model_sha256),
        Event(now(), "listed", job.name, f"{len(films)} files"),
    ]
    store.list_films(job, films, history)


def _report(
    job: Job, store: Store, rows: list[Row], labels: Labels | None, screener: Screener
) -> Report:
    # pandas and SciPy are not waited for before the first film.
    from screening.report.write import Report, write_report

    if is_report_of(job.report, job.name):
        # An earlier worker wrote it, and died before it could say so.
        return Report(job.report, rows, ())
    history = _history(job, store, rows, screener.shown_name)
    return write_report(
        job.report, rows, history, labels, screener.key, screener.shown_name, job.gallery
    )


def _user() -> str:
    """Who runs this; in a container the user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _reconciled(job: Job, store: Store) -> list[Row]:
    """Files in = rows out, or no report."""
    rows = store.rows(job)
    listed = store.get(job.name).films
    if len(rows) != listed or len({row.film for row in rows}) != listed:
        raise JobFailed(f"job {job.name} listed {listed} files but has {len(rows)} rows")
    return rows


def _history(
    job: Job, store: Store, rows: list[Row], shown_name: Callable[[str], str]
) -> list[Event]:
    """The job's events, and the files that came too late for it."""
    listed = {row.film for row in rows}
    try:
        late = [found.film for found in discover(job.folder) if found.film not in listed]
    except OSError:
        late = []
    at = now()
    return [*store.events(job), *(Event(at, "arrived_late", shown_name(film)) for film in late)]
