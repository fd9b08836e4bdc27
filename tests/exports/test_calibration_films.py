"""Tests of the selection of training films for finding 8-bit ranges."""

import shutil

import numpy as np
import pytest

from exports.errors import ExportError
from trained_folder import Collection


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path)


def test_only_training_films_are_used(collection):
    training = collection.add("training", 10, 10)
    collection.add("validation", 10, 10)
    collection.add("test", 10, 10)
    names = collection.names(collection.calibrated())
    assert sorted(names) == sorted(training)


def test_one_film_per_patient_is_used(collection):
    collection.add("training", 6, 6, films=5)
    films = collection.calibrated()
    names = collection.names(films)
    patients = [name.rpartition("/")[2].replace("_", "-").split("-")[:2] for name in names]
    assert len(names) == films.patients == 12
    normal = {tuple(one) for one in patients if one[0] == "IM"}
    assert len(normal) == 6
    assert len({one[0] for one in patients if one[0] != "IM"}) == 6


@pytest.mark.parametrize(
    ("normal", "pneumonia", "chosen"),
    [
        (40, 40, (32, 32)),
        (32, 90, (32, 32)),
        (5, 80, (5, 59)),
        (80, 5, (59, 5)),
        (5, 10, (5, 10)),
        (33, 31, (33, 31)),
    ],
)
def test_half_of_64_films_are_of_each_class_if_possible(collection, normal, pneumonia, chosen):
    collection.add("training", normal, pneumonia)
    films = collection.calibrated()
    assert tuple(np.bincount(films.labels, minlength=2)) == chosen


def test_films_are_spread_over_the_list(collection):
    training = sorted(collection.add("training", 100, 100))
    chosen = sorted(training.index(name) for name in collection.names(collection.calibrated()))
    assert len(chosen) == 64
    # Films come from each quarter of each class.
    counts = np.histogram(chosen, bins=8, range=(0, 200))[0]
    assert counts.min() >= 2


def test_selection_is_deterministic(collection, tmp_path):
    names = collection.add("training", 40, 40, films=2)
    expected = collection.calibrated().sha256
    assert collection.calibrated().sha256 == expected
    for order, seed in ((sorted(names), 0), (sorted(names), 1), (names[::-1], 2)):
        shuffled = list(order)
        np.random.default_rng(seed).shuffle(shuffled)
        manifest = collection.data / f"manifest{seed}.csv"
        lines = [f"{name},{name.partition('/')[0]}" for name in shuffled]
        manifest.write_text("\n".join(["film,label", *lines]))
        assert collection.calibrated(training=[manifest]).sha256 == expected
    # The order in which files were written does not matter.
    again = tmp_path / "again"
    for name in sorted(names, reverse=True):
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(collection.data / name, again / name)
    assert collection.calibrated(training=[again]).sha256 == expected


def test_unreadable_training_films_are_skipped(collection):
    names = collection.add("training", 8, 8)
    (collection.data / names[0]).write_bytes(b"no film")
    assert set(collection.names(collection.calibrated())) == set(names[1:])


def test_no_readable_training_film_is_an_error(collection):
    for name in collection.add("training", 2, 2):
        (collection.data / name).write_bytes(b"no film")
    with pytest.raises(ExportError, match=f"{collection.data} has no readable training film"):
        collection.calibrated()


def test_only_validation_films_is_an_error(collection):
    collection.add("validation", 2, 2)
    with pytest.raises(ExportError, match="has no readable training film"):
        collection.calibrated()
