"""``screening schedule``: submit a folder at fixed times."""

import json
import os
import time
from itertools import islice
from pathlib import Path
from typing import Any

import click

from jobs.cli.options import (
    GroupedCommand,
    queue_option,
    queueing_options,
    request_of,
    screening_options,
)
from jobs.queue.jobs import new_name
from jobs.queue.schedules import Schedule


@click.group()
def schedule() -> None:
    """Submit a folder at fixed times."""


@schedule.command(cls=GroupedCommand)
@click.argument("folder", metavar="FOLDER_TEMPLATE")
@click.option(
    "--cron", required=True, help="Times, as in crontab: '30 2 * * *' is every night at 02:30."
)
@click.option("--tz", help="Time zone, such as Europe/Berlin.  [default: that of this machine]")
@click.option("--name", help="Name of the schedule.  [default: the current time]")
@click.option(
    "--catch-up",
    type=click.IntRange(0, 1000),
    default=Schedule.catch_up,
    show_default=True,
    help="After downtime, catch up on this many missed runs and skip older ones.",
)
@screening_options
@queueing_options
def add(
    queue: Path | str,
    folder: str,
    *,
    out: Path | None,
    cron: str,
    tz: str | None,
    name: str | None,
    catch_up: int,
    **asked: Any,
) -> None:
    """Submit FOLDER_TEMPLATE at the times of a cron expression.

    In FOLDER_TEMPLATE and --out, {date} becomes the date of the run and {yesterday}
    the day before; {date:%Y/%m/%d} sets the format. Each run is one job and uses
    the bundle as it is at that time. Runs of one schedule never overlap. A time
    that daylight saving time skips runs right after the change. A time that occurs
    twice runs once. Workers of the queue enqueue the runs.
    """
    from jobs.cli.stores import open_schedules
    from jobs.errors import ReportExists
    from jobs.queue.schedules import local_zone
    from jobs.sources.submission import check_places, checked
    from screening.files import now

    request = checked(request_of(folder=Path(), out=None, **asked))
    planned = Schedule(
        name=name or new_name(),
        cron=cron,
        tz=tz or local_zone(),
        folder=_absolute(folder),
        report="" if out is None else _absolute(str(out)),
        reports=request.reports.absolute(),
        model=request.model,
        options=request.options,
        added_at=now(),
        last=time.time(),
        priority=request.priority,
        tags=request.tags,
        catch_up=catch_up,
    )
    first = next(planned.times.upcoming(planned.last))
    screened = planned.folder_at(first)
    report = planned.report_at(first) or planned.reports / planned.name
    try:
        check_places(screened, report, planned.options.quarantine)
    except ReportExists as error:
        raise click.UsageError(str(error)) from error
    with open_schedules(queue) as schedules:
        schedules.add(planned)
    click.echo(planned.name)
    click.echo(f"first run at {_shown(planned, first)}: {screened}", err=True)


@schedule.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@queue_option
def list_schedules(queue: Path | str, as_json: bool) -> None:
    """List all schedules with their last and next runs."""
    from jobs.cli.stores import open_schedules, shown

    with open_schedules(queue) as schedules:
        every = schedules.schedules()
        newest = {known.name: schedules.firings(known.name)[-1:] for known in every}
    if as_json:
        click.echo(json.dumps([_as_dict(planned) for planned in every], indent=2))
        return
    if not every:
        click.echo(f"The queue {shown(queue)} has no schedules.")
    for planned in every:
        first = next(planned.times.upcoming(time.time()))
        done = [f"{_shown(planned, at.at)} {at.job or 'skipped'}" for at in newest[planned.name]]
        click.echo(f"{planned.name}  {planned.cron}  {planned.tz}  {planned.folder}")
        click.echo(f"  next {_shown(planned, first)}, last {''.join(done) or 'never'}")


@schedule.command()
@click.argument("name")
@queue_option
def remove(queue: Path | str, name: str) -> None:
    """Delete a schedule. Jobs that it has submitted stay."""
    from jobs.cli.stores import open_schedules

    with open_schedules(queue) as schedules:
        schedules.remove(name)
    click.echo(f"{name} was removed")


@schedule.command("next")
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True)
@queue_option
def next_runs(queue: Path | str, name: str | None, count: int) -> None:
    """Show the next runs and their folders."""
    from jobs.cli.stores import open_schedules
    from jobs.errors import ScheduleError

    with open_schedules(queue) as schedules:
        every = [known for known in schedules.schedules() if name in (None, known.name)]
    if name is not None and not every:
        raise ScheduleError(f"there is no schedule {name}; see `screening schedule list`")
    begin = time.time()
    firings = [(at, known) for known in every for at in islice(known.times.upcoming(begin), count)]
    for at, known in sorted(firings, key=lambda firing: (firing[0], firing[1].name))[:count]:
        click.echo(f"{_shown(known, at)}  {known.name}  {known.folder_at(at)}")


def _absolute(template: str) -> str:
    """Make the template absolute; braces in the current directory are escaped as literal text."""
    here = os.fspath(Path.cwd()).replace("{", "{{").replace("}", "}}")
    return os.path.normpath(os.path.join(here, template))  # noqa: PTH118  # a template, not yet a path


def _shown(planned: Schedule, at: float) -> str:
    return planned.times.local(at).isoformat(sep=" ", timespec="minutes")


def _as_dict(planned: Schedule) -> dict[str, Any]:
    return {
        "name": planned.name,
        "cron": planned.cron,
        "tz": planned.tz,
        "folder": planned.folder,
        "report": planned.report or None,
        "model": str(planned.model),
        "priority": planned.priority,
        "tags": list(planned.tags),
        "catch_up": planned.catch_up,
        "added_at": planned.added_at,
        "next": planned.times.local(next(planned.times.upcoming(time.time()))).isoformat(),
    }
