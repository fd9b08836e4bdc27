"""Card sections on groups of films and model reasons, from a fake model."""

from dataclasses import replace

import numpy as np
import pytest

from lung_films import described, inside_only, made_films, outside_only
from makers import make_card
from screening.model.calibration import Calibration, OperatingPoint
from screening.model.card import Card
from screening.training.evaluate import Pictures, measure_generalisation
from screening.training.fit import FilmSet
from screening.training.robustness import ModelUnderTest
from screening.training.scored_split import ScoredSplit

POINT = OperatingPoint(0.5, "half")
CHILDREN = [0, 1] * 12
FILMS = [
    *described(CHILDREN, source="children"),
    *described([0] * 8, source="adults", view="AP", age=60.0),
    *described([0] * 8, source="adults", view="PA", age=60.0),
]
LABELS = np.array([film.label for film in FILMS])


def generalisation(scores, films=FILMS, masks=True, left_out=()):
    greys, known = made_films(LABELS, side=32)
    model = ModelUnderTest(scores, Calibration(), POINT)
    validation = ScoredSplit.of("validation", films, scores(greys), Calibration(), POINT)
    test = replace(validation, name="test")
    lungs = known if masks else None
    others = FilmSet(greys[: len(left_out)], LABELS[: len(left_out)])
    side = FilmSet(greys, LABELS)
    pictures = Pictures(side, side, side, greys[:0], (), lungs, lungs, others)
    return measure_generalisation([validation, test], pictures, model, list(left_out))


@pytest.fixture(scope="module")
def measured():
    return generalisation(inside_only, left_out=described(CHILDREN, source="elsewhere"))


def test_reasons_and_groups_are_given_for_each_side(measured):
    assert {*measured["reasons"]} == {*measured["subgroups"]} == {"validation", "test"}
    assert measured["reasons"]["test"]["tests"]["outside_exchanged"]["auroc"]["value"] == 1


def test_simulated_sites_use_sources_with_both_classes(measured):
    assert {row["auroc"]["n"] for row in measured["elsewhere"].values()} == {len(CHILDREN)}


def test_left_out_source_has_its_figures(measured):
    (row,) = measured["left_out"]["source"]
    assert (row["source"], row["n"], row["auroc"]["value"]) == ("elsewhere", 24, 1)


def test_model_of_the_outside_has_a_low_selection_value(measured):
    assert {*measured["selection"]} == {
        "worst_site", "outside_exchanged", "normals_ap", "normals_pa", "worst",
    }  # fmt: skip
    assert measured["selection"]["outside_exchanged"]["value"] == 1
    other = generalisation(outside_only)["selection"]["worst"]
    assert (other["value"], other["of"]) == (0, "outside_exchanged")


def test_parts_without_masks_or_left_out_sources_are_empty():
    bare = generalisation(inside_only, masks=False)
    assert bare["reasons"] == bare["left_out"] == {}
    assert "outside_exchanged" not in bare["selection"]


def test_weak_labels_alone_select_nothing():
    weak = [replace(film, confidence=0.8) for film in FILMS]
    measured = generalisation(inside_only, weak)
    assert measured["elsewhere"]
    assert measured["selection"] == {}


def test_card_keeps_all_parts(measured, tmp_path):
    card = replace(make_card(), **measured)
    card.write(tmp_path)
    assert Card.read(tmp_path) == card
