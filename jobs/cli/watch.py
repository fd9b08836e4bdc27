"""``screening watch``."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from jobs.agenda import Agenda
from jobs.cli.cluster import cluster_options
from jobs.cli.options import (
    GroupedCommand,
    folder_argument,
    queueing_options,
    request_of,
    screening_options,
    worker_options,
)

_OF_WORKERS: Final = (
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
    from jobs.cli.workshop import Shift, feed_only, work_shift
    from jobs.errors import ReportInTheWay
    from jobs.feeders.studies import Studies
    from jobs.submission import check_places, checked

    of_worker = {name: asked.pop(name) for name in _OF_WORKERS}
    request = request_of(folder=folder, out=None, public_key=public_key, **asked)
    request = checked(replace(request, reports=(out or request.reports).absolute()))
    watched = folder.resolve()
    try:
        check_places(watched, request.reports, request.options.quarantine)
    except ReportInTheWay as error:
        raise click.UsageError(str(error)) from error

    def studies(agenda: Agenda) -> Studies:
        return Studies(watched, request, agenda, time.time)

    if submit_only:
        sys.exit(feed_only(queue, studies))
    sys.exit(work_shift(queue, Shift(public_key=public_key, **of_worker), studies))
