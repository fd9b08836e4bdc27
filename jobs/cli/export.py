"""``screening export``."""

from pathlib import Path

import click

from exports.targets import TARGETS, target
from jobs.cli.native_logs import native_logs_filtered


@click.command()
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Bundle folder to write."
)
@click.option(
    "--films",
    type=click.Path(exists=True, path_type=Path),
    help="At least 200 films to compare on: a folder or a manifest.  [default: the validation films of MODEL]",
)
@click.option(
    "--training-films",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Current location of the training films, if they were moved; 8-bit models are fitted to some of "
    "them. If MODEL was trained on several DATA, give this option once for each, in the same order.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(list(TARGETS)),
    help="Target format. Can be repeated.  [default: all]",
)
@click.option(
    "--integer-io",
    is_flag=True,
    help="Give tflite-int8 8-bit inputs and outputs, for devices without floating point.",
)
def export(
    model: Path,
    out: Path,
    films: Path | None,
    training_films: tuple[Path, ...],
    targets: tuple[str, ...],
    integer_io: bool,
) -> None:
    """Convert MODEL to a bundle that runs without TensorFlow.

    Each converted model runs in its own runtime and is compared with MODEL on real
    films. If one of them changes decisions, no bundle is written.
    """
    chosen = [target(name) for name in targets or TARGETS]
    with native_logs_filtered():
        try:
            from exports.export import Request
            from exports.export import export as export_model
        except ImportError as error:
            raise click.ClickException(
                f"{error.name} is not installed; run: pip install 'screening[train]'"
            ) from error
        request = Request(model, out, chosen, films, training_films, integer_io)
        bundle = export_model(request, lambda line: click.echo(line, err=True))
    size = sum(path.stat().st_size for path in bundle.path.rglob("*") if path.is_file())
    click.echo(f"{out}: {bundle.card.model}, {size / 1e6:.1f} MB, hash {bundle.sha256[:16]}")
    click.echo(f"Next: screening run FOLDER --model {out}")
