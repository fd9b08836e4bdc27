"""``screening jobs``: inspect and manage jobs."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from jobs import exit_codes
from jobs.cli.job_view import (
    Listed,
    all_fields,
    failed_films,
    fields,
    lines,
    note,
    sheet,
    table,
    worker,
)
from jobs.cli.options import queue_option
from jobs.cli.watch_jobs import JobMonitor, display_on, watch
from jobs.errors import QueueError, TransitionError
from jobs.host import user_and_host
from jobs.queue.jobs import OPEN, Job, State
from jobs.queue.store import JobStore
from jobs.retry import retry_job
from screening.audit import Event
from screening.errors import ScreeningError
from screening.files import now

_ENDED: Final = tuple(state for state in State if state not in OPEN)

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON; see above.")
_names = click.argument("names", metavar="JOB...", nargs=-1, required=True)


@click.group()
def jobs() -> None:
    """Inspect and manage jobs.

    JOB can be the first characters of a job's name, if no other name starts with
    them.
    """


@jobs.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="Only jobs in this state. Can be repeated to allow several states.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="WORD",
    help="Only jobs with this tag. Can be repeated to require several tags.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the last N jobs.")
@_json_option
@queue_option
def list_jobs(
    queue: Path | str,
    states: tuple[str, ...],
    tags: tuple[str, ...],
    limit: int | None,
    as_json: bool,
) -> None:
    """List jobs, oldest first.

    On a terminal the list is a table. Otherwise it has one line for each job: name,
    state, films done and found, failed films, priority, start of the state (UTC;
    for queued jobs, the time of submission), tags, folder, and the reason why it
    waits or failed. A missing value is "-".

    --json prints one array with an object for each job: name, state, folder (null
    with --hash-names), report, model, model_sha256, priority, tags, schedule;
    films (found), committed, failed; submitted_at, not_before, started_at,
    finished_at and lease_until (ISO 8601, UTC); worker, attempts (number of times
    that it was postponed since its last result), exit_code, message. A missing value is null. Later
    versions may add fields.
    """
    from jobs.cli.stores import open_store, shown

    store = open_store(queue)
    every = store.jobs(*map(State, states))
    chosen = [job for job in every if set(tags) <= set(job.tags)]
    chosen = chosen[-limit:] if limit else chosen
    if as_json:
        _print_fields(store, chosen)
    elif chosen:
        _print_list(store, chosen)
    else:
        is_so = "has no such job" if states or tags else "is empty"
        click.echo(f"The queue {shown(queue)} {is_so}.", err=True)


def _print_fields(store: JobStore, chosen: Iterable[Job]) -> None:
    click.echo(json.dumps([fields(job, failed_films(store, job)) for job in chosen], indent=2))


def _print_list(store: JobStore, chosen: Iterable[Job]) -> None:
    waiting, seconds = store.jobs(*OPEN), time.time()
    listed = [Listed(job, failed_films(store, job), note(job, waiting, seconds)) for job in chosen]
    if sys.stdout.isatty():
        Console().print(table(listed, seconds))
    else:
        for line in lines(listed):
            click.echo(line)


@jobs.command("show")
@click.argument("name", metavar="JOB")
@_json_option
@queue_option
def show_job(queue: Path | str, name: str, as_json: bool) -> None:
    """Show one job with its history.

    --json prints one object with the fields of `jobs list` and listed_at, claims
    (number of times that a worker took it), deaths (of workers, in a row, without
    a single film done), counts (films by status), options (as submitted) and
    history (a list of events with at, event, subject, detail, sha256).
    """
    from jobs.cli.stores import find, open_store

    store = open_store(queue)
    job = find(store, name)
    counts, history = store.counts(job), store.events(job)
    if as_json:
        click.echo(json.dumps(all_fields(job, counts, history), indent=2))
    else:
        for line in sheet(job, counts, history, store.jobs(*OPEN), time.time()):
            click.echo(line)


@jobs.command("watch")
@click.argument("names", metavar="[JOB]...", nargs=-1)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between updates.",
)
@_json_option
@queue_option
def watch_jobs(queue: Path | str, names: tuple[str, ...], interval: float, as_json: bool) -> None:
    """Show the progress of all open jobs, or of JOBs, until they have ended.

    On a terminal the progress is a table that is updated. Otherwise it is a line
    for each job whenever something changes. The exit code is the most severe one
    of the named jobs (4, 1, 3, 0; 1 for a cancelled job), or 0. Ctrl-C ends only
    this command.

    --json prints a line at each update, {"at": …, "jobs": […]}. Each job has the
    fields of `jobs list`, films_per_second and seconds_left.
    """
    from jobs.cli.stores import find, open_store, shown
    from jobs.outputs.logs import configure
    from jobs.worker.lease import Stop
    from jobs.worker.retrying_store import RetryingJobStore

    # Keep log lines off standard output, which shows the progress.
    configure(json=False, stream=sys.stderr)
    # On SIGTERM also leave through the context manager, which restores the terminal's cursor.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Keep watching through a restart of the database.
    store = RetryingJobStore(open_store(queue), Stop())
    monitor = JobMonitor(store, [find(store, name).name for name in names])
    with display_on(Console(), as_json) as display:
        ended = watch(monitor, display, interval)
    if not names:
        click.echo(f"The queue {shown(queue)} has no open jobs.", err=True)
        return

    codes = [exit_codes.ERROR if job.exit_code is None else job.exit_code for job in ended]
    sys.exit(exit_codes.most_severe(codes))


@jobs.command("retry")
@_names
@queue_option
def retry_jobs(queue: Path | str, names: tuple[str, ...]) -> None:
    """Run jobs again that have ended.

    If a job is done, its failed films and those that were not reached are screened
    again. If it failed or was cancelled, it continues where it stopped. Results of
    scored films are kept. The new report replaces the old one, which is renamed to
    REPORT.1, REPORT.2, and so on.
    """
    from jobs.cli.stores import open_store

    store = open_store(queue)
    who = user_and_host()

    def retry(job: Job) -> str:
        again, old = retry_job(store, job.name, Event(now(), "retried", job.name, who))
        left = (
            f": {again.films - again.committed} of {again.films} films left" if again.films else ""
        )
        kept = f"; the old report was renamed to {old}" if old else ""
        return f"{job.name} is queued again{left}{kept}"

    _each(store, names, retry)


@jobs.command("cancel")
@_names
@queue_option
def cancel_jobs(queue: Path | str, names: tuple[str, ...]) -> None:
    """Cancel jobs that are queued or running.

    The worker of a running job stops at its next commit and takes another job. The
    results so far are kept, and `jobs retry` continues from there.
    """
    from jobs.cli.stores import open_store

    store = open_store(queue)

    def cancel(job: Job) -> str:
        if job.state not in OPEN:
            raise TransitionError(f"job {job.name} is already {job.state}")
        store.cancel(job.name)
        held = f"; its worker ({worker(job)}) will soon stop screening it" if job.worker else ""
        return f"{job.name} is cancelled{held}"

    _each(store, names, cancel)


def _each(store: JobStore, names: Iterable[str], act: Callable[[Job], str]) -> None:
    """Apply `act` to several jobs, but to none if one of the names is unknown."""
    from jobs.cli.stores import find

    refused = False
    for job in [find(store, name) for name in names]:
        try:
            click.echo(act(job))
        except QueueError:
            raise
        except ScreeningError as error:
            click.echo(f"Error: {error}", err=True)
            refused = True
    if refused:
        sys.exit(exit_codes.ERROR)


@jobs.command("prune")
@click.option(
    "--older",
    "days",
    type=click.FloatRange(0, 36_500),
    default=90.0,
    show_default=True,
    metavar="DAYS",
    help="Delete jobs that ended more than this many days ago.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@queue_option
def prune_jobs(queue: Path | str, days: float, dry_run: bool) -> None:
    """Delete jobs that ended long ago, with their films and history.

    Reports are not deleted. A deleted job cannot be retried. Films that only a
    deleted job has scored count as new for --new-only.
    """
    from jobs.cli.stores import open_store

    store = open_store(queue)
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
    ended = [job for job in store.jobs(*_ENDED) if job.finished_at < before]
    names = [job.name for job in ended] if dry_run else store.prune(before)
    for name in names:
        click.echo(name)
    click.echo(f"{len(names)} jobs {'would be' if dry_run else 'were'} deleted.", err=True)
    for job in ended:
        # Images of a job without a report are kept only for a retry.
        if job.name in names and job.gallery is not None and not dry_run:
            job.gallery.clear()
