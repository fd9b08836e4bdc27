import numpy as np
import pytest

from evaluated_sides import films_of
from makers import grey_film
from screening.model.calibration import Calibration, OperatingPoint
from screening.training.scored_split import ScoredSplit
from screening.training.simulated_sites import EXCHANGED, evaluate_at_sites, simulated_sites

POINT = OperatingPoint(0.5, "half")


def by_brightness(greys):
    """A model that has only learnt exposure: brighter films are pneumonia."""
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
def at_sites():
    side, greys = side_of_films(12, 20)
    return evaluate_at_sites(side, greys, by_brightness, Calibration(), POINT)


def test_every_hospital_has_its_figures(at_sites):
    assert {*at_sites} == {*simulated_sites(), EXCHANGED}
    for figures in at_sites.values():
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


def test_model_of_exposure_alone_fails_with_exchanged_exposure(at_sites):
    assert at_sites["small JPEG"]["auroc"]["value"] > 0.99
    assert at_sites[EXCHANGED]["auroc"]["value"] < 0.1
    assert at_sites[EXCHANGED]["specificity"]["value"] < 0.1


def test_normals_of_other_sites_are_compared_with_own_pneumonias(at_sites):
    # Where black becomes grey, normal films look like this model's pneumonia films.
    worst = min(at_sites, key=lambda name: at_sites[name]["auroc_normals"]["value"])
    assert at_sites[worst]["auroc_normals"]["value"] < at_sites["small JPEG"]["auroc"]["value"]


def test_number_of_predicted_films_is_limited():
    side, greys = side_of_films(20, 700)
    shown = set()

    def counted(films):
        shown.add(len(films))
        return by_brightness(films)

    figures = evaluate_at_sites(side, greys, counted, Calibration(), POINT)
    assert shown == {600}
    assert figures["small JPEG"]["specificity"]["n"] == 20
