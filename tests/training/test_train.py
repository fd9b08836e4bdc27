"""Preparing the films of a training, before anything is fitted."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from screening.training.data.dataset import Collection, Source
from screening.training.data.manifest import LabelledFilm, fingerprint
from screening.training.data.split import Sides
from screening.training.recipe import Recipe
from screening.training.train import _fingerprint, _named, _training_set


def film(name: str, label: int, source: str, view: str = "", confidence: float = 1.0):
    return LabelledFilm(Path(name), name, label, name, "", source, view, None, "", confidence)


FILMS = [
    film("a", 0, "x"),
    film("b", 1, "x", "AP", 0.7),
    film("c", 0, "y"),
    film("d", 1, "x"),
    film("e", 1, "z"),
]


@pytest.fixture
def collection():
    sources = [Source(hashlib.sha256(f.name.encode()).hexdigest(), "PNG", 9, 9, 9) for f in FILMS]
    greys = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    return Collection(FILMS, greys, sources, [])


@pytest.fixture
def sides():
    a, b, c, d, e = FILMS
    return Sides([c, b], [a], [d], [e])


class LeftHalf:
    """A lung network that finds the left half of every film."""

    def predict_on_batch(self, inputs):
        found = np.zeros(inputs.shape, np.float32)
        found[:, :, :64] = 1
        return found


def test_training_films_have_their_stratum_and_confidence(collection, sides):
    films = _training_set(collection, sides, Recipe(), LeftHalf())
    assert films.greys[:, 0, 0].tolist() == [2, 1]
    assert films.labels.tolist() == [0, 1]
    assert films.strata.tolist() == [3, 1]
    assert films.confidence.tolist() == pytest.approx([1, 0.7])
    assert films.lungs is None


def test_lungs_are_found_if_the_recipe_needs_them(collection, sides):
    films = _training_set(collection, sides, Recipe(exchange=0.5), LeftHalf())
    assert films.lungs.tolist() == [[[255, 255, 0, 0]] * 4] * 2


def test_fingerprint_covers_the_films_on_all_sides(collection, sides):
    kept = FILMS[:4]
    expected = fingerprint(kept, collection.sha256[:4])
    assert _fingerprint(collection, sides) == expected
    assert fingerprint(FILMS, collection.sha256) != expected


def test_left_out_films_are_an_additional_side_of_the_card(sides):
    assert list(_named(sides)) == ["training", "validation", "test", "left out"]
    assert list(_named(Sides([], [], []))) == ["training", "validation", "test"]
