"""``screening train``."""

import shlex
from dataclasses import replace
from pathlib import Path

import click

from jobs.cli.native_logs import native_logs_filtered
from jobs.cli.progress import TrainingProgress


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="MODEL folder.")
@click.option(
    "--architecture",
    type=click.Choice(["efficientnet-lite0", "reference"]),
    default="efficientnet-lite0",
    show_default=True,
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the films.")
@click.option("--batch", type=click.IntRange(1), help="Films in one step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True))
@click.option("--seed", type=int, help="Same seed, same split and same order of films.")
@click.option(
    "--validation-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the films held out for validation, by patient.",
)
@click.option(
    "--target-sensitivity",
    type=click.FloatRange(0, 1, min_open=True),
    help="The threshold is the highest that reaches it on validation.",
)
@click.option(
    "--pretrained/--from-scratch",
    default=None,
    help="Begin with ImageNet weights (efficientnet-lite0 only), or with random ones.",
)
@click.option(
    "--frontal",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of frontal chest films from other places, for the gate; no labels needed.",
)
@click.option("--patient-pattern", help="Regular expression; its first group is the patient.")
def train(
    data: Path,
    out: Path,
    architecture: str,
    patient_pattern: str | None,
    frontal: Path | None,
    **settings: float | bool | None,
) -> None:
    """Train on the labelled films in DATA, and write a MODEL with its card.

    DATA is a folder with the sub-folders NORMAL and PNEUMONIA, or a CSV with the
    columns film and label, and optionally patient and split. An interrupted
    training goes on when the same command is given again.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    with native_logs_filtered():
        _need_training_extra()
        from screening.training.manifest import PATIENT_PATTERN
        from screening.training.recipe import default_recipe
        from screening.training.train import train as train_model

        recipe = replace(default_recipe(architecture), **given)  # type: ignore[arg-type]
        pattern = patient_pattern or PATIENT_PATTERN
        with TrainingProgress(recipe.epochs) as progress:
            try:
                card = train_model(data, out, recipe, pattern, _command(data), progress, frontal)
            except KeyboardInterrupt:
                progress.say("Interrupted. The same command goes on after the last whole epoch.")
                raise
    auroc = card.metrics["auroc"]
    click.echo(
        f"{out}: {card.model}, validation AUROC {auroc['value']:.4f} "
        f"({auroc['ci_low']:.4f} to {auroc['ci_high']:.4f}, n = {auroc['n']}), "
        f"threshold {card.operating_point.threshold:.3f}"
    )
    click.echo(f"Next: screening export {out} --out BUNDLE")


def _need_training_extra() -> None:
    try:
        import keras  # noqa: F401  # only asked whether it is there
    except ImportError as error:
        raise click.ClickException(
            f"{error.name} is not installed; run: pip install 'screening[train]'"
        ) from error


def _command(data: Path) -> str:
    """The command to make this model again, without any path of this machine."""
    context = click.get_current_context()
    words = ["screening", "train", data.name, "--out", "MODEL"]
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name in ("data", "out") or source == click.core.ParameterSource.DEFAULT or value is None:
            continue
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append("--pretrained" if value else "--from-scratch")
        else:
            words += [option, value.name if isinstance(value, Path) else str(value)]
    return shlex.join(words)
