"""Command line options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from exports.bundle import SHIPPED
from exports.runtimes.load import AUTO
from exports.targets import FLOAT32, INT8, LITERT, ONNX
from jobs.queue.jobs import Job, Options
from screening.imaging.film import DecodeLimits
from screening.model.lungs import QUALITY
from screening.report.labels import Policy

if TYPE_CHECKING:
    from jobs.sources.submission import JobRequest

_MIB: Final = 1024**2

#: An existing folder, and an existing file.
FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def state_home() -> Path:
    """Return the folder for the queue and the key: ``$XDG_STATE_HOME/screening``."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "screening"


class _Queue(click.ParamType[Path | str]):
    """A file or a database URL."""

    name = "QUEUE"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Path | str:
        if isinstance(value, str) and "://" in value:
            return value
        if Path(value).is_dir():
            self.fail(f"{str(value)!r} is a folder, not a file", parameter, context)
        return Path(value)


class _Time(click.ParamType[datetime]):
    """A time in ISO 8601; local time if it has no UTC offset."""

    name = "TIME"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> datetime:
        try:
            return datetime.fromisoformat(str(value)).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time such as 2026-11-22T02:30", parameter, context)


#: Headings for options in help texts, in order of appearance, with the parameter names below each.
_HEADINGS: Final = {
    "Input": ("labels", "labels_policy", "settle", "new_only"),
    "Model": ("model", "runtime", "precision", "exact", "batch", "refuse"),
    "Report": ("out", "heatmaps", "thumbnails", "prevalence", "quarantine", "profile"),
    "Schedule": ("cron", "tz", "name", "catch_up"),
    "Queue": (
        *("queue", "priority", "tags", "not_before", "retries"),
        *("drain", "max_jobs", "submit_only", "processes", "lease"),
    ),
    "Privacy and signatures": ("key", "hash_names", "public_key", "sign_reports"),
    "Monitoring": ("metrics", "log", "notify_command", "notify_url"),
    "Limits": ("max_pixels", "decode_timeout", "decode_memory", "max_failure_rate"),
    "Cluster": ("engine", "scheduler", "tls_ca", "tls_cert", "tls_key", "insecure", "places"),
}


class GroupedCommand(click.Command):
    """A command with many options, grouped under headings in its help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under :data:`_HEADINGS`; those without a heading come last."""
        headings = {name: heading for heading, names in _HEADINGS.items() for name in names}
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in _HEADINGS}
        options = (each for each in self.get_params(ctx) if isinstance(each, click.Option))
        for parameter in options:
            if (line := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(headings.get(parameter.name or "", "Other"), []).append(line)
        for heading, lines in sections.items():
            if lines:
                with formatter.section(heading):
                    formatter.write_dl(lines)


queue_option = click.option(
    "--queue",
    type=_Queue(),
    envvar="SCREENING_QUEUE",
    default=lambda: state_home() / "queue.sqlite",
    help="Queue: a file or postgresql://…  [default: $XDG_STATE_HOME/screening/queue.sqlite]",
)

#: Set for the machine, not for a job: whoever runs the worker decides which keys to trust.
public_key_option = click.option(
    "--public-key",
    type=FILE,
    envvar="SCREENING_PUBLIC_KEY",
    help="Accept only bundles that are signed with the matching private key (PEM, Ed25519).",
)

#: Also set for the machine: the private key must not leave the machine that screens.
sign_reports_option = click.option(
    "--sign-reports",
    type=FILE,
    envvar="SCREENING_SIGN_REPORTS",
    metavar="PRIVATE_KEY",
    help="Sign every report with this private key (PEM, Ed25519).",
)

key_option = click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    default=lambda: state_home() / "patient.key",
    help="Secret key for hashing patient identifiers; created at first use.  "
    "[default: $XDG_STATE_HOME/screening/patient.key]",
)

folder_argument = click.argument("folder", type=FOLDER)

labels_policy_option = click.option(
    "--labels-policy",
    type=click.Choice([policy.value for policy in Policy]),
    default=Options.labels_policy,
    show_default=True,
    help="What to do with labels that are ambiguous, unknown, conflicting or duplicate. error: stop; "
    "list: list them in the report and ignore them; strict: also stop at a label without a film.",
)

prevalence_option = click.option(
    "--prevalence",
    type=click.FloatRange(0, 1),
    help="Also report predictive values for this share of films with pneumonia.",
)

_SCREENING_OPTIONS: Final = (
    click.option(
        "--model", type=FOLDER, default=SHIPPED, help="Bundle to use.  [default: the shipped one]"
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Report folder to write.  [default: ./reports/JOB]",
    ),
    click.option(
        "--labels",
        type=FILE,
        help="CSV file with the columns film and label and, optionally, patient.",
    ),
    labels_policy_option,
    prevalence_option,
    click.option(
        "--runtime",
        type=click.Choice([ONNX, LITERT, AUTO]),
        default=Options.runtime,
        show_default=True,
        help="Runtime for the model. auto: measure once for each job which one is faster.",
    ),
    click.option(
        "--precision",
        type=click.Choice([FLOAT32, INT8]),
        default=Options.precision,
        show_default=True,
        help="int8 is faster, but a film near the threshold may get the other prediction.",
    ),
    click.option(
        "--exact",
        is_flag=True,
        help="Decode all pixels of large films. Slower, with nearly the same results.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(1, 1024),
        default=Options.batch,
        show_default=True,
        help="Films per batch.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        default=DecodeLimits.pixels,
        show_default=True,
        help="Fail films with more pixels than this.",
    ),
    click.option(
        "--decode-timeout",
        type=click.FloatRange(0, min_open=True),
        default=DecodeLimits.seconds,
        show_default=True,
        help="Stop a decoder after this many seconds.",
    ),
    click.option(
        "--decode-memory",
        type=click.IntRange(64),
        default=DecodeLimits.memory // _MIB,
        show_default=True,
        help="Memory limit of a decoder, in MiB.",
    ),
    click.option(
        "--max-failure-rate",
        type=click.FloatRange(0, 1),
        default=Options.max_failure_rate,
        show_default=True,
        help="Give up the job when more than this share of the films has failed (checked after 20 films).",
    ),
    click.option(
        "--hash-names",
        is_flag=True,
        help="Replace file names in the report by keyed hashes, if names identify people.",
    ),
    click.option(
        "--heatmaps",
        is_flag=True,
        help="Add a picture of each scored film that shows where the model sees pneumonia.",
    ),
    click.option(
        "--thumbnails",
        is_flag=True,
        help="Add a small picture of each scored film. Its pixels may contain text.",
    ),
    click.option(
        "--refuse",
        type=click.Choice(QUALITY),
        multiple=True,
        help="Refuse films with this flaw instead of adding a warning. Can be repeated.",
    ),
    click.option(
        "--settle",
        type=click.FloatRange(0),
        default=Options.settle,
        show_default=True,
        help="Wait until the folder has been unchanged for this many seconds.",
    ),
    click.option(
        "--new-only",
        is_flag=True,
        help="Skip films that a finished job of the same folder and model has scored.",
    ),
    click.option(
        "--quarantine",
        type=click.Path(file_okay=False, path_type=Path),
        help="Copy failed and refused films to DIRECTORY/JOB, each with its reason.",
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
        help="Retry this many times in a row, without a new result in between, if the folder, model, "
        "labels or report location cannot be reached.",
    ),
    click.option(
        "--priority",
        type=click.IntRange(-1000, 1000),
        default=Job.priority,
        show_default=True,
        help="Jobs of a higher priority are screened first.",
    ),
    click.option("--tag", "tags", multiple=True, help="Tag to find the job by. Can be repeated."),
)


not_before_option = click.option(
    "--not-before", type=_Time(), help="Do not start before this time."
)


def queueing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that leave the screening to a worker."""
    for option in reversed(_QUEUEING_OPTIONS):
        command = option(command)
    return command


def screening_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that screen folders."""
    for option in reversed(_SCREENING_OPTIONS):
        command = option(command)
    return command


def request_of(
    folder: Path,
    model: Path,
    *,
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
) -> JobRequest:
    """Build the job request from the values of the options."""
    from jobs.sources.submission import JobRequest

    limits = DecodeLimits(max_pixels, decode_timeout, decode_memory * _MIB)
    return JobRequest(
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
        help="Number of worker processes. A process that dies is replaced.",
    ),
    click.option(
        "--lease",
        type=click.FloatRange(1),
        default=120.0,
        show_default=True,
        help="Another worker takes over a job after this many seconds without a sign of life.",
    ),
    click.option(
        "--metrics",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write Prometheus metrics to this file, for the textfile collector of node_exporter.",
    ),
    click.option(
        "--log", type=click.Choice(["json", "logfmt"]), help="Log events to stderr in this format."
    ),
    click.option(
        "--notify-command",
        help="Run this command when a job has ended, with a JSON document on standard input.",
    ),
    click.option("--notify-url", help="POST the same document to this URL."),
    sign_reports_option,
)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that process a queue."""
    for option in reversed(_WORKER_OPTIONS):
        command = option(command)
    return command
