"""Evaluate a fitted network: compute everything that its card contains."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from screening.inference.heatmap import evidence
from screening.model.calibration import Floats
from screening.model.card import Card
from screening.model.drift_baseline import (
    INPUTS,
    WARNINGS,
    DriftBaseline,
    Spread,
    histogram,
    input_statistics,
    rising,
)
from screening.model.image_gate import ImageGate
from screening.model.preprocess import Preprocessing
from screening.report.operating_points import operating_points
from screening.training.calibrate import choose_threshold, fit_calibration, limit_normals
from screening.training.data.dataset import Bytes
from screening.training.data.manifest import LabelledFilm, normals_elsewhere, reliable
from screening.training.data.split import LEFT_OUT, Sides
from screening.training.fit import FilmSet, predict
from screening.training.fit_image_gate import Example, Frontal, fit_image_gate
from screening.training.recipe import Recipe
from screening.training.robustness import Mask, ModelUnderTest, measure_reasons
from screening.training.scored_split import TEST, TRAINING, VALIDATION, ScoredSplit, number
from screening.training.simulated_sites import evaluate_at_sites
from screening.training.subgroups import subgroups


def build_drift_baseline(
    card: Card,
    greys: npt.NDArray[np.float32],
    probabilities: Floats,
    embeddings: npt.NDArray[np.floating],
) -> DriftBaseline | None:
    """Build the drift reference from films that the model was not fitted on.

    Films count as in a screening run: films that the gate of `card` refuses, or that have no valid
    probability, are counted as refused and left out of everything else.

    Args:
        card: with its gate and operating point.
        greys: grey values at the model's size, shape (n, rows, columns), 0..1.
        probabilities: calibrated, shape (n,).
        embeddings: embeddings of the same films, shape (n, d).

    Returns:
        None if the card has no gate, or if no film has a valid probability.
        None without a gate, and if no film has a probability.
    """
    gate = card.gate
    if gate is None:
        return None
    recognitions = gate.check_film(embeddings)
    refused = np.array([bool(recognition.refusal) for recognition in recognitions], bool)
    kept = ~refused & (probabilities >= 0) & (probabilities <= 1)
    if not kept.any():
        return None
    seen = [recognition for recognition, keep in zip(recognitions, kept, strict=True) if keep]
    codes = [warning.code for recognition in seen for warning in recognition.warnings]
    mean, covariance = _moments(gate, embeddings[kept])
    statistics = input_statistics(greys[kept])
    return DriftBaseline(
        n=len(kept),
        refused=int((~kept).sum()),
        called=int(card.operating_point.positive(probabilities[kept]).sum()),
        warnings={code: codes.count(code) for code in WARNINGS},
        histogram=histogram(probabilities[kept]),
        probabilities=rising(probabilities[kept]),
        distance=Spread.of(np.array([recognition.distance for recognition in seen], np.float64)),
        inputs={name: Spread.of(statistics[name]) for name in INPUTS},
        embedding_mean=mean,
        embedding_covariance=covariance,
    )


def _moments(
    gate: ImageGate, embeddings: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean, shape (k,), and covariance, shape (k, k), along the components of the density."""
    along = gate.coordinates(embeddings)
    centred = along - along.mean(axis=0)
    covariance = centred.T @ centred / max(1, len(along) - 1)
    return along.mean(axis=0).astype(np.float32), covariance.astype(np.float32)


#: The lowest AUROC over the simulated hospitals, for sources with both classes (the children).
SITES: Final = "worst_site"

#: The AUROC with the outside of the lungs exchanged, for the same sources.
OUTSIDE: Final = "outside_exchanged"

#: The share of films not called, among reliable normal films of one-class sources, by view.
NORMALS: Final = {"AP": "normals_ap", "PA": "normals_pa"}

#: The smallest of these components.
WORST: Final = "worst"

Figures = Mapping[str, Any]


def selection(
    elsewhere: Mapping[str, Figures], reasons: Figures, subgroups: Figures
) -> dict[str, Any]:
    """The components by which models are compared, and the lowest of them.

    Weak labels are never used. A component that is undefined on these films is left out.

    Args:
        elsewhere: figures by simulated hospital, from
            :func:`screening.training.simulated_sites.evaluate_at_sites`, of films with reliable
            labels from sources with both classes; empty if there are none.
        reasons: from :func:`screening.training.robustness.measure_reasons`, of the validation
            films.
        subgroups: from :func:`screening.training.subgroups.subgroups`, of the validation films.

    Returns:
        ``worst_site``, ``outside_exchanged``, ``normals_ap`` and ``normals_pa``, each
        ``{value, ci_low, ci_high, n, note, of}``, where `of` is the hospital or the source with the
        lowest value; ``worst`` is the smallest of them, with the component's name as `of`. Empty if
        no component is defined.
    """
    outside = reasons.get("tests", {}).get(OUTSIDE, {}).get("auroc", {})
    components = {
        SITES: _lowest((row["auroc"], name) for name, row in elsewhere.items() if "auroc" in row),
        OUTSIDE: _lowest([(outside, "")]),
    } | {name: _lowest(_not_called(subgroups, view)) for view, name in NORMALS.items()}
    known = {name: figure for name, figure in components.items() if figure is not None}
    worst = _lowest((figure, name) for name, figure in known.items())
    return known if worst is None else known | {WORST: worst}


def _lowest(figures: Iterable[tuple[Figures, str]]) -> dict[str, Any] | None:
    """The figure with the smallest value and its name; None if none has a value."""
    known = [
        (value, name, figure) for figure, name in figures if (value := number(figure)) is not None
    ]
    if not known:
        return None
    _value, name, figure = min(known, key=lambda each: each[:2])
    return dict(figure) | {"of": name}


def _not_called(subgroups: Figures, view: str) -> list[tuple[Figures, str]]:
    """One minus the share called in this view, for each source with only reliable normal films."""
    sources = {
        row["source"]
        for row in subgroups.get("source", ())
        if not row["weak"] and not row["positives"]
    }
    return [
        (_one_minus(row["share_called"]), row["source"])
        for row in subgroups.get("source_view", ())
        if row["source"] in sources and row["view"] == view
    ]


def _one_minus(share: Figures) -> dict[str, Any]:
    ends = {"value": "value", "ci_low": "ci_high", "ci_high": "ci_low"}
    flipped = {name: share.get(end) for name, end in ends.items()}
    return dict(share) | {name: None if x is None else 1 - x for name, x in flipped.items()}


Greys = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pictures:
    """All images that a network is fitted and evaluated on, at its size.

    Attributes:
        training: training films, 0..255.
        validation: validation films, 0..1.
        test: test films, 0..1; may be empty.
        others: frontal films from elsewhere for the gate, shape (n, rows, columns), 0..1.
        examples: pictures for the gate.
        validation_masks: lung fields of the validation films, shape (n, rows, columns); None if
            unknown, and then the card does not say whether the model reads the lungs.
        test_masks: lung fields of the test films, in the same form.
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
class Evaluation:
    """A card without its weights, and the sides that it was computed from.

    Attributes:
        sides: training, validation and, if there is one, test.
    """

    card: Card
    sides: tuple[ScoredSplit, ...]


def evaluate(
    network: keras.Model,
    preprocessing: Preprocessing,
    recipe: Recipe,
    sides: Sides,
    pictures: Pictures,
    *,
    provenance: dict[str, Any],
    prevalence: float | None,
) -> Evaluation:
    """Compute everything that the card contains for a finished network.

    Calibration, threshold and gate use training and validation films only; the test side is only
    measured. Calibration, threshold, figures and simulated hospitals use reliable films only, see
    :func:`screening.training.data.manifest.reliable`; reliable normal films of other sources can
    raise the threshold.

    Args:
        prevalence: share of pneumonia where the model will be used, for the table of thresholds.
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

    def evaluated(name: str, films: list[LabelledFilm], scores: npt.NDArray[Any]) -> ScoredSplit:
        return ScoredSplit.of(name, films, scores, calibration, point)

    validation = evaluated(VALIDATION, sides.validation, scores)
    own = look(pictures.training.greys, output="score")
    scored = [evaluated(TRAINING, sides.training, own), validation]
    if sides.test:
        scored.append(evaluated(TEST, sides.test, look(pictures.test.greys, output="score")))
    measured = [side for each in scored if (side := each.at(reliable(each.films))).films]
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
        gate=fit_image_gate(
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
        **measure_generalisation(scored[1:], pictures, model, sides.left_out),
        results={side.name: side.results() for side in measured},
        results_at_half={side.name: side.results_at_half() for side in measured},
        operating_points=[
            each.as_dict() for each in operating_points(last.scored(), point.threshold, prevalence)
        ],
        training=provenance,
    )
    embeddings = look(pictures.validation.greys, output="embedding")
    reference = build_drift_baseline(
        card, pictures.validation.greys, validation.probabilities, embeddings
    )
    return Evaluation(replace(card, reference=reference), tuple(scored))


def _evidence(look: Callable[..., Greys], greys: Greys) -> Greys:
    """Logits for pneumonia of each cell of the network's map, shape (n, rows', columns')."""
    return evidence(look(greys, output="map"))


def measure_generalisation(
    held_out: Sequence[ScoredSplit],
    pictures: Pictures,
    model: ModelUnderTest,
    left_out: list[LabelledFilm],
) -> dict[str, Any]:
    """Measure the model on other hospitals and patient groups, and its reasons, for the card.

    Args:
        held_out: validation and, if there is one, test.
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
    validation: ScoredSplit, greys: Greys, model: ModelUnderTest
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Figures at the simulated hospitals, and whether models can be compared by them.

    The figures use reliable labels in sources with both classes. Without such sources they use all
    films; they then separate sources as well as classes and models cannot be compared by them.
    """
    films = reliable(validation.films)
    comparable = len(films) > 0
    if comparable:
        validation, greys = validation.at(films), greys[films]
    figures = evaluate_at_sites(validation, greys, model.scores, model.calibration, model.point)
    return figures, comparable


def _of_left_out(
    films: list[LabelledFilm], pictures: Pictures, model: ModelUnderTest
) -> dict[str, Any]:
    """The figures by source, view and age of the films that the training left out."""
    if pictures.left_out is None or not films:
        return {}
    scores = model.scores(pictures.left_out.greys)
    return subgroups(ScoredSplit.of(LEFT_OUT, films, scores, model.calibration, model.point))
