"""The lung network that a MODEL gets, and what a checkpoint was made with."""

import pytest

from screening.training.model_folder import copy_lungs
from screening.training.recipe import Recipe
from screening.training.train import made_with


@pytest.fixture
def networks(tmp_path):
    """Two files."""
    paths = tmp_path / "one.keras", tmp_path / "other.keras"
    for path in paths:
        path.write_text(path.stem)
    return paths


def test_model_gets_a_copy_of_its_lung_network(networks, tmp_path):
    copy_lungs(networks[0], tmp_path)
    assert (tmp_path / "lungs.keras").read_text() == "one"


def test_lung_network_in_the_model_folder_stays(tmp_path):
    path = tmp_path / "lungs.keras"
    path.write_text("mine")
    copy_lungs(path, tmp_path)
    assert path.read_text() == "mine"


def test_checkpoint_with_another_lung_network_is_another_one(networks):
    one, other = (made_with("films", Recipe(exchange=0.5), path) for path in networks)
    assert one != other
    assert made_with("films", Recipe(exchange=0.5), networks[0]) == one


def test_lung_network_that_is_not_learnt_from_does_not_count(networks):
    assert {made_with("films", Recipe(), path) for path in networks} == {"films"}
