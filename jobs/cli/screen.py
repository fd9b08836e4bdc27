"""``screening run`` and ``screening submit``."""

import sys
from pathlib import Path
from typing import Any

import click

from jobs.cli.options import screening_options
from jobs.job import Job


@click.command()
@screening_options
def run(queue: Path, public_key: Path | None, **request: Any) -> None:
    """Screen the films in FOLDER now, and write a report.

    The same as submit and a worker for this one job: if it is interrupted,
    `screening worker --drain` goes on where it stopped.
    """
    from jobs.cli.workshop import open_store, work_off

    store = open_store(queue)
    job = checked_job(public_key=public_key, **request)
    store.add(job)
    click.echo(f"Job {job.name}, queue {queue}")
    sys.exit(work_off(store, drain=True, only=job.name, public_key=public_key))


@click.command()
@screening_options
def submit(queue: Path, **request: Any) -> None:
    """Put FOLDER into the queue; `screening worker` will screen it."""
    from jobs.cli.workshop import open_store

    store = open_store(queue)
    job = checked_job(**request)
    store.add(job)
    click.echo(job.name)
    click.echo(f"queue {queue}, report will be {job.report}", err=True)


def checked_job(
    folder: Path,
    model: Path,
    out: Path | None,
    labels: Path | None,
    runtime: str,
    batch: int,
    key: Path,
    max_pixels: int,
    decode_timeout: float,
    decode_memory: int,
    max_failure_rate: float,
    hash_names: bool,
    heatmaps: bool,
    public_key: Path | None = None,
) -> Job:
    """The job that the options describe; a report that is in the way is wrong usage."""
    from jobs.errors import ReportInTheWay
    from jobs.submission import new_job
    from screening.limits import Limits

    try:
        return new_job(
            folder,
            model,
            out,
            labels,
            key,
            runtime,
            batch,
            limits=Limits(max_pixels, decode_timeout, decode_memory * 1024**2),
            max_failure_rate=max_failure_rate,
            hash_names=hash_names,
            heatmaps=heatmaps,
            public_key=public_key,
        )
    except ReportInTheWay as error:
        raise click.UsageError(str(error)) from error
