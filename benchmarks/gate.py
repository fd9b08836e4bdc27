"""Measure the image gate of a model on films of hospitals that it was not fitted with.

``python benchmarks/gate.py MODEL --data DATA --frontal FOLDER``: FOLDER has a ``films.csv`` with
the columns film, patient and source. For each source, the gate is fitted again without its films
and then tested on them: upright, turned and inverted. A gate fitted without any of the sources is
tested on all their upright films. The model's own gate is tested on the test films.
"""

import argparse
import csv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from screening.model.card import WEIGHTS, Card
from screening.model.image_gate import ORIENTATIONS, ImageGate, ImageGateResult
from screening.model.preprocess import Preprocessing
from screening.training.data.dataset import read_collection, read_films, read_grey
from screening.training.data.manifest import read_manifest
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


@dataclass(frozen=True, eq=False)
class Site:
    """The films that the model was made with.

    Attributes:
        own: training films for the gate.
        unseen: validation films, shape (n, rows, columns), 0..1.
        test: test films, in the same format.
    """

    own: Frontal
    unseen: Greys
    test: Greys


def main() -> None:
    """Print one line per set of films and orientation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frontal", type=Path, required=True)
    arguments = parser.parse_args()
    card = Card.read(arguments.model)
    network = keras.saving.load_model(arguments.model / WEIGHTS, compile=False)
    embed: Embed = partial(predict, network, card.preprocessing, output="embedding")
    site = _site(arguments.data, card)
    greys, patients, sources = _others(arguments.frontal, card.preprocessing)
    seed = card.training["recipe"]["seed"]
    examples = read_examples(card.preprocessing)
    for source in sorted({*sources}):
        left = sources != source
        others = Frontal(greys[left], patients[left])
        gate = fit_image_gate(embed, site.own, site.unseen, others, examples, seed)
        _say(f"held out: {source}", gate, embed, greys[~left])
    none = Frontal(greys[:0], patients[:0])
    gate = fit_image_gate(embed, site.own, site.unseen, none, examples, seed)
    _say("fitted without any of them", gate, embed, greys, ("upright",))
    if card.gate is not None:
        _say("the model's own gate, test side", card.gate, embed, site.test)
        print(f"pictures held out by source: {card.gate.fitted_on}")


def _site(data: Path, card: Card) -> Site:
    recipe = card.training["recipe"]
    preprocessing = card.preprocessing
    with ThreadPoolExecutor() as pool:
        films = read_manifest(data, card.training["patient_pattern"])
        collection = read_collection(films, preprocessing, pool)
        sides, _duplicates = divide(
            collection,
            recipe["protocol"],
            recipe["validation_share"],
            recipe["test_share"],
            recipe["seed"],
        )
        own = collection.greys[collection.indices(sides.training)]
        patients = [film.patient for film in sides.training]
        return Site(
            Frontal.chosen(own, patients, recipe["seed"]),
            read_films(sides.validation, preprocessing, pool),
            read_films(sides.test, preprocessing, pool),
        )


def _others(
    folder: Path, preprocessing: Preprocessing
) -> tuple[Greys, npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Read films, their patients and their sources."""
    with (folder / "films.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    greys = np.stack([read_grey(folder / line["film"], preprocessing) for line in lines])
    patients, sources = (
        np.array([line[column] for line in lines]) for column in ("patient", "source")
    )
    return greys, patients, sources


def _say(
    what: str,
    gate: ImageGate,
    embed: Embed,
    greys: Greys,
    orientations: Iterable[str] = ORIENTATIONS,
) -> None:
    for orientation in orientations:
        seen = gate.check_film(embed(turn(greys, orientation)))
        refused = sum(bool(each.refusal) for each in seen)
        turned = sum(_says_turned(each, orientation) for each in seen)
        beyond = sum("out_of_domain" in " ".join(each.warnings) for each in seen)
        print(
            f"{what}, {orientation}: {len(seen)} films, {refused} refused, "
            f"{turned} with the right word on how they lie, {beyond} out of domain",
            flush=True,
        )


def _says_turned(seen: ImageGateResult, orientation: str) -> bool:
    """Whether the warnings name the orientation of the film; an upright film must have none."""
    words = [each for each in seen.warnings if each.startswith(("rotated", "inverted"))]
    if orientation == "upright":
        return not words
    expected = "inverted:" if orientation == "inverted" else f"by {orientation} degrees"
    return len(words) == 1 and expected in words[0]


if __name__ == "__main__":
    main()
