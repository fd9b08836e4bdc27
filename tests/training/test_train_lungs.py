"""Test the way from films with drawn masks to a lung network."""

import json

import numpy as np
import pytest

from lung_films import made_films
from makers import encoded


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """80 synthetic films of 40 patients, in folders by class, and masks of the first 24."""
    place = tmp_path_factory.mktemp("lungs")
    labels = np.arange(80) % 2
    greys, masks = made_films(labels, side=128)
    for number, label in enumerate(labels):
        finding, name = ("NORMAL", "PNEUMONIA")[label], f"person{number // 2}_{number}.png"
        pairs = [(place / "films" / finding / name, np.rint(greys[number] * 255))]
        if number < 24:
            pairs.append((place / "masks" / name, 255 * masks[number]))
        for path, picture in pairs:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture.astype(np.uint8)))
    return place


@pytest.fixture(scope="module")
def command(place):
    return ["train-lungs", place / "films", place / "masks", "--steps", "2", "--out"]


@pytest.fixture(scope="module")
def lungs(command, place, installed):
    result = installed(*command, place / "new" / "lungs.keras")
    return place / "new" / "lungs.keras", result


def test_train_lungs_writes_a_network_and_its_figures(lungs):
    path, result = lungs
    figures = json.loads(path.with_suffix(".json").read_text())
    assert (
        f"held-out films: {figures['held_out_films']}, Dice {figures['dice']:.4f}" in result.stdout
    )
    assert f"{path}: {figures['parameters']:,} parameters" in result.stdout
    assert "step 2/2: loss" in result.stderr
    assert "TensorFlow is already in use" not in result.stderr
    assert figures["held_out_films"] + figures["training_films"] == 24
    assert {child.name for child in path.parent.iterdir()} == {"lungs.keras", "lungs.json"}


@pytest.mark.parametrize("there", ["lungs.keras", "lungs.json"])
def test_train_lungs_overwrites_nothing(command, tmp_path, installed, there):
    (tmp_path / there).write_text("kept")
    result = installed(*command, tmp_path / "lungs.keras", code=1)
    assert f"{tmp_path / there} already exists; choose another --out" in result.stderr
    assert (tmp_path / there).read_text() == "kept"


def test_train_lungs_requires_the_suffix_keras(command, tmp_path, installed):
    result = installed(*command, tmp_path / "lungs.json", code=2)
    assert "does not end in .keras" in result.stderr


def test_train_lungs_reports_a_mask_without_film(place, tmp_path, installed):
    (tmp_path / "nobody.png").write_bytes((place / "masks" / "person0_0.png").read_bytes())
    result = installed(
        "train-lungs", place / "films", tmp_path, "--out", tmp_path / "lungs.keras", code=1
    )
    assert f"{tmp_path / 'nobody.png'}: 0 films in" in result.stderr


def test_training_rejects_an_invalid_lung_network(place, tmp_path, installed):
    other = tmp_path / "other.keras"
    other.write_bytes(b"no network")
    command = ["train", place / "films", "--out", tmp_path / "model", "--lungs", other]
    assert f"{other} cannot be read as a lung network" in installed(*command, code=1).stderr
    assert not (tmp_path / "model").exists()
