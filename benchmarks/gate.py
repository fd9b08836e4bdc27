"""Measure the image gate of a model: ``python benchmarks/gate.py MODEL DATA...``.

DATA are those of the training, in the same order. The model's own gate is measured on the test
films of each source, and so is a gate that is fitted again without films of that source: upright,
turned and inverted. The network itself has seen all sources.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import keras
import numpy as np

from screening.model.card import WEIGHTS, Card
from screening.model.image_gate import ORIENTATIONS, ImageGate, ImageGateResult
from screening.results import FilmWarning
from screening.training.data.dataset import read_collection
from screening.training.data.manifest import LabelledFilm, read_manifest
from screening.training.data.split import divide
from screening.training.fit import predict
from screening.training.fit_image_gate import (
    Embed,
    Frontal,
    Greys,
    fit_image_gate,
    read_examples,
    turn,
)


def main() -> None:
    """Print one line per source, gate and orientation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", nargs="+", type=Path)
    given = parser.parse_args()
    card = Card.read(given.model)
    if card.gate is None:
        parser.error(f"{given.model} has no gate")
    network = keras.saving.load_model(given.model / WEIGHTS, compile=False)
    embed: Embed = partial(predict, network, card.preprocessing, output="embedding")
    recipe = card.training["recipe"]
    with ThreadPoolExecutor() as pool:
        films = read_manifest(given.data, card.training["patient_pattern"])
        collection = read_collection(films, card.preprocessing, pool)
    shares = recipe["validation_share"], recipe["test_share"]
    sides, _duplicates = divide(collection, recipe["protocol"], *shares, recipe["seed"])

    def greys_of(films: list[LabelledFilm]) -> Greys:
        return collection.greys[collection.indices(films)].astype(np.float32) / np.float32(255)

    examples, none = read_examples(card.preprocessing), Frontal.of_others(greys_of([]))
    for source in sorted({film.source for film in films}):
        own = [film for film in sides.training if film.source != source]
        refitted = fit_image_gate(
            embed,
            Frontal.chosen(
                collection.greys[collection.indices(own)],
                [film.patient for film in own],
                recipe["seed"],
            ),
            greys_of([film for film in sides.validation if film.source != source]),
            none,
            examples,
            recipe["seed"],
        )
        test = greys_of([film for film in sides.test if film.source == source])
        for name, gate in ((source, card.gate), (f"{source}, gate fitted without it", refitted)):
            print("|", " | ".join([name, str(len(test)), *_counts(gate, embed, test)]), "|")
    print(f"pictures held out by source: {card.gate.fitted_on}")


def _counts(gate: ImageGate, embed: Embed, greys: Greys) -> Iterator[str]:
    """Films refused and out of domain, upright; films with the right warning when changed."""
    for orientation in ORIENTATIONS:
        seen = gate.check_film(embed(turn(greys, orientation)))
        if orientation == "upright":
            yield str(sum(bool(each.refusal) for each in seen))
            yield str(
                sum(any(one.code == "out_of_domain" for one in each.warnings) for each in seen)
            )
        else:
            yield str(sum(_says_turned(each, orientation) for each in seen))


def _says_turned(seen: ImageGateResult, orientation: str) -> bool:
    """Whether the warnings name the orientation of the film."""
    turned = [each for each in seen.warnings if each.code in ("rotated", "inverted")]
    if orientation == "inverted":
        return turned == [FilmWarning("inverted")]
    return turned == [FilmWarning("rotated", f"by {orientation} degrees")]


if __name__ == "__main__":
    main()
