"""Export a model as a bundle: convert, reopen, compare with the original, and only then write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exports import documents
from exports.bundle import Bundle, seal
from exports.convert.convert import Converter, KerasPredictor, converters
from exports.errors import BundleError, ExportError
from exports.lung_parity import ExpectedLungs, LungParity, original_lungs, write_lungs
from exports.parity import (
    BATCH,
    PARITY,
    Answers,
    ExportResult,
    answers,
    compare,
    table,
    write_parity,
)
from exports.runtimes.load import load_target
from exports.samples import Films, films_to_calibrate, films_to_compare
from exports.selftest import write_selftest
from exports.targets import Target
from screening.files import atomic_directory
from screening.model.card import WEIGHTS, Card, sha256_of
from screening.model.lungs import Mask


@dataclass(frozen=True)
class ExportRequest:
    """Options of an export.

    Attributes:
        model: MODEL folder.
        bundle: folder to write.
        targets: formats to convert to.
        films: films to compare on; by default the validation films.
        training_films: current location of each DATA of the training, if they were moved.
        integer_io: whether input and output of ``tflite-int8`` are integers.
    """

    model: Path
    bundle: Path
    targets: Sequence[Target]
    films: Path | None = None
    training_films: Sequence[Path] = ()
    integer_io: bool = False


def export(request: ExportRequest, say: Callable[[str], None]) -> Bundle:
    """Convert a model, compare the conversions with it on real films, and write the bundle.

    Args:
        say: called with each progress message and with the table of all targets.

    Raises:
        ExportError: if the model or the films cannot be used, or a conversion fails or changes
            decisions. No bundle is written in that case.
    """
    model = request.model
    card = Card.read(model)
    if sha256_of(model / WEIGHTS) != card.weights_sha256:
        raise ExportError(
            f"{model / WEIGHTS} was changed: its hash is not the one in the card of {model}"
        )
    original = KerasPredictor(model / WEIGHTS)
    lungs = original_lungs(model, card)
    films = films_to_compare(model, card, request.films, request.training_films)
    calibration = None
    if any(target.has_8_bits for target in request.targets):
        calibration = films_to_calibrate(model, card, request.training_films)
        say(f"calibrating 8-bit targets with {len(calibration.sha256)} training films")
    converter = Converter(
        original.network,
        card.preprocessing,
        None if calibration is None else calibration.tensors,
        integer_io=request.integer_io,
    )
    say(f"comparing with the original network on {len(films.sha256)} films")
    found = None
    if lungs is not None:
        found = ExpectedLungs.on(lungs, map(card.preprocessing.grey, films.tensors))
    masks = None if found is None else found.masks
    expected = answers(original, list(films.tensors), card, BATCH, masks)
    try:
        with atomic_directory(request.bundle) as temporary:
            outcomes = []
            for target in request.targets:
                outcome = _outcome(
                    target, converter, temporary, expected, films, card=card, masks=masks
                )
                say(outcome.summary)
                outcomes.append(outcome)
            say(table(outcomes))
            _refuse_failures(outcomes)
            parities = [] if found is None else write_lungs(temporary, found, request.targets)
            for parity in parities:
                say(f"{parity.file}: {parity.size / 1e6:.2f} MB, Dice {parity.dice:.5f}")
            bundled = _bundled(request, card, outcomes, parities, films, calibration)
            _write(temporary, request, bundled, outcomes, films)
    except OSError as error:
        raise ExportError(
            f"the bundle {request.bundle} cannot be written: {error.strerror}"
        ) from error
    return Bundle.open(request.bundle)


def _outcome(
    target: Target,
    converter: Converter,
    folder: Path,
    expected: Answers,
    films: Films,
    *,
    card: Card,
    masks: Sequence[Mask] | None,
) -> ExportResult:
    """Convert and compare one target; a failure is returned, so that the others are still tried."""
    try:
        path = converter.write(target, folder)
        predictor = load_target(folder, target)
        parity = compare(
            target, predictor, expected, list(films.tensors), films.labels, card, masks=masks
        )
    except (ExportError, BundleError) as error:
        return ExportResult(target, failure=str(error))
    return ExportResult(target, path.stat().st_size, parity)


def _refuse_failures(outcomes: Sequence[ExportResult]) -> None:
    failed = [outcome for outcome in outcomes if outcome.failures]
    if failed:
        named = "; ".join(
            f"{outcome.target.name}: {' and '.join(outcome.failures)}" for outcome in failed
        )
        raise ExportError(f"no bundle was written; {named}")


def _write(
    folder: Path,
    request: ExportRequest,
    card: Card,
    outcomes: Sequence[ExportResult],
    films: Films,
) -> None:
    """Write everything in a bundle except the models, which have already been written."""
    parities = [outcome.parity for outcome in outcomes if outcome.parity is not None]
    write_parity(folder / PARITY, films.sha256, parities)
    card.write(folder)
    write_selftest(folder, card, request.targets)
    documents.write_documents(folder, card, request.targets)
    seal(folder)


def _bundled(
    request: ExportRequest,
    card: Card,
    outcomes: Sequence[ExportResult],
    lungs: Sequence[LungParity],
    films: Films,
    calibration: Films | None,
) -> Card:
    """Return the card for the bundle: export figures added, paths of the training data removed."""
    training = {name: value for name, value in card.training.items() if name != "data"}
    exports = {
        "command": "screening export MODEL --out BUNDLE"
        + "".join(f" --target {target.name}" for target in request.targets)
        + (" --integer-io" if request.integer_io else ""),
        "targets": {outcome.target.name: outcome.as_dict() for outcome in outcomes},
        **({"lungs": {one.file: one.as_dict() for one in lungs}} if lungs else {}),
        "compared_on": films.as_dict(),
        "calibrated_on": calibration and calibration.as_dict(),
        "software": converters(),
    }
    return replace(card, training=training, exports=exports)
