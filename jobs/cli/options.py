"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from exports.bundle import SHIPPED
from exports.runtimes.choose import AUTO
from exports.targets import FLOAT32, INT8, LITERT, ONNX
from jobs.job import Job
from jobs.options import Options
from screening.limits import Limits
from screening.model.lungs import QUALITY
from screening.report.labels import Policy

if TYPE_CHECKING:
    from jobs.submission import Request

_MIB: Final = 1024**2

#: A folder that is there, and a file that is.
FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def state_home() -> Path:
    """Where the queue and the key are kept: ``$XDG_STATE_HOME/screening``."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "screening"


class _Queue(click.ParamType[Path | str]):
    """A file, or the URL of a database on a server."""

    name = "QUEUE"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Path | str:
        if isinstance(value, str) and "://" in value:
            return value
        if Path(value).is_dir():
            self.fail(f"{str(value)!r} is a folder, not a file", parameter, context)
        return Path(value)


class _Moment(click.ParamType[datetime]):
    """A time in ISO 8601; without an offset that of this machine."""

    name = "TIME"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> datetime:
        try:
            return datetime.fromisoformat(str(value)).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time like 2026-11-22T02:30", parameter, context)


queue_option = click.option(
    "--queue",
    type=_Queue(),
    envvar="SCREENING_QUEUE",
    default=lambda: state_home() / "queue.sqlite",
    help="Queue: a file, or postgresql://…  [default: $XDG_STATE_HOME/screening/queue.sqlite]",
)

#: Of the machine, not of a job: whoever screens decides whom to trust.
public_key_option = click.option(
    "--public-key",
    type=FILE,
    envvar="SCREENING_PUBLIC_KEY",
    help="Take only bundles that are signed with the other half of this key (PEM, Ed25519).",
)

#: Likewise: the key must not leave the machine that screens.
sign_reports_option = click.option(
    "--sign-reports",
    type=FILE,
    envvar="SCREENING_SIGN_REPORTS",
    metavar="PRIVATE_KEY",
    help="Sign every report with this key (PEM, Ed25519) before it appears.",
)

key_option = click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    default=lambda: state_home() / "patient.key",
    help="Secret that hides patient identifiers; made at first use.  "
    "[default: $XDG_STATE_HOME/screening/patient.key]",
)

folder_argument = click.argument("folder", type=FOLDER)

labels_policy_option = click.option(
    "--labels-policy",
    type=click.Choice([policy.value for policy in Policy]),
    default=Options.labels_policy,
    show_default=True,
    help="Labels that are ambiguous, unknown, conflicting or there twice: an error, or listed in the "
    "report and not used. strict: also a label without a film is an error.",
)

prevalence_option = click.option(
    "--prevalence",
    type=click.FloatRange(0, 1),
    help="Share of films with pneumonia where predictive values are to hold, too.",
)

_SCREENING_OPTIONS: Final = (
    click.option(
        "--model", type=FOLDER, default=SHIPPED, help="BUNDLE; by default the one shipped."
    ),
    click.option(
        "--out", type=click.Path(path_type=Path), help="REPORT.  [default: ./reports/JOB]"
    ),
    click.option(
        "--labels",
        type=FILE,
        help="CSV with the columns film and label, and optionally patient.",
    ),
    labels_policy_option,
    prevalence_option,
    click.option(
        "--runtime",
        type=click.Choice([ONNX, LITERT, AUTO]),
        default=Options.runtime,
        show_default=True,
        help="What runs the model; auto measures which is quicker here, once for each job.",
    ),
    click.option(
        "--precision",
        type=click.Choice([FLOAT32, INT8]),
        default=Options.precision,
        show_default=True,
        help="8-bit integers are quicker; a film near the threshold may fall to its other side.",
    ),
    click.option(
        "--exact",
        is_flag=True,
        help="Decode all of every film, also where less of a large one comes to nearly the same.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(1, 1024),
        default=Options.batch,
        show_default=True,
        help="Films scored at once.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        default=Limits.pixels,
        show_default=True,
        help="Larger films are not decoded.",
    ),
    click.option(
        "--decode-timeout",
        type=click.FloatRange(0, min_open=True),
        default=Limits.seconds,
        show_default=True,
        help="Seconds until a decoder is stopped.",
    ),
    click.option(
        "--decode-memory",
        type=click.IntRange(64),
        default=Limits.memory // _MIB,
        show_default=True,
        help="MiB that a decoder may use.",
    ),
    click.option(
        "--max-failure-rate",
        type=click.FloatRange(0, 1),
        default=Options.max_failure_rate,
        show_default=True,
        help="Share of failed films, after 20, at which the job is given up.",
    ),
    click.option(
        "--hash-names",
        is_flag=True,
        help="Name files in the report by keyed hashes, for names that identify people.",
    ),
    click.option(
        "--heatmaps",
        is_flag=True,
        help="Show on each scored film where the model sees pneumonia.",
    ),
    click.option(
        "--thumbnails",
        is_flag=True,
        help="Show each scored film, small; its pixels may hold text.",
    ),
    click.option(
        "--refuse",
        type=click.Choice(QUALITY),
        multiple=True,
        help="Refuse films with this flaw instead of giving them a warning; may be repeated.",
    ),
    click.option(
        "--settle",
        type=click.FloatRange(0),
        default=Options.settle,
        show_default=True,
        help="Seconds for which nothing in the folder must have changed before it is read.",
    ),
    click.option(
        "--new-only",
        is_flag=True,
        help="Leave out films that a finished job of the same folder and model has scored.",
    ),
    click.option(
        "--quarantine",
        type=click.Path(file_okay=False, path_type=Path),
        help="Copy films that failed or were refused to DIR/JOB, each with the reason beside it.",
    ),
    key_option,
    public_key_option,
    queue_option,
)


_QUEUEING_OPTIONS: Final = (
    click.option(
        "--retries",
        type=click.IntRange(0),
        default=Options.retries,
        show_default=True,
        help="Tries after the first, if the folder, the model, the labels or the report's place cannot be reached.",
    ),
    click.option(
        "--priority",
        type=click.IntRange(-1000, 1000),
        default=Job.priority,
        show_default=True,
        help="Jobs of a higher priority are screened first.",
    ),
    click.option(
        "--tag", "tags", multiple=True, help="A word by which to find the job; may be repeated."
    ),
)


not_before_option = click.option(
    "--not-before", type=_Moment(), help="Do not begin before this time."
)


def queueing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that leaves the screening to a worker."""
    for option in reversed(_QUEUEING_OPTIONS):
        command = option(command)
    return command


def screening_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that screens folders."""
    for option in reversed(_SCREENING_OPTIONS):
        command = option(command)
    return command


def request_of(
    folder: Path,
    model: Path,
    out: Path | None,
    public_key: Path | None,
    max_pixels: int,
    decode_timeout: float,
    decode_memory: int,
    priority: int = 0,
    not_before: datetime | None = None,
    tags: tuple[str, ...] = (),
    refuse: tuple[str, ...] = (),
    **options: Any,
) -> Request:
    """What these options ask for."""
    from jobs.submission import Request

    limits = Limits(max_pixels, decode_timeout, decode_memory * _MIB)
    return Request(
        folder=folder,
        model=model,
        report=out,
        options=Options(limits=limits, refuse=tuple(sorted(set(refuse))), **options),
        priority=priority,
        not_before=not_before.timestamp() if not_before else 0.0,
        tags=tags,
        public_key=public_key,
    )


_WORKER_OPTIONS: Final = (
    click.option(
        "--processes",
        type=click.IntRange(1, 256),
        default=1,
        show_default=True,
        help="Worker processes that share the queue; one that is killed is replaced.",
    ),
    click.option(
        "--lease",
        type=click.FloatRange(1),
        default=120.0,
        show_default=True,
        help="Seconds after which another worker takes over the job of one that is not heard of.",
    ),
    click.option(
        "--metrics",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write figures for Prometheus to this file, for node_exporter's textfile collector.",
    ),
    click.option(
        "--log", type=click.Choice(["json", "logfmt"]), help="Log events for machines, to stderr."
    ),
    click.option(
        "--notify-command",
        help="Run this when a job has ended, with a JSON document about it on standard input.",
    ),
    click.option("--notify-url", help="Send the same document there with POST."),
    sign_reports_option,
)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that works off a queue."""
    for option in reversed(_WORKER_OPTIONS):
        command = option(command)
    return command
