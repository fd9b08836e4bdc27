"""``screening train``, ``train-lungs``, ``export`` and ``sign``."""

import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from exports.targets import TARGETS, target
from jobs.cli.options import FILE, FOLDER
from jobs.cli.progress import TrainingProgress, native_logs_filtered


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Model folder to write."
)
@click.option(
    "--architecture",
    type=click.Choice(["efficientnet-lite0", "small", "reference"]),
    default="efficientnet-lite0",
    show_default=True,
)
@click.option("--epochs", type=click.IntRange(1), help="Number of passes over the films.")
@click.option("--batch", type=click.IntRange(1), help="Films per training step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True))
@click.option("--seed", type=click.IntRange(0), help="Seed of the split and of the order of films.")
@click.option(
    "--protocol",
    type=click.Choice(["patient", "film", "given"]),
    default="patient",
    show_default=True,
    help="How to divide the films: by patient, by film (optimistic), or as given in the data.",
)
@click.option(
    "--validation-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the films for calibration and threshold.  [default: 0.15]",
)
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the films for the final figures. Ignored if the data name test films.  [default: 0.15]",
)
@click.option(
    "--target-sensitivity",
    type=click.FloatRange(0, 1, min_open=True),
    help="Use the highest threshold with this sensitivity on the validation films.  [default: 0.95]",
)
@click.option(
    "--target-specificity",
    type=click.FloatRange(0, 1, min_open=True),
    help="Use the lowest threshold with this specificity instead.",
)
@click.option(
    "--youden",
    is_flag=True,
    help="Use the threshold with the largest sum of sensitivity and specificity instead.",
)
@click.option(
    "--normals-called",
    type=click.FloatRange(0, 1, min_open=True),
    help="Raise the threshold until at most this share of films is flagged, in each view of a source that "
    "has only normal films with reliable labels.  [default: 0.03]",
)
@click.option(
    "--prevalence",
    type=click.FloatRange(0, 1),
    help="Share of pneumonia where the model will be used, for the table of thresholds.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Number format for the computation.  [default: float32]",
)
@click.option(
    "--pretrained/--from-scratch",
    default=None,
    help="Start from ImageNet weights (efficientnet-lite0 only) or from random weights.",
)
@click.option(
    "--frontal",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of frontal chest films from elsewhere, for the gate. They need no labels.",
)
@click.option(
    "--ages",
    multiple=True,
    metavar="SOURCE=LOW-HIGH",
    help="Age range of the patients of SOURCE in years, if its films do not say: chest=1-5. Patients "
    "outside the ages of the training get a warning. Can be repeated.",
)
@click.option(
    "--lungs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Lung network from `screening train-lungs`.  [default: that of the package]",
)
@click.option(
    "--size",
    type=click.IntRange(64, 1024),
    help="Rows and columns of the network's input.  [default: 224]",
)
@click.option("--patient-pattern", help="Regular expression whose first group is the patient.")
@click.option(
    "--leave-out",
    multiple=True,
    metavar="SOURCE",
    help="Do not train on this source; evaluate the model on all of it. Can be repeated.",
)
@click.option(
    "--confidence",
    multiple=True,
    metavar="SOURCE[/CLASS]=C",
    help="Probability, 0.5 to 1, that labels of this source or of one of its classes are correct. Can "
    "be repeated.",
)
def train(
    data: tuple[Path, ...],
    *,
    out: Path,
    architecture: str,
    patient_pattern: str | None,
    frontal: Path | None,
    prevalence: float | None,
    target_sensitivity: float | None,
    target_specificity: float | None,
    youden: bool,
    leave_out: tuple[str, ...],
    confidence: tuple[str, ...],
    ages: tuple[str, ...],
    lungs: Path | None,
    **settings: str | float | bool | None,
) -> None:
    """Train on the labelled films in DATA and write a model with its card.

    DATA is a folder with the sub-folders NORMAL and PNEUMONIA; or a CSV file with
    the columns film and label and, optionally, patient, split, source, view, age,
    sex and confidence; or a folder that contains such a file, named films.csv.
    Without a column source, the source of a film is the name of its folder. DATA
    can be given several times; some of them may have only one class. A description
    of the data is written first, to MODEL/data.html. To continue an interrupted
    training, run the same command again.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    given |= _rule(target_sensitivity, target_specificity, youden)
    confidences = _confidences(confidence)
    ranges = _ages(ages)
    with native_logs_filtered():
        need_training_extra()
        from screening.training.data.manifest import PATIENT_PATTERN
        from screening.training.lung_fields import SHIPPED_LUNGS
        from screening.training.recipe import default_recipe
        from screening.training.train import TrainingRequest
        from screening.training.train import train as train_model

        recipe = replace(default_recipe(architecture), **given)  # type: ignore[arg-type]
        pattern = patient_pattern or PATIENT_PATTERN
        with TrainingProgress(recipe.epochs) as progress:
            try:
                request = TrainingRequest(
                    data=data,
                    model=out,
                    patient_pattern=pattern,
                    command=_command(data),
                    frontal=frontal,
                    prevalence=prevalence,
                    lungs=lungs or SHIPPED_LUNGS,
                    leave_out=leave_out,
                    confidence=confidences,
                    ages=ranges,
                )
                card = train_model(request, recipe, progress)
            except KeyboardInterrupt:
                progress.say(
                    "Interrupted. Run the same command again to continue after the last complete epoch."
                )
                raise
    for name, figures in (("validation", card.metrics), ("test", card.test)):
        if figures:
            click.echo(f"{name}: {_metrics_text(figures)}")
    click.echo(
        f"{out}: {card.model}, threshold {card.operating_point.threshold:.3f} "
        f"({card.operating_point.rule})"
    )
    click.echo(f"Read {out / 'card.html'}. Next: screening export {out} --out BUNDLE")


def _rule(sensitivity: float | None, specificity: float | None, youden: bool) -> dict[str, Any]:
    """Return the recipe fields that choose the threshold; at most one rule may be given."""
    if (sensitivity is not None) + (specificity is not None) + youden > 1:
        raise click.UsageError(
            "choose only one of --target-sensitivity, --target-specificity and --youden"
        )
    if sensitivity is not None:
        return {"rule": "target-sensitivity", "target": sensitivity}
    if specificity is not None:
        return {"rule": "target-specificity", "target": specificity}
    return {"rule": "youden"} if youden else {}


def _confidences(given: tuple[str, ...]) -> dict[str, float]:
    """Parse the probability that labels are correct, by ``SOURCE`` or ``SOURCE/CLASS``."""
    confidences = {}
    for each in given:
        key, _equals, value = each.rpartition("=")
        try:
            confidences[key] = float(value)
        except ValueError:
            confidences[key] = 0.0
        if not key or not 0.5 <= confidences[key] <= 1:
            raise click.BadParameter(
                f"{each!r}; expected SOURCE=C or SOURCE/CLASS=C with C from 0.5 to 1",
                param_hint="--confidence",
            )
    return confidences


def _ages(given: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Parse the ages of the youngest and the oldest patient, in years, by source."""
    ranges = {}
    for each in given:
        source, _equals, value = each.rpartition("=")
        low, _dash, high = value.partition("-")
        try:
            ages = float(low), float(high)
        except ValueError:
            ages = 1.0, 0.0
        if not source or not 0 <= ages[0] <= ages[1] <= 120:
            raise click.BadParameter(
                f"{each!r}; expected SOURCE=LOW-HIGH with ages from 0 to 120 years, such as "
                "chest=1-5",
                param_hint="--ages",
            )
        ranges[source] = ages
    return ranges


def _metrics_text(figures: dict[str, Any]) -> str:
    """Format three metrics of one split with their intervals; undefined ones are left out."""
    shown = []
    for name in ("auroc", "recall", "specificity"):
        figure = figures[name]
        if figure["value"] is not None and figure["ci_low"] is not None:
            low, high = figure["ci_low"], figure["ci_high"]
            shown.append(f"{name} {figure['value']:.4f} ({low:.4f} to {high:.4f})")
    return ", ".join(shown) + f", n = {figures['auroc']['n']}"


def need_training_extra() -> None:
    """Stop with an installation command if the training dependencies are missing."""
    # On processors without AVX-512, TensorFlow by default uses its own kernels, which take a third
    # longer than oneDNN. The variable is read when TensorFlow is imported.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        import keras  # noqa: F401  # imported only to check that it is installed
    except ImportError as error:
        raise click.ClickException(
            f"{error.name} is not installed; run: pip install 'screening[train]'"
        ) from error


def _command(data: tuple[Path, ...]) -> str:
    """Return the command that reproduces this model, without any path of this machine.

    A manifest is given with its folder, because the folder is the name of its source.
    """
    from screening.training.data.manifest import data_name

    context = click.get_current_context()
    named = [data_name(one) + (f"/{one.name}" if one.is_file() else "") for one in data]
    words = ["screening", "train", *named, "--out", "MODEL"]
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name in ("data", "out") or source == click.core.ParameterSource.DEFAULT or value is None:
            continue
        option = "--" + name.replace("_", "-")
        if name == "youden":
            words.append(option)
        elif isinstance(value, bool):
            words.append("--pretrained" if value else "--from-scratch")
        elif isinstance(value, tuple):
            words += [word for each in value for word in (option, each)]
        else:
            words += [option, value.name if isinstance(value, Path) else str(value)]
    return shlex.join(words)


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
            raise click.ClickException(f"{path} already exists; choose another --out")
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
            # Fail before hours of training if the folder cannot be created.
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
            from exports.export import ExportRequest
            from exports.export import export as export_model
        except ImportError as error:
            raise click.ClickException(
                f"{error.name} is not installed; run: pip install 'screening[train]'"
            ) from error
        request = ExportRequest(model, out, chosen, films, training_films, integer_io)
        bundle = export_model(request, lambda line: click.echo(line, err=True))
    size = sum(path.stat().st_size for path in bundle.path.rglob("*") if path.is_file())
    click.echo(f"{out}: {bundle.card.model}, {size / 1e6:.1f} MB, hash {bundle.sha256[:16]}")
    click.echo(f"Next: screening run FOLDER --model {out}")


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--key",
    required=True,
    type=FILE,
    help="Your private Ed25519 key: `openssl genpkey -algorithm ed25519 -out private.pem`.",
)
def sign(folder: Path, key: Path) -> None:
    """Sign a bundle or a report.

    Everybody who has your public key can then detect changes. All files of FOLDER
    are checked first. In a bundle, the signature is SHA256SUMS.sig; runners with
    --public-key accept only bundles that have one. In a report, it is audit.sig;
    `screening verify --public-key` checks it.
    """
    from exports.bundle import SUMS
    from exports.errors import SignatureError
    from screening.audit import AUDIT

    is_bundle, is_report = (folder / SUMS).exists(), (folder / AUDIT).exists()
    if is_bundle == is_report:
        both, joined = ("both", "and") if is_bundle else ("neither", "nor")
        raise SignatureError(
            f"{folder} was not signed: it has {both} {SUMS} (of a bundle) {joined} {AUDIT} (of a report)"
        )
    click.echo(_sign_bundle(folder, key) if is_bundle else _sign_report(folder, key))


def _sign_bundle(folder: Path, key: Path) -> str:
    from exports.bundle import Bundle, sign

    opened = Bundle.open(folder)
    sign(folder, key)
    return f"{folder}: {opened.card.model}, hash {opened.sha256[:16]}, signed"


def _sign_report(folder: Path, key: Path) -> str:
    from exports.bundle import sign_report
    from exports.errors import SignatureError
    from screening.audit import AUDIT, SIGNATURE, read_audit
    from screening.files import display_name
    from screening.report.verification import verify

    # An existing signature is replaced, so it does not matter whether it is valid.
    problems = [problem for problem in verify(folder) if problem.file != SIGNATURE]
    if problems:
        raise SignatureError(
            f"{folder} is not intact, so it was not signed: {display_name(str(problems[0]))}"
        )
    head = read_audit((folder / AUDIT).read_bytes()).head
    sign_report(folder, head, key)
    return f"{folder}: report with the chain head {head[:16]}, signed"
