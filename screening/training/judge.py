"""From a fitted network to its card: calibrate, choose the threshold, and measure, in this order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from screening.card import Card
from screening.heatmap import evidence
from screening.preprocess import Preprocessing
from screening.report.operating_points import operating_points
from screening.training.data.films import Bytes
from screening.training.data.manifest import LabelledFilm
from screening.training.data.sources import normals_elsewhere, reliable
from screening.training.data.split import LEFT_OUT, Sides
from screening.training.gate.examples import Example
from screening.training.gate.recognise import Frontal, fit_recogniser
from screening.training.measure.calibrate import (
    choose_threshold,
    fit_calibration,
    limit_normals,
)
from screening.training.measure.evaluation import TEST, TRAINING, VALIDATION, Evaluated
from screening.training.measure.remember import remember
from screening.training.measure.travel import travel
from screening.training.network.fit import FilmSet, predict
from screening.training.network.recipe import Recipe
from screening.training.robustness import Mask, ModelUnderTest, measure_reasons
from screening.training.selection import selection
from screening.training.subgroups import subgroups

Greys = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pictures:
    """All that a network is fitted and judged on, at its size.

    Attributes:
        training: 0..255.
        validation: 0..1.
        test: likewise; may have no films.
        others: frontal films of other places for the gate, shape (n, rows, columns), 0..1.
        examples: pictures for the gate.
        validation_masks: lung fields of the validation films, shape (n, rows, columns); None if
            they are not known, and then nothing says whether the model reads the lungs.
        test_masks: the same for the test films.
        left_out: films of sources that the training leaves out, 0..1; None if there are none.
    """

    training: FilmSet[Bytes]
    validation: FilmSet[Greys]
    test: FilmSet[Greys]
    others: Greys
    examples: Sequence[Example]
    validation_masks: Mask | None = None
    test_masks: Mask | None = None
    left_out: FilmSet[Greys] | None = None


@dataclass(frozen=True, eq=False)
class Judged:
    """A card without its weights, and the sides it was made from.

    Attributes:
        sides: training, validation and, where there is one, test.
    """

    card: Card
    sides: tuple[Evaluated, ...]


def judge(
    network: keras.Model,
    preprocessing: Preprocessing,
    recipe: Recipe,
    sides: Sides,
    pictures: Pictures,
    provenance: dict[str, Any],
    prevalence: float | None,
) -> Judged:
    """Everything that the card says about a finished network.

    Calibration, threshold and gate see training and validation films alone; the test side is only
    measured. Calibration, threshold, figures and simulated hospitals are of reliable films alone,
    see :func:`screening.training.data.sources.reliable`; reliable normal films of other sources
    can raise the threshold.

    Args:
        prevalence: share of pneumonia where the model will work, for the table of thresholds.
    """
    look = partial(predict, network, preprocessing)
    scores = look(pictures.validation.greys, output="score")
    sure = reliable(sides.validation)
    labels = pictures.validation.labels[sure]
    calibration = fit_calibration(scores[sure], labels, recipe.calibrated_prevalence)
    probabilities = calibration.probabilities(scores)
    point = choose_threshold(probabilities[sure], labels, recipe.target, recipe.rule)
    others = normals_elsewhere(sides.validation)
    normals = {name: probabilities[indices] for name, indices in others.items()}
    point = limit_normals(point, normals, recipe.normals_called)

    def evaluated(name: str, films: list[LabelledFilm], scores: npt.NDArray[Any]) -> Evaluated:
        return Evaluated.of(name, films, scores, calibration, point)

    validation = evaluated(VALIDATION, sides.validation, scores)
    own = look(pictures.training.greys, output="score")
    judged = [evaluated(TRAINING, sides.training, own), validation]
    if sides.test:
        judged.append(evaluated(TEST, sides.test, look(pictures.test.greys, output="score")))
    measured = [side for each in judged if (side := each.at(reliable(each.films))).films]
    last = measured[-1]
    model = ModelUnderTest(
        partial(look, output="score"),
        calibration,
        point,
        partial(_evidence, look) if "map" in network.output else None,
    )
    card = Card(
        architecture=recipe.architecture,
        preprocessing=preprocessing,
        calibration=calibration,
        operating_point=point,
        gate=fit_recogniser(
            partial(look, output="embedding"),
            Frontal.chosen(
                pictures.training.greys, [film.patient for film in sides.training], recipe.seed
            ),
            pictures.validation.greys,
            Frontal.of_others(pictures.others),
            pictures.examples,
            recipe.seed,
        ),
        metrics=validation.at(sure).metrics(),
        test=last.metrics() if last.name == TEST else {},
        **measure_generalisation(judged[1:], pictures, model, sides.left_out),
        results={side.name: side.results() for side in measured},
        results_at_half={side.name: side.results_at_half() for side in measured},
        operating_points=[
            each.as_dict() for each in operating_points(last.scored(), point.threshold, prevalence)
        ],
        training=provenance,
    )
    embeddings = look(pictures.validation.greys, output="embedding")
    reference = remember(card, pictures.validation.greys, validation.probabilities, embeddings)
    return Judged(replace(card, reference=reference), tuple(judged))


def _evidence(look: Callable[..., Greys], greys: Greys) -> Greys:
    """Logits for pneumonia of each cell of the network's map, shape (n, rows', columns')."""
    return evidence(look(greys, output="map"))


def measure_generalisation(
    held_out: Sequence[Evaluated],
    pictures: Pictures,
    model: ModelUnderTest,
    left_out: list[LabelledFilm],
) -> dict[str, Any]:
    """What the card says about other hospitals, groups of patients and the reasons of the model.

    Args:
        held_out: validation and, where there is one, test.
        left_out: the films of `pictures.left_out`.

    Returns:
        The card's fields `elsewhere`, `reasons`, `subgroups`, `left_out` and `selection`.
    """
    films = {
        VALIDATION: (pictures.validation.greys, pictures.validation_masks),
        TEST: (pictures.test.greys, pictures.test_masks),
    }
    reasons = {side.name: measure_reasons(side, *films[side.name], model) for side in held_out}
    groups = {side.name: subgroups(side) for side in held_out}
    elsewhere, comparable = _simulated_sites(held_out[0], pictures.validation.greys, model)
    return {
        "elsewhere": elsewhere,
        "reasons": {name: measured for name, measured in reasons.items() if measured},
        "subgroups": groups,
        "left_out": _of_left_out(left_out, pictures, model),
        "selection": selection(
            elsewhere if comparable else {}, reasons[VALIDATION], groups[VALIDATION]
        ),
    }


def _simulated_sites(
    validation: Evaluated, greys: Greys, model: ModelUnderTest
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Figures at the simulated hospitals, and whether models can be compared by them.

    They are those of reliable labels in sources with both classes; without such sources those of
    all films, which tell sources apart as well as classes.
    """
    films = reliable(validation.films)
    comparable = len(films) > 0
    if comparable:
        validation, greys = validation.at(films), greys[films]
    figures = travel(validation, greys, model.scores, model.calibration, model.point)
    return figures, comparable


def _of_left_out(
    films: list[LabelledFilm], pictures: Pictures, model: ModelUnderTest
) -> dict[str, Any]:
    """The figures by source, view and age of the films that the training left out."""
    if pictures.left_out is None or not films:
        return {}
    scores = model.scores(pictures.left_out.greys)
    return subgroups(Evaluated.of(LEFT_OUT, films, scores, model.calibration, model.point))
