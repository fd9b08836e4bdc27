"""``screening train-lungs``."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import click

from jobs.cli.native_logs import native_logs_filtered
from jobs.cli.train import need_training_extra


@click.command()
@click.argument("films", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("masks", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, ending in .keras. Its figures are written to a .json file next to it.",
)
@click.option(
    "--steps", type=click.IntRange(1), help="Number of training batches.  [default: 5000]"
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the split and of the order of films.")
@click.option("--patient-pattern", help="Regular expression whose first group is the patient.")
def train_lungs(
    films: Path,
    masks: Path,
    out: Path,
    steps: int | None,
    seed: int | None,
    patient_pattern: str | None,
) -> None:
    """Train the network that finds the lungs.

    FILMS is a folder of chest films. MASKS is a folder of PNG masks with the names
    of the films; pixels that are not black are lung. `screening train --lungs FILE`
    uses the result. Without --lungs, `train` uses the network of the package.
    """
    if out.suffix != ".keras":
        raise click.BadParameter(f"{str(out)!r} does not end in .keras", param_hint="--out")
    for path in (out, out.with_suffix(".json")):
        if path.exists():
            raise click.ClickException(f"{path} exists already; choose another --out")
    given = {name: value for name, value in (("steps", steps), ("seed", seed)) if value is not None}
    with native_logs_filtered():
        need_training_extra()
        from screening.training import lung_fields
        from screening.training.data.manifest import PATIENT_PATTERN

        recipe = replace(lung_fields.LungRecipe(), **given)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            read = lung_fields.read_masked_films(
                films, masks, patient_pattern or PATIENT_PATTERN, pool
            )
            # What cannot be written is said before hours of fitting.
            out.parent.mkdir(parents=True, exist_ok=True)
            network, figures = lung_fields.train_lungs(read, recipe, pool, _say)
        lung_fields.save_lungs(network, figures, out)
    click.echo(
        f"held-out films: {figures['held_out_films']}, Dice {figures['dice']:.4f} "
        f"(5 % of them below {figures['dice_5_percent']:.4f}); pictures without lungs "
        f"recognised: {figures['pictures_without_lungs']}"
    )
    click.echo(f"{out}: {figures['parameters']:,} parameters, {out.stat().st_size:,} bytes")


def _say(line: str) -> None:
    click.echo(line, err=True)
