"""``screening worker``."""

import sys
from pathlib import Path
from typing import Any

import click

from jobs.cli.cluster import cluster_options
from jobs.cli.options import GroupedCommand, public_key_option, queue_option, worker_options


@click.command(cls=GroupedCommand)
@click.option("--drain", is_flag=True, help="Stop when the queue is empty.")
@click.option("--max-jobs", type=click.IntRange(1), help="Stop after this many jobs.")
@worker_options
@public_key_option
@queue_option
@cluster_options
def worker(queue: Path | str, **shift: Any) -> None:
    """Screen the jobs in the queue and wait for more.

    If a worker was killed, another one continues its job after the last committed
    film. On SIGTERM or Ctrl-C a worker finishes the films in progress and returns
    the job to the queue. A second signal stops it immediately. Workers also
    enqueue due schedules.
    """
    from jobs.cli.workshop import Shift, work_shift

    sys.exit(work_shift(queue, Shift(**shift)))
