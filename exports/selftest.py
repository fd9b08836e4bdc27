"""Self-test of a bundle: synthetic films and the answers it must give on every device."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from exports.bundle import Bundle
from exports.errors import BundleError
from exports.runtimes.load import load_lungs, load_target
from exports.targets import TARGETS, Target
from screening.imaging.film import Grey
from screening.inference.heatmap import evidence
from screening.model.card import Card
from screening.model.lung_reading import LungReader
from screening.model.lungs import LungFields, lung_evidence
from screening.model.predictor import Prediction
from screening.model.preprocess import Tensor

FOLDER: Final = "selftest"
_FILMS: Final = "films.npy"
_ANSWERS: Final = "answers.json"
_COUNT: Final = 4

#: Compared quantities and their tolerance as a multiple of the target's drift, the tolerance of
#: probabilities. Distances are not limited to 0..1, and these films are far from any training film.
_DRIFTS: Final = {
    "probability": 1,
    "frontal": 10,
    "domain_distance": 10,
    "threshold": 0,
    "lung_area": 0,
    "lung_evidence": 10,
}

#: Minimum tolerances: pixels at the edge of a lung may fall on either side.
_ALWAYS: Final = {"lung_area": 0.01, "lung_evidence": 0.01}

#: Value for a film without evidence of pneumonia.
_NO_EVIDENCE: Final = -1.0


def write_selftest(folder: Path, card: Card, targets: Sequence[Target]) -> None:
    """Write ``selftest/`` with phantoms, so that no bundle contains a film of a patient.

    The expected answers of each target are those that it gives on this machine.
    :mod:`exports.parity` checks on real films that a target is correct; the self-test checks that
    its answers do not change on another device.
    """
    place = folder / FOLDER
    place.mkdir()
    films = phantoms(card.preprocessing.rows, card.preprocessing.columns)
    np.save(place / _FILMS, films, allow_pickle=False)
    answers = {target.name: _answers(folder, target, films, card) for target in targets}
    text = json.dumps(answers, indent=2)
    (place / _ANSWERS).write_text(text + "\n", encoding="utf-8")


def check_selftest(bundle: Bundle, target: Target) -> float:
    """Run the self-test of `target`.

    Returns:
        The largest difference between a probability and its expected value.

    Raises:
        BundleError: if an answer differs by more than the drift of the target allows, or the bundle
            has no expected answers for it.
    """
    place = bundle.path / FOLDER
    try:
        films = np.load(place / _FILMS, allow_pickle=False)
        expected = json.loads((place / _ANSWERS).read_text(encoding="utf-8"))[target.name]
        given = _answers(bundle.path, target, films, bundle.card)
        differences = {name: _largest(given[name], expected[name]) for name in given}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"{place} has no answers for {target.name}: {error!r}") from error
    for name, largest in differences.items():
        allowed = max(target.drift * _DRIFTS[name], _ALWAYS.get(name, 0))
        if not largest <= allowed:
            raise BundleError(
                f"{bundle.path}: {target.name} differs by {largest:.2g} from the correct answers "
                f"({name}), {allowed:g} is allowed"
            )
    return differences["probability"]


def targets_of(bundle: Path) -> list[Target]:
    """Return the targets that a bundle contains."""
    return [target for target in TARGETS.values() if (bundle / target.file).exists()]


def phantoms(rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """Create images of two dark fields, a bright centre and noise, shape (4, rows, columns)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    films = []
    for index in range(_COUNT):
        lungs = sum(
            np.exp(-((((x - side * 0.42) / 0.28) ** 2 + ((y + 0.05) / 0.6) ** 2) ** 2))
            for side in (-1, 1)
        )
        haze = index / _COUNT * np.exp(-(((x - 0.4) / 0.3) ** 2) - ((y - 0.3) / 0.3) ** 2)
        grey = 0.75 - 0.55 * lungs + 0.5 * haze + rng.normal(0, 0.02, x.shape)
        films.append(np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8))
    return np.stack(films)


def _answers(
    folder: Path, target: Target, films: npt.NDArray[np.uint8], card: Card
) -> dict[str, list[float]]:
    """Run a model of a bundle on `films`; return the answers by the keys of `_DRIFTS`."""
    tensors = _tensors(films, card)
    prediction = load_target(folder, target).predict(np.stack(tensors))
    said: dict[str, list[float]] = {
        "probability": card.calibration.probabilities(prediction.scores).tolist(),
        "threshold": [card.operating_point.threshold],
    }
    if card.gate is not None:
        recognised = card.gate.check_film(prediction.embeddings)
        said["frontal"] = [_number(one.frontal) for one in recognised]
        said["domain_distance"] = [_number(one.distance) for one in recognised]
    lungs = load_lungs(folder, card, target.runtime)
    if lungs is not None:
        said |= _of_lungs(lungs, [card.preprocessing.grey(one) for one in tensors], prediction)
    return said


def _of_lungs(
    lungs: LungReader, films: Sequence[Grey], prediction: Prediction
) -> dict[str, list[float]]:
    masks = lungs.masks(films)
    said = {"lung_area": [round(LungFields.of(mask).area, 4) for mask in masks]}
    if prediction.maps is not None:
        shares = map(lung_evidence, evidence(prediction.maps), masks)
        said["lung_evidence"] = [_NO_EVIDENCE if share is None else share for share in shares]
    return said


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _largest(given: Sequence[float], expected: Any) -> float:
    return float(np.abs(np.array(given) - np.array(expected, np.float64)).max())


def _tensors(films: npt.NDArray[np.uint8], card: Card) -> list[Tensor]:
    return [card.preprocessing.tensor(film.astype(np.float32) / np.float32(255)) for film in films]
