"""Measure the effect of each part of the default recipe: ``python benchmarks/ablations.py --help``.

Every variant is trained on the same films, with the same seed and number of steps, at a small size,
and measured on validation films. The test films are not used. Each line of the CSV file is one
variant.
"""

import argparse
import csv
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from screening.inference.heatmap import evidence
from screening.results import POSITIVE
from screening.training import networks
from screening.training.calibrate import choose_threshold, fit_calibration
from screening.training.data.dataset import labels_of, read_collection
from screening.training.data.manifest import (
    confidence_of,
    read_manifest,
    reliable,
    strata_of,
    with_confidence,
)
from screening.training.data.split import divide
from screening.training.fit import FilmSet, compute_in_order, fit, predict
from screening.training.lung_fields import load_lungs, lung_masks
from screening.training.recipe import Recipe, default_recipe, preprocessing_of
from screening.training.robustness import ModelUnderTest, measure_reasons
from screening.training.scored_split import ScoredSplit
from screening.training.simulated_sites import evaluate_at_sites
from screening.training.subgroups import subgroups

#: Multipliers that keep the early layers at their ImageNet weights.
_FIXED_EARLY: Final = {
    name: 0.0 if factor == 0.1 else factor
    for name, factor in default_recipe(networks.DEFAULT).multipliers.items()
}

#: The recipe that each variant changes in one respect.
BASE: Final = replace(
    default_recipe(networks.DEFAULT),
    epochs=10,
    films_per_epoch=1920,
    size=128,
)

VARIANTS: Final[dict[str, Recipe]] = {
    "base": BASE,
    "no exchange": replace(BASE, exchange=0.0),
    "exchange 0.9": replace(BASE, exchange=0.9),
    "no penalty outside": replace(BASE, outside_evidence=0.0),
    "penalty 0.3": replace(BASE, outside_evidence=0.3),
    "hospitals": replace(BASE, augmentation="hospitals"),
    "no flip": replace(BASE, flip=0.0),
    "early layers fixed": replace(BASE, multipliers=_FIXED_EARLY),
    "hard labels": BASE,
    "children only": BASE,
    "map of 32 pixels": BASE,
    "160 pixels": replace(BASE, size=160),
    "224 pixels": replace(BASE, size=224),
}


class _Lines:
    """Prints progress as lines."""

    def say(self, line: str) -> None:
        print(line, flush=True)

    def batch(self, epoch: int, batches: int, done: int, loss: float) -> None:
        pass

    def epoch(self, row: dict[str, float]) -> None:
        print({name: round(value, 4) for name, value in row.items()}, flush=True)


def main() -> None:
    """Train and measure the requested variants, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", type=Path, help="as for `screening train`")
    parser.add_argument("--confidence", action="append", default=[], metavar="SOURCE/CLASS=C")
    parser.add_argument("--lungs", type=Path, required=True, help="lung network")
    parser.add_argument("--variant", action="append", choices=VARIANTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, required=True, help="folder for films and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to add lines to")
    given = parser.parse_args()
    compute_in_order()
    confidence = dict(part.rsplit("=", 1) for part in given.confidence)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in given.variant or VARIANTS:
            recipe = replace(VARIANTS[name], seed=given.seed)
            prepared = _prepared(given.data, confidence, given.lungs, recipe, given.work, pool)
            line = _line(name, recipe, prepared, given.work, pool)
            _add(given.out, line)
            print(line, flush=True)


def _prepared(
    data: list[Path],
    confidence: dict[str, str],
    lungs: Path,
    recipe: Recipe,
    work: Path,
    pool: ThreadPoolExecutor,
) -> tuple[Any, ...]:
    """Read training and validation films with their lung masks; cached for the next variant."""
    kept = work / f"films-{recipe.size}.pickle"
    if kept.exists():
        return pickle.loads(kept.read_bytes())  # noqa: S301  # written below
    preprocessing = preprocessing_of(recipe)
    films = with_confidence(
        read_manifest(data), {name: float(value) for name, value in confidence.items()}
    )
    collection = read_collection(films, preprocessing, pool)
    sides, _twins = divide(collection, "patient", 0.15, 0.15, 1)
    network = load_lungs(lungs)
    result = []
    for side in (sides.training, sides.validation):
        greys = collection.greys[collection.indices(side)]
        result.append((side, greys, lung_masks(network, greys)))
    kept.write_bytes(pickle.dumps(tuple(result)))
    return tuple(result)


def _line(
    name: str, recipe: Recipe, prepared: tuple[Any, ...], work: Path, pool: ThreadPoolExecutor
) -> dict[str, Any]:
    (films, greys, lungs), (held, held_greys, held_lungs) = prepared
    if name == "children only":
        chosen = np.array([k for k, film in enumerate(films) if film.age is None])
        films, greys, lungs = [films[k] for k in chosen], greys[chosen], lungs[chosen]
    sure = confidence_of(films)
    if name == "hard labels":
        sure = np.ones_like(sure)
    if name == "map of 32 pixels":
        coarse = partial(networks.efficientnet_lite0, map_stride=32)
        networks._BUILDERS[networks.DEFAULT] = coarse  # noqa: SLF001  # not a shipped variant
    preprocessing = preprocessing_of(recipe)
    held_greys = held_greys.astype(np.float32) / np.float32(255)
    measured = reliable(held)
    training = FilmSet(greys, labels_of(films), lungs, strata_of(films), sure)
    validation = FilmSet(held_greys[measured], labels_of(held)[measured])
    folder = work / f"{name.replace(' ', '-')}-{recipe.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    started, processor = time.perf_counter(), time.process_time()
    network, _history = fit(
        recipe, preprocessing, training, validation, folder, "films", pool=pool, progress=_Lines()
    )
    spent = time.perf_counter() - started, time.process_time() - processor
    network.save_weights(folder / "final.weights.h5")
    figures = _measured(network, preprocessing, recipe, held, held_greys, held_lungs, measured)
    return {
        "variant": name,
        "seed": recipe.seed,
        "size": recipe.size,
        "films": len(films),
        **figures,
        "seconds": round(spent[0]),
        "cpu_seconds": round(spent[1]),
    }


def _measured(
    network: keras.Model,
    preprocessing: Any,
    recipe: Recipe,
    held: list[Any],
    greys: Any,
    lungs: Any,
    measured: Any,
) -> dict[str, Any]:
    look = partial(predict, network, preprocessing)
    scores = look(greys, output="score")
    labels = labels_of(held)
    calibration = fit_calibration(scores[measured], labels[measured], recipe.calibrated_prevalence)
    probabilities = calibration.probabilities(scores)
    point = choose_threshold(probabilities[measured], labels[measured], recipe.target, recipe.rule)
    side = ScoredSplit.of("validation", held, scores, calibration, point)
    model = ModelUnderTest(
        partial(look, output="score"),
        calibration,
        point,
        (lambda films: evidence(look(films, output="map"))),
    )
    reasons = measure_reasons(side, greys, lungs > 0, model)
    tests = reasons["tests"]
    groups = subgroups(side)
    of_view = {(row["source"], row["view"]): row for row in groups["source_view"]}
    children = next(row for row in groups["source"] if not row["weak"] and row.get("auroc"))
    sites = evaluate_at_sites(
        side.at(measured), greys[measured], partial(look, output="score"), calibration, point
    )
    half = scores[:, POSITIVE] >= 0.5
    view = np.array([film.view for film in held])
    source = np.array([film.source for film in held])

    def called_at_half(name: str, of: str) -> float:
        return float(half[(source == name) & (view == of)].mean())

    evidences = {row["source"]: row for row in reasons["lung_evidence"]}
    figures: dict[str, Any] = {
        "threshold": point.threshold,
        "children_auroc": children["auroc"]["value"],
        "worst_site": min(row["auroc"]["value"] for row in sites.values()),
        "outside_exchanged": tests["outside_exchanged"]["auroc"]["value"],
        "flipped": tests["outside_exchanged"]["flipped"]["value"],
        "lungs_exchanged": tests["lungs_exchanged"]["auroc"]["value"],
        "lungs_hidden": tests["lungs_hidden"]["auroc"]["value"],
        "outside_hidden": tests["outside_hidden"]["auroc"]["value"],
        "markers_flipped": tests["markers_pasted"]["flipped"]["value"],
        "lung_evidence": evidences[""]["value"] if "" in evidences else None,
    }
    for name, of in sorted(key for key in of_view if key[1]):
        row = of_view[name, of]
        figures[f"{name}_{of}_called"] = row["share_called"]["value"]
        if "auroc" in row:
            figures[f"{name}_{of}_auroc"] = row["auroc"]["value"]
        else:
            figures[f"{name}_{of}_called_at_half"] = called_at_half(name, of)
    figures |= {f"{name}_view": row["auroc"]["value"] for name, row in reasons["view"].items()}
    estimates = {row["view"]: row for row in groups["adult_sensitivity"]}
    for name, row in estimates.items():
        figures[f"adult_sensitivity_{name}"] = row["sensitivity"]["value"]
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in figures.items()
    }


def _add(path: Path, line: dict[str, Any]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(line))
        if is_new:
            writer.writeheader()
        writer.writerow(line)


if __name__ == "__main__":
    main()
