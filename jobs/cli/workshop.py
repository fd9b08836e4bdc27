"""Where a store, an engine and a predictor are put together for the commands that screen."""

import signal
from functools import partial
from pathlib import Path
from types import FrameType

import click

from jobs import exit_codes
from jobs.cli.progress import ScreeningProgress
from jobs.database import open_database
from jobs.engines.local import LocalEngine
from jobs.job import Job
from jobs.runner import Tools
from jobs.sql_store import SqlStore
from jobs.store import Store
from jobs.submission import open_screener
from jobs.worker import most_severe, work


def open_store(queue: Path) -> Store:
    """The queue in the SQLite file `queue`, made if it is not there."""
    return SqlStore(open_database(queue))


def work_off(
    store: Store, drain: bool, only: str | None = None, public_key: Path | None = None
) -> int:
    """Carry out jobs and say what becomes of them; the exit code for the shell.

    Args:
        public_key: whose bundles are taken; None for everybody's.
    """
    # What a service manager sends is taken like Ctrl-C: the job goes back to the queue.
    signal.signal(signal.SIGTERM, _interrupt)
    codes = []
    with ScreeningProgress() as progress:
        open_signed = partial(open_screener, public_key=public_key)
        tools = Tools(store, LocalEngine(), open_signed, progress)
        try:
            for job, code in work(tools, drain, only):
                codes.append(code)
                _say_failure(store.get(job.name))
        except KeyboardInterrupt:
            click.echo(
                "Interrupted. `screening worker --drain` on this queue goes on from the last film.",
                err=True,
            )
            return exit_codes.INTERRUPTED
    if only is not None:
        # Another worker of the queue may have been faster.
        job = store.get(only)
        if not codes:
            _say_failure(job)
        return exit_codes.ERROR if job.exit_code is None else job.exit_code
    return most_severe(codes)


def _say_failure(job: Job) -> None:
    if job.exit_code not in (exit_codes.OK, exit_codes.SOME_FAILED):
        click.echo(f"Error: job {job.name}: {job.message}", err=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
