"""``screening worker`` and ``screening jobs``."""

import sys
from pathlib import Path

import click

from jobs.cli.options import public_key_option, queue_option
from jobs.job import Job


@click.command()
@click.option("--drain", is_flag=True, help="Stop when the queue is empty.")
@public_key_option
@queue_option
def worker(queue: Path, public_key: Path | None, drain: bool) -> None:
    """Screen the jobs of the queue, and wait for more.

    A job whose worker was killed is taken over from its last committed film.
    """
    from jobs.cli.workshop import open_store, work_off

    sys.exit(work_off(open_store(queue), drain, public_key=public_key))


@click.group()
def jobs() -> None:
    """Look at the queue."""


@jobs.command("list")
@queue_option
def list_jobs(queue: Path) -> None:
    """All jobs, oldest first."""
    from jobs.cli.workshop import open_store

    every = open_store(queue).jobs()
    if not every:
        click.echo(f"The queue {queue} is empty.")
    for job in every:
        click.echo(f"{job.name}  {job.state.value:<9}  {_progress(job):>13}  {_folder(job)}")


@jobs.command("show")
@click.argument("name")
@queue_option
def show_job(queue: Path, name: str) -> None:
    """One job, with its history."""
    from jobs.cli.workshop import open_store

    store = open_store(queue)
    job = store.get(name)
    shown = {
        "job": job.name,
        "state": job.state.value,
        "films": _progress(job),
        "folder": _folder(job),
        "model": f"{job.model} ({job.model_sha256[:16]})",
        "report": job.report,
        "labels": job.labels or "none",
        "runtime": job.runtime,
        "worker": job.worker or "none",
        "exit code": "" if job.exit_code is None else job.exit_code,
        "message": job.message,
    }
    for title, value in shown.items():
        if value != "":
            click.echo(f"{title:<10} {value}")
    for event in store.events(job):
        click.echo(f"{event.at}  {event.event}  {event.detail}".rstrip())


def _folder(job: Job) -> str:
    return "(not shown: --hash-names)" if job.hash_names else str(job.folder)


def _progress(job: Job) -> str:
    return f"{job.committed}/{job.films}" if job.films else "-"
