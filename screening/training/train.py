"""Train a model from labelled films: read, describe, split, fit, evaluate, write."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from screening import __version__
from screening.errors import TrainingDataError
from screening.model.card import WEIGHTS, Card, sha256_of
from screening.model.preprocess import Preprocessing
from screening.results import CLASSES
from screening.training.batches import class_weights
from screening.training.data.dataset import (
    Bytes,
    Collection,
    labels_of,
    read_collection,
    read_films,
    read_folder,
)
from screening.training.data.dataset_report import describe_dataset
from screening.training.data.manifest import (
    RELIABLE,
    LabelledFilm,
    confidence_of,
    data_name,
    fingerprint,
    ranges_of_ages,
    read_manifest,
    refuse_unknown,
    reliable,
    strata_of,
    with_confidence,
)
from screening.training.data.split import LEFT_OUT, Sides, divide
from screening.training.evaluate import Pictures, evaluate
from screening.training.fit import FilmSet, Progress, compute_in_order, fit
from screening.training.fit_image_gate import read_examples
from screening.training.html.dataset_page import write_dataset_report
from screening.training.lung_fields import SHIPPED_LUNGS, load_lungs, lung_card, lung_masks
from screening.training.model_folder import write_model
from screening.training.quantisation_ready import fold
from screening.training.recipe import Recipe, preprocessing_of


@dataclass(frozen=True)
class TrainingRequest:
    """The user's options apart from the recipe.

    Attributes:
        data: one or several class folders and CSV manifests.
        model: folder to write; must not contain a finished model.
        patient_pattern: regular expression for the patient in a file name.
        command: the command line of the user, for the card.
        frontal: frontal chest films from elsewhere, without labels; they widen what the gate
            accepts as a frontal chest film.
        prevalence: share of pneumonia where the model will be used, for the table of thresholds.
        lungs: lung network to use; by default the one shipped with the package.
        leave_out: sources that are not used for training.
        confidence: probability that labels are right, 0.5 to 1, by ``SOURCE`` or ``SOURCE/CLASS``.
        ages: ages of the youngest and the oldest patient, in years, by source whose films have no
            ages.
    """

    data: Sequence[Path]
    model: Path
    patient_pattern: str
    command: str
    frontal: Path | None = None
    prevalence: float | None = None
    lungs: Path = SHIPPED_LUNGS
    leave_out: Sequence[str] = ()
    confidence: Mapping[str, float] = field(default_factory=dict)
    ages: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def train(request: TrainingRequest, recipe: Recipe, progress: Progress) -> Card:
    """Train and write the model folder.

    An interrupted call leaves a checkpoint in the folder; the same call resumes from it.

    Raises:
        TrainingDataError: if the films cannot be used, or the folder already contains a model.
    """
    if (request.model / WEIGHTS).exists():
        raise TrainingDataError(f"{request.model} already contains a model; choose another --out")
    films = read_manifest(request.data, request.patient_pattern)
    refuse_unknown(films, request.leave_out, "--leave-out")
    refuse_unknown(films, request.ages, "--ages")
    films = with_confidence(films, request.confidence)
    preprocessing = preprocessing_of(recipe)
    # Must come before the lung network uses TensorFlow.
    compute_in_order()
    lungs = load_lungs(request.lungs)
    request.model.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Read these first, so that errors are reported before hours of fitting.
        others = read_folder(request.frontal, preprocessing, pool)
        collection, sides = _divided(films, preprocessing, recipe, request, pool, progress)
        data = _fingerprint(collection, sides)
        validation = _read_film_set(sides.validation, preprocessing, pool)
        test = _read_film_set(sides.test, preprocessing, pool)
        pictures = Pictures(
            _training_set(collection, sides, recipe, lungs),
            validation,
            test,
            others,
            read_examples(preprocessing),
            validation_masks=lung_masks(lungs, validation.greys) > 0,
            test_masks=lung_masks(lungs, test.greys) > 0,
            left_out=_read_film_set(sides.left_out, preprocessing, pool)
            if sides.left_out
            else None,
        )
        # Weak labels cannot measure a model, so the figures of an epoch do not use them.
        measured = validation.only(reliable(sides.validation))
        network, history = fit(
            recipe,
            preprocessing,
            pictures.training,
            measured,
            request.model,
            made_with(data, recipe, request.lungs),
            pool=pool,
            progress=progress,
        )
    network = fold(network)
    provenance = _provenance(request, recipe, data, sides)
    progress.say("Calibrating, choosing the threshold and measuring")
    evaluation = evaluate(
        network,
        preprocessing,
        recipe,
        sides,
        pictures,
        provenance=provenance,
        prevalence=request.prevalence,
    )
    card = replace(
        evaluation.card,
        lungs=lung_card(request.lungs),
        ages=ranges_of_ages(sides.training, request.ages),
    )
    last = test if sides.test else validation
    return write_model(
        request.model,
        network,
        card,
        history,
        evaluation.sides,
        greys=last.greys,
        lungs=request.lungs,
    )


def _divided(
    films: list[LabelledFilm],
    preprocessing: Preprocessing,
    recipe: Recipe,
    request: TrainingRequest,
    pool: Executor,
    progress: Progress,
) -> tuple[Collection, Sides]:
    """Read all films, split them so that no copy is on two sides, and write the data report.

    Raises:
        TrainingDataError: if the films cannot be used, or no validation film can choose a
            threshold.
    """
    collection = read_collection(films, preprocessing, pool)
    sides, duplicates = divide(
        collection,
        recipe.protocol,
        recipe.validation_share,
        recipe.test_share,
        recipe.seed,
        request.leave_out,
    )
    if not len(reliable(sides.validation)):
        raise TrainingDataError(
            "no threshold can be chosen: the validation set has no source with reliable labels "
            f"(confidence {RELIABLE} or more) of both classes; add such films, or more of them"
        )
    census = describe_dataset(collection, sides, duplicates)
    write_dataset_report(
        request.model, census, collection, duplicates, recipe.protocol, recipe.seed
    )
    for warning in census.warnings:
        progress.say(f"Warning: {warning}")
    for name, side in _named(sides).items():
        counts = ", ".join(f"{number} {what}" for what, number in _counts(side).items())
        progress.say(f"{name}: {counts}")
    return collection, sides


def _named(sides: Sides) -> dict[str, list[LabelledFilm]]:
    """All sides, and the left-out films if there are any."""
    return dict(sides.items()) | ({LEFT_OUT: sides.left_out} if sides.left_out else {})


def _fingerprint(collection: Collection, sides: Sides) -> str:
    """Fingerprint of the films on all sides; it changes with the sources that are left out."""
    films = [film for _name, side in sides.items() for film in side]
    return fingerprint(films, [collection.sha256[index] for index in collection.indices(films)])


def made_with(films: str, recipe: Recipe, lungs: Path) -> str:
    """The inputs of a checkpoint; a training resumes only from a checkpoint with the same value.

    Args:
        films: fingerprint of the films.
        lungs: file of the lung network; included if lungs of training films are used.
    """
    return f"{films} {sha256_of(lungs)}" if recipe.needs_lungs else films


def _training_set(
    collection: Collection, sides: Sides, recipe: Recipe, lungs: keras.Model
) -> FilmSet[Bytes]:
    films = sides.training
    greys = collection.greys[collection.indices(films)]
    return FilmSet(
        greys,
        labels_of(films),
        lung_masks(lungs, greys) if recipe.needs_lungs else None,
        strata=strata_of(films),
        confidence=confidence_of(films),
    )


def _read_film_set(
    films: list[LabelledFilm], preprocessing: Preprocessing, pool: Executor
) -> FilmSet[npt.NDArray[np.float32]]:
    return FilmSet(read_films(films, preprocessing, pool), labels_of(films))


def _provenance(
    request: TrainingRequest, recipe: Recipe, data: str, sides: Sides
) -> dict[str, Any]:
    weights = class_weights(labels_of(sides.training))
    paths = [str(place.resolve()) for place in request.data]
    named = _named(sides)
    return {
        "command": request.command,
        "data": paths[0] if len(paths) == 1 else paths,
        "data_names": [data_name(place) for place in request.data],
        "left_out": list(request.leave_out),
        "fingerprint": data,
        "films": {name: _counts(side) for name, side in named.items()},
        "patients_sha256": {name: _patients_sha256(side) for name, side in named.items()},
        "class_weights": dict(zip(CLASSES, map(float, weights), strict=True)),
        "recipe": asdict(recipe),
        "patient_pattern": request.patient_pattern,
        "backend": keras.backend.backend(),
        "software": _software(),
    }


def _software() -> dict[str, str]:
    """Versions of the packages that figures may depend on."""
    backend = keras.backend.backend()
    packages = ("keras", "numpy", "pillow", "pydicom", "scikit-learn", "scipy")
    return {
        "screening": __version__,
        # The module's version, because one backend is distributed in several packages.
        backend: import_module(backend).__version__,
        **{name: version(name) for name in packages},
    }


def _patients_sha256(films: list[LabelledFilm]) -> str:
    patients = sorted({film.patient for film in films})
    return hashlib.sha256("\n".join(patients).encode()).hexdigest()


def _counts(films: list[LabelledFilm]) -> dict[str, int]:
    labels = labels_of(films)
    return {
        "films": len(films),
        "patients": len({film.patient for film in films}),
        **{name: int((labels == index).sum()) for index, name in enumerate(CLASSES)},
    }
