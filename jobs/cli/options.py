"""Options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from exports.bundle import SHIPPED
from jobs.job import Job
from screening.limits import Limits

_MIB: Final = 1024**2

_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def state_home() -> Path:
    """Where the queue and the key are kept: ``$XDG_STATE_HOME/screening``."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "screening"


queue_option = click.option(
    "--queue",
    type=_FILE,
    envvar="SCREENING_QUEUE",
    default=lambda: state_home() / "queue.sqlite",
    help="Queue file.  [default: $XDG_STATE_HOME/screening/queue.sqlite]",
)

#: Of the machine, not of a job: whoever screens decides whom to trust.
public_key_option = click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="SCREENING_PUBLIC_KEY",
    help="Take only bundles that are signed with the other half of this key (PEM, Ed25519).",
)

_SCREENING_OPTIONS: Final = (
    click.argument("folder", type=_FOLDER),
    click.option(
        "--model", type=_FOLDER, default=SHIPPED, help="BUNDLE; by default the one shipped."
    ),
    click.option(
        "--out", type=click.Path(path_type=Path), help="REPORT.  [default: ./reports/JOB]"
    ),
    click.option(
        "--labels",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV with the columns film and label, and optionally patient.",
    ),
    click.option(
        "--runtime", type=click.Choice(["onnx", "litert"]), default="onnx", show_default=True
    ),
    click.option(
        "--batch",
        type=click.IntRange(1, 1024),
        default=8,
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
        default=Job.max_failure_rate,
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
        "--key",
        type=_FILE,
        default=lambda: state_home() / "patient.key",
        help="Secret that hides patient identifiers; made at first use.  "
        "[default: $XDG_STATE_HOME/screening/patient.key]",
    ),
    public_key_option,
    queue_option,
)


def screening_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options of every command that screens a folder."""
    for option in reversed(_SCREENING_OPTIONS):
        command = option(command)
    return command
