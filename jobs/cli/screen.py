"""``screening run`` and ``screening submit``."""

import sys
from pathlib import Path
from typing import Any

import click

from jobs.cli.cluster import cluster_options
from jobs.cli.options import (
    GroupedCommand,
    folder_argument,
    not_before_option,
    queueing_options,
    request_of,
    screening_options,
    sign_reports_option,
)
from jobs.engines.cluster.access import Access
from jobs.job import Job


@click.command(cls=GroupedCommand)
@folder_argument
@screening_options
@sign_reports_option
@cluster_options
@click.option("--profile", is_flag=True, help="Print the time spent in each stage.")
def run(
    queue: Path | str,
    public_key: Path | None,
    sign_reports: Path | None,
    cluster: Access | None,
    profile: bool,
    **asked: Any,
) -> None:
    """Screen the films in FOLDER now and write a report.

    This is the same as `screening submit` and a worker for this one job. If it is
    interrupted, `screening worker --drain` continues where it stopped.
    """
    from jobs.cli.stores import open_store, shown
    from jobs.cli.workshop import Shift, signer_of, work_off

    if profile and cluster is not None:
        raise click.UsageError("--profile tells of this machine; it does not go with --engine dask")
    # A key that is none is found before anything is queued.
    signer_of(sign_reports)
    store = open_store(queue)
    job = _checked_job(always=True, public_key=public_key, retries=0, **asked)
    store.add(job)
    click.echo(f"Job {job.name}, queue {shown(queue)}")
    store.close()
    shift = Shift(
        drain=True,
        public_key=public_key,
        sign_reports=sign_reports,
        cluster=cluster,
        profile=profile,
    )
    sys.exit(work_off(queue, shift, job.name))


@click.command(cls=GroupedCommand)
@folder_argument
@screening_options
@queueing_options
@not_before_option
def submit(queue: Path | str, **asked: Any) -> None:
    """Add FOLDER to the queue. `screening worker` will screen it.

    A folder that is already queued or running is not added again.
    """
    from jobs.cli.stores import open_store, shown

    store = open_store(queue)
    asked_for = _checked_job(always=False, **asked)
    job = store.add(asked_for)
    click.echo(job.name)
    known = "" if job.name == asked_for.name else f"is {job.state.value} already, "
    click.echo(f"{known}queue {shown(queue)}, report will be {job.report}", err=True)


def _checked_job(*, always: bool, **asked: Any) -> Job:
    """The job that the options describe; a report that is in the way is wrong usage."""
    from jobs.errors import ReportInTheWay
    from jobs.submission import new_job

    try:
        return new_job(request_of(**asked), always=always)
    except ReportInTheWay as error:
        raise click.UsageError(str(error)) from error
