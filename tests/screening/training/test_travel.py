import numpy as np
import pytest

from evaluated_sides import films_of
from makers import grey_film
from screening.model.calibration import Calibration, OperatingPoint
from screening.training.scored_split import ScoredSplit
from screening.training.simulated_sites import EXCHANGED, evaluate_at_sites, simulated_sites

POINT = OperatingPoint(0.5, "half")


def by_brightness(greys):
    """A model that has learnt nothing but exposure: brighter films are pneumonia."""
    p = np.clip((greys.mean(axis=(1, 2)) - 0.3) / 0.4, 0.01, 0.99)
    return np.stack([1 - p, p], axis=1).astype(np.float32)


def side_of_films(normals, pneumonias):
    labels = [0] * normals + [1] * pneumonias
    films = films_of(labels)
    greys = np.stack(
        [
            grey_film(seed, side=32).astype(np.float32) / 255 * 0.4 + 0.1 + 0.5 * label
            for seed, label in enumerate(labels)
        ]
    )
    return ScoredSplit.of("validation", films, by_brightness(greys), Calibration(), POINT), greys


@pytest.fixture(scope="module")
def travelled():
    side, greys = side_of_films(12, 20)
    return evaluate_at_sites(side, greys, by_brightness, Calibration(), POINT)


def test_every_hospital_has_its_figures(travelled):
    assert {*travelled} == {*simulated_sites(), EXCHANGED}
    for figures in travelled.values():
        assert {*figures} == {
            "auroc",
            "accuracy",
            "recall",
            "specificity",
            "balanced_accuracy",
            "brier",
            "calibration_error",
            "auroc_normals",
        }
        assert figures["auroc"]["n"] == 32


def test_a_model_that_knows_exposure_alone_is_found_out(travelled):
    assert travelled["small JPEG"]["auroc"]["value"] > 0.99
    assert travelled[EXCHANGED]["auroc"]["value"] < 0.1
    assert travelled[EXCHANGED]["specificity"]["value"] < 0.1


def test_normals_from_elsewhere_are_held_against_pneumonias_from_here(travelled):
    # Where black is grey, normal films look like this model's pneumonias.
    worst = min(travelled, key=lambda name: travelled[name]["auroc_normals"]["value"])
    assert travelled[worst]["auroc_normals"]["value"] < travelled["small JPEG"]["auroc"]["value"]


def test_no_more_films_are_shown_than_are_needed():
    side, greys = side_of_films(20, 700)
    shown = set()

    def counted(films):
        shown.add(len(films))
        return by_brightness(films)

    figures = evaluate_at_sites(side, greys, counted, Calibration(), POINT)
    assert shown == {600}
    assert figures["small JPEG"]["specificity"]["n"] == 20
