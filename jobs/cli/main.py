"""The ``screening`` command group and its configuration file."""

import os
import tomllib
from pathlib import Path
from typing import Any

import click

from jobs import exit_codes
from jobs.cli.demo import demo
from jobs.cli.jobs import jobs
from jobs.cli.model import export, sign, train, train_lungs
from jobs.cli.options import state_home
from jobs.cli.report import compare, drift, evaluate, verify
from jobs.cli.run import run, submit, watch, worker
from jobs.cli.schedule import schedule
from screening import __version__
from screening.errors import ScreeningError


class _ErrorHandlingGroup(click.Group):
    """A group that reports this project's errors as one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ScreeningError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            ctx.exit(exit_codes.INTERRUPTED)


def _read_config(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}") from error
    _check_config(cli, config, str(path))
    ctx.default_map = config


def _check_config(group: click.Group, config: dict[str, Any], where: str) -> None:
    """Reject unknown commands and options, so that a misspelt one is not silently ignored."""
    for name, options in config.items():
        command = group.commands.get(name)
        if command is None or not isinstance(options, dict):
            known = ", ".join(sorted(group.commands))
            raise click.BadParameter(
                f"{where}: {name!r} is not a table of options; expected a table for one of {known}"
            )
        if isinstance(command, click.Group):
            _check_config(command, options, f"{where}: {name}")
            continue
        known_options = {parameter.name for parameter in command.params}
        for option in options.keys() - known_options:
            raise click.BadParameter(f"{where}: `screening {name}` has no option {option!r}")


@click.group(cls=_ErrorHandlingGroup, context_settings={"auto_envvar_prefix": "SCREENING"})
@click.version_option(__version__)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_read_config,
    is_eager=True,
    expose_value=False,
    help="TOML file with one table of options for each command: [run] batch = 16.",
)
def cli() -> None:
    """Read folders of chest films for pneumonia and write reports.

    Research software: not a medical device, not for diagnosis.

    Every option can also be set in the environment: SCREENING_RUN_BATCH is
    --batch of `screening run`.
    """
    # Keep matplotlib's font cache in the state folder: nothing is written elsewhere, and a worker
    # without a home directory does not rebuild it each time.
    os.environ.setdefault("MPLCONFIGDIR", str(state_home() / "matplotlib"))


for command in (
    *(train, train_lungs, export, sign),
    *(run, submit, worker, schedule, watch, jobs),
    *(verify, evaluate, compare, drift),
    demo,
):
    cli.add_command(command)
