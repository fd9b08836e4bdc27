"""``screening worker``."""

import sys
from pathlib import Path
from typing import Any

import click

from jobs.cli.cluster import cluster_options
from jobs.cli.options import public_key_option, queue_option, worker_options


@click.command()
@click.option("--drain", is_flag=True, help="Stop when the queue is empty.")
@click.option("--max-jobs", type=click.IntRange(1), help="Stop after so many jobs.")
@worker_options
@public_key_option
@queue_option
@cluster_options
def worker(queue: Path | str, **shift: Any) -> None:
    """Screen the jobs of the queue, and wait for more.

    A job whose worker was killed is taken over from its last committed film. On
    SIGTERM or Ctrl-C the films in hand are finished and the job is given back; on
    a second one it stops at once. What schedules ask for is queued on time.
    """
    from jobs.cli.workshop import Shift, work_shift

    sys.exit(work_shift(queue, Shift(**shift)))
