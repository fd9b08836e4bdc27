"""A few made-up films with the answers that a bundle must give to them, on any device."""

import json
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from exports.bundle import Bundle
from exports.errors import BundleError
from exports.parity import probabilities
from exports.runtimes.load import load_target
from exports.targets import TARGETS, Target
from screening.card import Card
from screening.predictor import Predictor
from screening.preprocess import Tensor

FOLDER: Final = "selftest"
_FILMS: Final = "films.npy"
_ANSWERS: Final = "answers.json"
_COUNT: Final = 4


def write_selftest(folder: Path, card: Card, original: Predictor) -> None:
    """Write ``selftest/``: phantoms, so that no bundle carries anybody's film."""
    place = folder / FOLDER
    place.mkdir()
    films = phantoms(card.preprocessing.rows, card.preprocessing.columns)
    np.save(place / _FILMS, films, allow_pickle=False)
    answers = probabilities(original, _tensors(films, card), card).tolist()
    text = json.dumps({"probability": answers}, indent=2)
    (place / _ANSWERS).write_text(text + "\n", encoding="utf-8")


def check_selftest(bundle: Bundle, target: Target) -> float:
    """Let `target` answer; the largest difference from the right answers.

    Raises:
        BundleError: if it is beyond the target's tolerance.
    """
    place = bundle.path / FOLDER
    films = np.load(place / _FILMS, allow_pickle=False)
    answers = json.loads((place / _ANSWERS).read_text(encoding="utf-8"))["probability"]
    predictor = load_target(bundle.path, target)
    given = probabilities(predictor, _tensors(films, bundle.card), bundle.card)
    largest = float(np.abs(given - np.array(answers)).max())
    if not largest <= target.tolerance:
        raise BundleError(
            f"{bundle.path}: {target.name} differs by {largest:.2g} from the right answers, "
            f"{target.tolerance:g} is allowed"
        )
    return largest


def targets_of(bundle: Path) -> list[Target]:
    """The targets that a bundle holds."""
    return [target for target in TARGETS.values() if (bundle / target.file).exists()]


def phantoms(rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """Pictures with two dark fields, a bright middle and noise, shape (4, rows, columns)."""
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


def _tensors(films: npt.NDArray[np.uint8], card: Card) -> list[Tensor]:
    return [card.preprocessing.tensor(film.astype(np.float32) / np.float32(255)) for film in films]
