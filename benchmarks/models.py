"""Compare models: ``python benchmarks/models.py MODEL... --data DATA --out CSV``.

The figures are those of the model cards: on the test films, which were not used for any choice, and
at the worst of the simulated hospitals. With DATA, the baseline with frozen features is measured on
the same films, too. The table is in ``benchmarks/README.md``.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from cost import Cost, cost_of
from frozen_features import imagenet_features, logistic_regression
from screening.model.card import WEIGHTS, Card
from screening.results import CLASSES
from screening.training.calibrate import choose_threshold, fit_calibration
from screening.training.data.dataset import labels_of, read_collection
from screening.training.data.manifest import read_manifest
from screening.training.data.split import divide
from screening.training.networks import DEFAULT, PREPROCESSING, build
from screening.training.scored_split import TEST, VALIDATION, ScoredSplit
from screening.training.simulated_sites import METRICS, evaluate_at_sites

#: Metrics that select the worst hospital.
_JUDGES: Final = ("auroc", "balanced_accuracy")

#: Seconds per film of the whole training, milliseconds per prediction, of one CPU core.
_COSTS: Final = ("parameters", "million MACs", "training s", "inference ms")

Row = dict[str, str]


def main() -> None:
    """Write the figures as CSV and print them in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, help="adds frozen features on these films")
    parser.add_argument("--protocols", nargs="*", default=["patient", "film"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("models.csv"))
    arguments = parser.parse_args()
    rows = [row for model in arguments.models for row in _of_model(model)]
    if arguments.data:
        for protocol in arguments.protocols:
            rows += _of_frozen_features(arguments.data, protocol, arguments.seed)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _show(rows, ("model", "films", *METRICS))
    _show(rows, ("model", *_COSTS))


def _show(rows: list[Row], columns: Sequence[str]) -> None:
    print("\n|", " | ".join(columns), "|")
    print("|", " | ".join("---" for _ in columns), "|")
    for line in dict.fromkeys(" | ".join(row[column] for column in columns) for row in rows):
        print("|", line, "|")


def _of_model(model: Path) -> list[Row]:
    card = Card.read(model)
    recipe = card.training["recipe"]
    cost = cost_of(keras.saving.load_model(model / WEIGHTS, compile=False))
    views = _views(card.training["films"]["training"], recipe)
    name = f"{card.architecture}, {recipe['epochs']} epochs, seed {recipe['seed']}"
    cost = replace(cost, training_ms=cost.training_ms * views)
    return [*_rows(name, recipe["protocol"], card.test, card.elsewhere, cost)]


def _views(films: dict[str, int], recipe: dict[str, Any]) -> float:
    """Average number of times that training uses a film."""
    fewest = min(films[name] for name in CLASSES)
    a_pass = len(CLASSES) * fewest / films["films"] if recipe["balanced"] else 1.0
    return float(recipe["epochs"] * a_pass)


def _rows(
    name: str,
    protocol: str,
    test: dict[str, Any],
    elsewhere: dict[str, dict[str, Any]],
    cost: Cost,
) -> Iterator[Row]:
    """Yield rows for the test films and for the hospitals with the lowest figures."""
    sets = {f"test, {protocol}": test}
    for judge in _JUDGES:
        worst = min(elsewhere, key=lambda hospital: elsewhere[hospital][judge]["value"])
        sets.setdefault(f"worst, {protocol}: {worst}", elsewhere[worst])
    for films, figures in sets.items():
        yield (
            {"model": name, "films": films}
            | {metric: _written(figures[metric]) for metric in METRICS}
            | dict(zip(_COSTS, _costs(cost), strict=True))
        )


def _costs(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.parameters:,}",
        f"{cost.macs / 1e6:,.0f}",
        f"{cost.training_ms / 1000:.2g}",
        f"{cost.inference_ms:.3g}",
    )


def _written(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f} ({figure['ci_low']:.3f} to {figure['ci_high']:.3f})"


def _of_frozen_features(data: Path, protocol: str, seed: int) -> list[Row]:
    with ThreadPoolExecutor() as pool:
        collection = read_collection(read_manifest(data), PREPROCESSING[DEFAULT], pool)
    sides, _duplicates = divide(collection, protocol, 0.15, 0.15, seed)
    features = imagenet_features(collection.greys)
    own = collection.indices(sides.training)
    head = logistic_regression().fit(features[own], labels_of(sides.training))

    def scores(greys: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        films = np.rint(greys * 255).astype(np.uint8)
        return np.asarray(head.predict_proba(imagenet_features(films)), np.float32)

    held_out = collection.indices(sides.validation)
    greys = collection.greys[held_out].astype(np.float32) / np.float32(255)
    validation_scores = np.asarray(head.predict_proba(features[held_out]), np.float32)
    labels = labels_of(sides.validation)
    calibration = fit_calibration(validation_scores, labels)
    point = choose_threshold(calibration.probabilities(validation_scores), labels)
    validation = ScoredSplit.of(VALIDATION, sides.validation, validation_scores, calibration, point)
    test_scores = head.predict_proba(features[collection.indices(sides.test)])
    test = ScoredSplit.of(TEST, sides.test, test_scores, calibration, point)
    elsewhere = evaluate_at_sites(validation, greys, scores, calibration, point)
    cost = cost_of(build(DEFAULT, PREPROCESSING[DEFAULT].shape))
    # Each film passes the network once; the cost of logistic regression is negligible.
    cost = replace(cost, training_ms=cost.inference_ms)
    name = f"ImageNet features, logistic regression, seed {seed}"
    return [*_rows(name, protocol, test.metrics(), elsewhere, cost)]


if __name__ == "__main__":
    main()
