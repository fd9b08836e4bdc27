"""From a folder of labelled films to a MODEL: split, fit, calibrate, choose, measure, write."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from screening import __version__
from screening.card import WEIGHTS, Card, sha256_of
from screening.errors import TrainingDataError
from screening.findings import CLASSES
from screening.preprocess import Preprocessing
from screening.recognition import Recogniser
from screening.report.metrics import Scored, confusion, performance
from screening.training.calibrate import choose_threshold, fit_temperature
from screening.training.checkpoint import History, remove_checkpoints
from screening.training.examples import read_examples
from screening.training.figures import draw_figures
from screening.training.films import (
    Bytes,
    class_weights,
    labels_of,
    read_bytes,
    read_films,
    read_folder,
)
from screening.training.fit import FilmSet, Progress, fit, predict
from screening.training.fold import fold
from screening.training.manifest import LabelledFilm, fingerprint, read_manifest
from screening.training.networks import PREPROCESSING
from screening.training.recipe import Recipe
from screening.training.recognise import Frontal, fit_recogniser
from screening.training.split import split_by_patient

HISTORY: Final = "history.csv"
VALIDATION: Final = "validation.csv"
FIGURES: Final = "figures"


@dataclass(frozen=True)
class _Sides:
    training: list[LabelledFilm]
    validation: list[LabelledFilm]


def train(
    data: Path,
    model: Path,
    recipe: Recipe,
    patient_pattern: str,
    command: str,
    progress: Progress,
    frontal: Path | None = None,
) -> Card:
    """Train on `data` and write the MODEL folder.

    An interrupted call leaves a checkpoint in `model`; the same call goes on from there.

    Args:
        data: class folders or a CSV manifest.
        model: folder to write; must not hold a finished model.
        command: how the user asked for this, for the card.
        frontal: frontal chest films of other places, which need no labels: they widen what the
            gate takes for one.

    Raises:
        TrainingDataError: if the films cannot be used, or `model` holds a model already.
    """
    if (model / WEIGHTS).exists():
        raise TrainingDataError(f"{model} already holds a model; choose another --out")
    films = read_manifest(data, patient_pattern)
    sides = _Sides(*split_by_patient(films, recipe.validation_share, recipe.seed))
    for name, side in vars(sides).items():
        counts = ", ".join(f"{number} {what}" for what, number in _counts(side).items())
        progress.say(f"{name}: {counts}")
    preprocessing = PREPROCESSING[recipe.architecture]
    data_hash = fingerprint(films)
    model.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        training = FilmSet(
            read_bytes(sides.training, preprocessing, pool), labels_of(sides.training)
        )
        validation = FilmSet(
            read_films(sides.validation, preprocessing, pool), labels_of(sides.validation)
        )
        # What is wrong with these is said before hours of fitting.
        others = read_folder(frontal, preprocessing, pool)
        network, history = fit(
            recipe, preprocessing, training, validation, model, data_hash, pool, progress
        )
    network = fold(network)
    scores = predict(network, preprocessing, validation.greys, "score")
    calibration = fit_temperature(scores, validation.labels)
    probabilities = calibration.probabilities(scores)
    point = choose_threshold(probabilities, validation.labels, recipe.target_sensitivity)
    scored = _scored(sides.validation, probabilities, point.positive(probabilities))
    card = Card(
        architecture=recipe.architecture,
        preprocessing=preprocessing,
        calibration=calibration,
        operating_point=point,
        gate=_gate(network, preprocessing, sides, training, validation, others, recipe.seed),
        metrics=_metrics(scored),
        training=_provenance(data, data_hash, sides, recipe, patient_pattern, command),
    )
    return _write(model, network, card, history, sides.validation, probabilities)


def _gate(
    network: keras.Model,
    preprocessing: Preprocessing,
    sides: _Sides,
    training: FilmSet[Bytes],
    validation: FilmSet[npt.NDArray[np.float32]],
    others: npt.NDArray[np.float32],
    seed: int,
) -> Recogniser:
    return fit_recogniser(
        partial(predict, network, preprocessing, output="embedding"),
        Frontal.chosen(training.greys, [film.patient for film in sides.training], seed),
        validation.greys,
        Frontal(others, np.array([f"other {index}" for index in range(len(others))], dtype=str)),
        read_examples(preprocessing),
        seed,
    )


def _write(
    model: Path,
    network: keras.Model,
    card: Card,
    history: History,
    films: list[LabelledFilm],
    probabilities: npt.NDArray[np.float64],
) -> Card:
    """Write the folder; the weights come last under their name, so they mark it as complete."""
    aside = model / f".{WEIGHTS.removesuffix('.keras')}.aside.keras"
    network.save(aside)
    card = card.with_weights(sha256_of(aside))
    card.write(model)
    pd.DataFrame(history).to_csv(model / HISTORY, index=False)
    validation = {
        "film": [film.name for film in films],
        "label": [CLASSES[film.label] for film in films],
        "patient": [film.patient for film in films],
        "probability": probabilities,
        "prediction": [card.operating_point.finding(p) for p in probabilities],
    }
    pd.DataFrame(validation).to_csv(model / VALIDATION, index=False)
    threshold = card.operating_point.threshold
    draw_figures(model / FIGURES, history, labels_of(films), probabilities, threshold)
    aside.rename(model / WEIGHTS)
    remove_checkpoints(model)
    return card


def _scored(
    films: list[LabelledFilm],
    probabilities: npt.NDArray[np.float64],
    called: npt.NDArray[np.bool_],
) -> Scored:
    _patients, patient = np.unique([film.patient for film in films], return_inverse=True)
    return Scored(labels_of(films) == 1, probabilities, called, patient.astype(np.int64))


def _metrics(scored: Scored) -> dict[str, Any]:
    figures = {name: asdict(figure) for name, figure in performance(scored).items()}
    return {"set": "validation", "confusion": confusion(scored), **figures}


def _provenance(
    data: Path, data_hash: str, sides: _Sides, recipe: Recipe, patient_pattern: str, command: str
) -> dict[str, Any]:
    weights = class_weights(labels_of(sides.training))
    return {
        "command": command,
        "data": str(data.resolve()),
        "fingerprint": data_hash,
        "films": {name: _counts(side) for name, side in vars(sides).items()},
        "validation_patients": hashlib.sha256(
            "\n".join(sorted({film.patient for film in sides.validation})).encode()
        ).hexdigest(),
        "class_weights": dict(zip(CLASSES, map(float, weights), strict=True)),
        "recipe": asdict(recipe),
        "patient_pattern": patient_pattern,
        "backend": keras.backend.backend(),
        "software": {"screening": __version__}
        | {name: version(name) for name in ("keras", "numpy", "pillow", "pydicom")},
    }


def _counts(films: list[LabelledFilm]) -> dict[str, int]:
    labels = labels_of(films)
    return {
        "films": len(films),
        "patients": len({film.patient for film in films}),
        **{name: int((labels == index).sum()) for index, name in enumerate(CLASSES)},
    }
