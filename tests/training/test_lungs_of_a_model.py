"""The lung network in a model folder, and the inputs of a checkpoint."""

import pytest

from screening.training.model_folder import copy_lungs
from screening.training.recipe import Recipe
from screening.training.train import made_with


@pytest.fixture
def networks(tmp_path):
    """Two different files."""
    paths = tmp_path / "one.keras", tmp_path / "other.keras"
    for path in paths:
        path.write_text(path.stem)
    return paths


def test_model_gets_a_copy_of_its_lung_network(networks, tmp_path):
    copy_lungs(networks[0], tmp_path)
    assert (tmp_path / "lungs.keras").read_text() == "one"


def test_lung_network_in_the_model_folder_is_kept(tmp_path):
    path = tmp_path / "lungs.keras"
    path.write_text("mine")
    copy_lungs(path, tmp_path)
    assert path.read_text() == "mine"


def test_checkpoint_depends_on_the_lung_network(networks):
    one, other = (made_with("films", Recipe(exchange=0.5), path) for path in networks)
    assert one != other
    assert made_with("films", Recipe(exchange=0.5), networks[0]) == one


def test_checkpoint_ignores_an_unused_lung_network(networks):
    assert {made_with("films", Recipe(), path) for path in networks} == {"films"}
