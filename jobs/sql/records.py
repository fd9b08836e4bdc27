"""Lines of the tables, and the records that they stand for."""

from pathlib import Path
from typing import Any, Final

from jobs.job import Job
from jobs.options import Options
from jobs.schedule import Schedule
from jobs.sql import schema
from jobs.states import State
from screening.films import path_of, text_of

_PATHS: Final = ("folder", "model", "report")

#: Of the table alone.
_INTERNAL: Final = ("id", "lease", "told")


def job_of(line: dict[str, Any]) -> Job:
    """The job that a line of the table stands for."""
    values = {name: value for name, value in line.items() if name not in _INTERNAL}
    paths = {name: Path(path_of(values[name])) for name in _PATHS}
    return Job(
        **values
        | paths
        | {
            "state": State(values["state"]),
            "options": Options.from_dict(values["options"]),
            "tags": tuple(values["tags"]),
        }
    )


def line_of(job: Job) -> dict[str, Any]:
    """The line of the table for a new job; the inverse of :func:`job_of`."""
    names = [column.name for column in schema.jobs.c if column.name not in _INTERNAL]
    values = {name: getattr(job, name) for name in names}
    paths = {name: text_of(str(values[name])) for name in _PATHS}
    options = {"options": job.options.as_dict(), "tags": list(job.tags)}
    return values | paths | options | {"lease": 0.0, "told": 0}


def schedule_of(line: dict[str, Any]) -> Schedule:
    """The schedule that a line of the table stands for."""
    templates = {name: path_of(line[name]) for name in ("folder", "report")}
    changed = {
        "reports": Path(path_of(line["reports"])),
        "model": Path(path_of(line["model"])),
        "options": Options.from_dict(line["options"]),
        "tags": tuple(line["tags"]),
    }
    return Schedule(**line | templates | changed)


def line_of_schedule(schedule: Schedule) -> dict[str, Any]:
    """The inverse of :func:`schedule_of`."""
    return vars(schedule) | {
        "folder": text_of(schedule.folder),
        "report": text_of(schedule.report),
        "reports": text_of(str(schedule.reports)),
        "model": text_of(str(schedule.model)),
        "options": schedule.options.as_dict(),
        "tags": list(schedule.tags),
    }
