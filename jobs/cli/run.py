"""``screening run``, ``submit``, ``worker`` and ``watch``."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from jobs.cli.cluster import cluster_options
from jobs.cli.options import (
    GroupedCommand,
    folder_argument,
    not_before_option,
    public_key_option,
    queue_option,
    queueing_options,
    request_of,
    screening_options,
    sign_reports_option,
    worker_options,
)
from jobs.engines.dask.config import ClusterConfig
from jobs.queue.jobs import Job
from jobs.queue.schedules import ScheduleStore


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
    cluster: ClusterConfig | None,
    profile: bool,
    **asked: Any,
) -> None:
    """Screen the films in FOLDER now and write a report.

    This is the same as `screening submit` and a worker for this one job. If it is
    interrupted, `screening worker --drain` continues where it stopped.
    """
    from jobs.cli.bootstrap import WorkerConfig, run_single_job, signer_of
    from jobs.cli.stores import open_store, shown

    if profile and cluster is not None:
        raise click.UsageError(
            "--profile measures this machine and cannot be used with --engine dask"
        )
    # Detect an unusable key before anything is queued.
    signer_of(sign_reports)
    store = open_store(queue)
    job = _checked_job(always=True, public_key=public_key, retries=0, **asked)
    store.add(job)
    click.echo(f"Job {job.name}, queue {shown(queue)}")
    store.close()
    config = WorkerConfig(
        drain=True,
        public_key=public_key,
        sign_reports=sign_reports,
        cluster=cluster,
        profile=profile,
    )
    sys.exit(run_single_job(queue, config, job.name))


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
    known = "" if job.name == asked_for.name else f"is already {job.state.value}, "
    click.echo(f"{known}queue {shown(queue)}, report will be {job.report}", err=True)


def _checked_job(*, always: bool, **asked: Any) -> Job:
    """Build the job from the options; an existing report is a usage error."""
    from jobs.errors import ReportExists
    from jobs.sources.submission import new_job

    try:
        return new_job(request_of(**asked), always=always)
    except ReportExists as error:
        raise click.UsageError(str(error)) from error


@click.command(cls=GroupedCommand)
@click.option("--drain", is_flag=True, help="Stop when the queue is empty.")
@click.option("--max-jobs", type=click.IntRange(1), help="Stop after this many jobs.")
@worker_options
@public_key_option
@queue_option
@cluster_options
def worker(queue: Path | str, **config: Any) -> None:
    """Screen the jobs in the queue and wait for more.

    If a worker was killed, another one continues its job after the last committed
    film. On SIGTERM or Ctrl-C a worker finishes the films in progress and returns
    the job to the queue. A second signal stops it immediately. Workers also
    enqueue due schedules.
    """
    from jobs.cli.bootstrap import WorkerConfig, run_worker

    sys.exit(run_worker(queue, WorkerConfig(**config)))


_WORKER_PARAMETERS: Final = (
    "processes",
    "lease",
    "metrics",
    "log",
    "notify_command",
    "notify_url",
    "sign_reports",
    "cluster",
)


@click.command(cls=GroupedCommand)
@folder_argument
@screening_options
@queueing_options
@worker_options
@cluster_options
@click.option(
    "--submit-only", is_flag=True, help="Only submit jobs; let other workers screen them."
)
def watch(
    queue: Path | str,
    folder: Path,
    out: Path | None,
    public_key: Path | None,
    submit_only: bool,
    **asked: Any,
) -> None:
    """Screen each new sub-folder of FOLDER once it is complete.

    Each sub-folder is a study. When it contains a file and has been unchanged for
    --settle seconds, it becomes one job. It is submitted only once, even after a
    restart. Links and sub-folders whose names begin with a dot are ignored. Files
    directly in FOLDER are ignored, with a warning. Each report becomes a folder in
    --out. In all other ways this command works like `screening worker`.
    """
    from jobs.cli.bootstrap import WorkerConfig, run_worker, submit_from
    from jobs.errors import ReportExists
    from jobs.sources.submission import check_places, checked
    from jobs.sources.watched_folder import StudySource

    worker_settings = {name: asked.pop(name) for name in _WORKER_PARAMETERS}
    request = request_of(folder=folder, out=None, public_key=public_key, **asked)
    request = checked(replace(request, reports=(out or request.reports).absolute()))
    watched = folder.resolve()
    try:
        check_places(watched, request.reports, request.options.quarantine)
    except ReportExists as error:
        raise click.UsageError(str(error)) from error

    def studies(schedules: ScheduleStore) -> StudySource:
        return StudySource(watched, request, schedules, time.time)

    if submit_only:
        sys.exit(submit_from(queue, studies))
    sys.exit(run_worker(queue, WorkerConfig(public_key=public_key, **worker_settings), studies))
