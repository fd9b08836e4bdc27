"""Test whether a model reads the lungs: films with lungs, outside or markers changed.

A model can be right for the wrong reasons: in most collections markers, collimation and view
separate the classes (Zech et al., PLOS Medicine 15, 2018; DeGrave, Janizek and Lee, Nature Machine
Intelligence 3, 2021). Each test changes something that must not matter, or removes something that
must, and measures the AUROC and the share of decisions that change.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.model.calibration import Calibration, OperatingPoint, logits
from screening.model.lungs import lung_evidence
from screening.report.intervals import Booleans, Figure, Floats, draws, share
from screening.report.metrics import Scored, auroc
from screening.results import CLASSES, POSITIVE
from screening.training.data.manifest import reliable
from screening.training.film_edits import (
    Alpha,
    exchange_lungs,
    exchange_outside,
    hide_lungs,
    hide_outside,
    paste_markers,
    remove_markers,
    soft_mask,
)
from screening.training.scored_split import ScoredSplit
from screening.training.simulated_sites import sample_films
from screening.training.subgroups import is_adult, is_weak, percentiles

#: Shape (rows, columns), 0..1.
Grey = npt.NDArray[np.float32]

#: Shape (n, rows, columns), 0..1.
Greys = npt.NDArray[np.float32]

Mask = npt.NDArray[np.bool_]

#: Name of the unchanged films in the result.
ORIGINAL: Final = "original"

# Maximum number of films in all, and of those among them that are not used for the AUROC.
_MOST: Final = 600
_MOST_OF_OTHERS: Final = 200

# A mask with a smaller share of the film has missed the lungs.
_LEAST_LUNGS: Final = 0.05


@dataclass(frozen=True, eq=False)
class ModelUnderTest:
    """The model functions that the tests need.

    Attributes:
        scores: softmax scores, shape (n, 2), of films, shape (n, rows, columns), 0..1.
        calibration: turns scores into probabilities.
        point: turns probabilities into decisions.
        evidence: logits for pneumonia of each cell, shape (n, rows', columns'), of such films;
            None if the model has no map.
    """

    scores: Callable[[Greys], npt.NDArray[np.float32]]
    calibration: Calibration
    point: OperatingPoint
    evidence: Callable[[Greys], npt.NDArray[np.float32]] | None = None


@dataclass(frozen=True, eq=False)
class _Films:
    """The films of a test.

    Attributes:
        side: the films with the model's predictions for the unchanged films.
        greys: grey values of these films.
        masks: their lungs, shape (n, rows, columns).
        alphas: their soft masks, of the same shape.
        donors: for each film, the index of a film of the other class, shape (n,).
        measured: True for films that are used for the AUROC, shape (n,).
    """

    side: ScoredSplit
    greys: Greys
    masks: Mask
    alphas: Alpha
    donors: npt.NDArray[np.int64]
    measured: Booleans


Change = Callable[[_Films, int, np.random.Generator], Grey]

#: The tests by name, with the change that each makes to a film.
TESTS: Final[dict[str, Change]] = {
    "outside_exchanged": lambda films, k, _rng: exchange_outside(
        films.greys[k], films.alphas[k], films.greys[films.donors[k]]
    ),
    "lungs_exchanged": lambda films, k, _rng: exchange_lungs(
        films.greys[k], films.greys[films.donors[k]], films.alphas[films.donors[k]]
    ),
    "lungs_hidden": lambda films, k, _rng: hide_lungs(films.greys[k], films.masks[k]),
    "outside_hidden": lambda films, k, _rng: hide_outside(films.greys[k], films.alphas[k]),
    "markers_pasted": lambda films, k, rng: paste_markers(films.greys[k], rng),
    "markers_removed": lambda films, k, _rng: remove_markers(films.greys[k], films.alphas[k]),
}


def measure_reasons(
    side: ScoredSplit, greys: Greys, masks: Mask | None, model: ModelUnderTest
) -> dict[str, Any]:
    """Run all tests on one side, on about 600 of its films.

    AUROCs use reliable labels in sources with both classes; for other sources only the share of
    decisions that change and the share called are given. The donor of a film is of the other class
    and, if possible, of the same source; otherwise the donor of an adult is an adult.

    Args:
        side: films that the model was not fitted on, with its predictions.
        greys: grey values of these films, shape (n, rows, columns), 0..1.
        masks: their lung fields, of the same shape; None if unknown.

    Returns:
        ``n`` and ``without_lungs`` (films that could not be tested), ``tests`` (by name, first
        ``original``: ``auroc``, ``flipped`` and ``sources``), ``occlusion``
        (:func:`_occlusion`), ``view`` (:func:`view_of_normals`) and ``lung_evidence``
        (rows of :func:`_evidence`, if the model has a map). Figures are ``{value, ci_low, ci_high,
        n, note}``, intervals by patient. Empty without masks, or with films of one class only.

    Raises:
        ValueError: if films and masks differ in shape.
    """
    if masks is None or not len(greys):
        return {}
    if masks.shape != greys.shape:
        raise ValueError(f"masks of the shape {masks.shape} for films of the shape {greys.shape}")
    there = np.flatnonzero(masks.mean(axis=(1, 2)) >= _LEAST_LUNGS)
    chosen = there[_sample(side.at(there))]
    films = _prepare(side.at(chosen), greys[chosen], masks[chosen])
    if films is None:
        return {}
    answers = {ORIGINAL: model.scores(films.greys)}
    for name, change in TESTS.items():
        rng = np.random.default_rng(0)
        changed = np.stack([change(films, k, rng) for k in range(len(films.greys))])
        answers[name] = model.scores(changed)
    return {
        "n": len(chosen),
        "without_lungs": len(greys) - len(there),
        "tests": {name: _figures(films, scores, model) for name, scores in answers.items()},
        "occlusion": _occlusion(films, answers, model),
        "view": view_of_normals(side),
        "lung_evidence": _evidence(films, model),
    }


def view_of_normals(side: ScoredSplit) -> dict[str, Any]:
    """How well the probability separates AP from PA among normal films of adults, by source.

    Within one class it should not; 0.5 is best. Sicker patients are imaged AP, so a model that has
    learnt the view calls normal AP films pneumonia.

    Returns:
        By source with normal films of adults in both views: ``auroc``, ``ap`` and ``pa`` (numbers
        of films) and ``weak`` (True if any label is weak).
    """
    sources: dict[str, list[int]] = {}
    for index, film in enumerate(side.films):
        if film.label != POSITIVE and is_adult(film) and film.view in {"AP", "PA"}:
            sources.setdefault(film.source, []).append(index)
    result = {}
    for source, indices in sorted(sources.items()):
        films = side.at(np.array(indices, np.int64))
        ap = np.array([film.view == "AP" for film in films.films])
        if ap.all() or not ap.any():
            continue
        scored = films.scored()
        result[source] = {
            "auroc": asdict(auroc(Scored(ap, scored.probability, scored.called, scored.patient))),
            "ap": int(ap.sum()),
            "pa": int((~ap).sum()),
            "weak": any(map(is_weak, films.films)),
        }
    return result


def _sample(side: ScoredSplit) -> npt.NDArray[np.int64]:
    """Indices of a sample: mostly films of sources with both classes, some of the others."""
    measured = reliable(side.films)
    others = np.setdiff1d(np.arange(len(side.films)), measured)
    few = others[sample_films(side.at(others), min(_MOST_OF_OTHERS, len(others)))]
    most = measured[sample_films(side.at(measured), _MOST - len(few))]
    return np.sort(np.concatenate([most, few]))


def _prepare(side: ScoredSplit, greys: Greys, masks: Mask) -> _Films | None:
    donors = _donors(side)
    if donors is None:
        return None
    measured = np.zeros(len(greys), bool)
    measured[reliable(side.films)] = True
    alphas = np.stack([soft_mask(mask) for mask in masks])
    return _Films(side, greys, masks, alphas, donors, measured)


def _donors(side: ScoredSplit) -> npt.NDArray[np.int64] | None:
    """For each film the index of one of the other class; None if there is only one class.

    The donor is of the same source if possible; otherwise the donor of an adult is an adult.
    """
    rng = np.random.default_rng(0)
    sources = np.array([film.source for film in side.films], object)
    adults = np.array([is_adult(film) for film in side.films], bool)
    if not side.positive.any() or side.positive.all():
        return None
    donors = []
    for own, source, adult in zip(side.positive, sources, adults, strict=True):
        other = side.positive != own
        alike = (other & (sources == source), other & (adults == adult), other)
        donors.append(rng.choice(np.flatnonzero(next(each for each in alike if each.any()))))
    return np.array(donors, np.int64)


def _figures(
    films: _Films, scores: npt.NDArray[np.float32], model: ModelUnderTest
) -> dict[str, Any]:
    side = films.side
    now = ScoredSplit.of(side.name, side.films, scores, model.calibration, model.point)
    flipped = now.called != side.called
    measured = np.flatnonzero(films.measured)
    sources: dict[str, list[int]] = {}
    for index, film in enumerate(side.films):
        sources.setdefault(film.source, []).append(index)
    return {
        "auroc": asdict(auroc(now.at(measured).scored())),
        "flipped": _share(flipped, now, measured),
        "sources": {
            source: _of_source(now, flipped, np.array(indices, np.int64))
            for source, indices in sorted(sources.items())
        },
    }


def _of_source(
    now: ScoredSplit, flipped: Booleans, indices: npt.NDArray[np.int64]
) -> dict[str, Any]:
    part = now.at(indices)
    row: dict[str, Any] = {
        "n": len(indices),
        "weak": any(map(is_weak, part.films)),
        "flipped": _share(flipped, now, indices),
        "share_called": {
            name: _share(now.called, now, indices[part.labels == index])
            for index, name in enumerate(CLASSES)
            if (part.labels == index).any()
        },
    }
    if len(row["share_called"]) > 1:
        row["auroc"] = asdict(auroc(part.scored()))
    return row


def _share(which: Booleans, side: ScoredSplit, indices: npt.NDArray[np.int64]) -> dict[str, Any]:
    return asdict(share(which[indices], side.at(indices).scored().patient))


def _occlusion(
    films: _Films, answers: dict[str, npt.NDArray[np.float32]], model: ModelUnderTest
) -> dict[str, Any]:
    """How far the log odds of called films fall if the outside, or the lungs, are hidden.

    The way a map is pooled cannot improve this result.

    Returns:
        ``outside_hidden`` and ``lungs_hidden`` (:func:`spread`), and ``lungs_count_more``, the
        share of films whose log odds fall further without the lungs. Empty if no film is called.
    """
    called = np.flatnonzero(films.side.called)
    if not len(called):
        return {}
    odds = {name: model.calibration.log_odds(logits(scores)) for name, scores in answers.items()}
    falls = {
        name: (odds[ORIGINAL] - odds[name])[called] for name in ("outside_hidden", "lungs_hidden")
    }
    side = films.side.at(called)
    more = falls["lungs_hidden"] > falls["outside_hidden"]
    return {name: spread(fall, side) for name, fall in falls.items()} | {
        "lungs_count_more": _share(more, side, np.arange(len(called)))
    }


def _evidence(films: _Films, model: ModelUnderTest) -> list[dict[str, Any]]:
    """The share of evidence inside the lungs of called films, overall and by source and label.

    Returns:
        Rows with ``source`` and ``label`` (both empty for all films) and the keys of
        :func:`spread`.
    """
    called = np.flatnonzero(films.side.called)
    if model.evidence is None or not len(called):
        return []
    maps = model.evidence(films.greys[called])
    # The share is undefined for a film without evidence for pneumonia.
    shares = np.array(list(map(lung_evidence, maps, films.masks[called])), np.float64)
    seen = np.flatnonzero(np.isfinite(shares))
    side, shares = films.side.at(called[seen]), shares[seen]
    groups: dict[tuple[str, str], list[int]] = {}
    for index, film in enumerate(side.films):
        groups.setdefault((film.source, CLASSES[film.label]), []).append(index)
    rows = [{"source": "", "label": ""} | spread(shares, side)] if len(seen) else []
    for (source, name), indices in sorted(groups.items()):
        part = side.at(np.array(indices, np.int64))
        rows.append({"source": source, "label": name} | spread(shares[indices], part))
    return rows


def spread(values: Floats, side: ScoredSplit) -> dict[str, Any]:
    """The median of a value over films, with its 95 % interval by patient, and the quartiles.

    Args:
        values: at least one, shape (n,).
        side: the films of these values.

    Returns:
        ``{value, ci_low, ci_high, n, note, q1, q3}``.
    """
    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    _patients, patient = np.unique(side.patients, return_inverse=True)
    patients = int(patient.max()) + 1
    order = np.argsort(values)
    drawn = []
    for times in draws(patients, len(values)):
        reached = np.cumsum(times[:, patient[order]], axis=1)
        at = (2 * reached < reached[:, -1:]).sum(axis=1)
        drawn.append(values[order][np.minimum(at, len(values) - 1)])
    figure: Figure = percentiles(float(median), np.concatenate(drawn), patients, len(values))
    return asdict(figure) | {"q1": float(first), "q3": float(third)}
