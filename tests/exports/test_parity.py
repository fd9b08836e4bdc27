"""When a converted model decides as the original does."""

import csv
import math

import numpy as np
import pytest

from exports.parity import CELLS, Parity, compare, predicted, probabilities, write_parity
from exports.targets import Target
from makers import BrightnessPredictor, make_card
from screening.predictor import Prediction

EXACT = Target("exact", "model.exact", "onnx", 1e-4)
COARSE = Target("coarse", "model.coarse", "onnx", 1e-1)


def parity(expected, given, target=EXACT, threshold=0.5):
    return Parity(target, np.array(expected, float), np.array(given, float), threshold)


def flipped(films, flips):
    """`films` films close to the threshold, of which `flips` fall on its other side."""
    expected = np.full(films, 0.501)
    given = expected.copy()
    given[:flips] = 0.499
    return parity(expected, given, COARSE)


def test_equal_answers_are_no_breach():
    same = parity([0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (same.largest, same.flips, same.breach) == (0, 0, "")


@pytest.mark.parametrize(
    ("difference", "is_breach"),
    [(0.00005, False), (0.000099, False), (0.000101, True), (0.5, True)],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_difference_beyond_the_tolerance_is_a_breach(difference, is_breach, sign):
    found = parity([0.3, 0.7, 0.5], [0.3, 0.7 + sign * difference / 2, 0.5 + sign * difference])
    assert found.largest == pytest.approx(difference)
    assert bool(found.breach) is is_breach


def test_a_breach_names_the_difference_and_what_is_allowed():
    assert parity([0.25], [0.75]).breach == "a probability differs by 0.5, 0.0001 is allowed"


def test_the_tolerance_is_that_of_the_target():
    assert parity([0.30], [0.31], EXACT).breach
    assert not parity([0.30], [0.31], COARSE).breach


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ([0.5, 0.5], [0.5, math.nan]),
        ([math.nan, 0.5], [0.5, 0.5]),
        ([math.nan], [math.nan]),
        ([0.5], [math.inf]),
    ],
)
def test_an_answer_that_is_no_number_is_a_breach_for_any_target(expected, given):
    for target in (EXACT, COARSE):
        found = parity(expected, given, target)
        assert found.largest == math.inf
        assert found.breach


@pytest.mark.parametrize(
    ("films", "flips", "is_breach"),
    [
        (1, 1, False),
        (199, 1, False),
        (199, 2, True),
        (200, 1, False),
        (200, 2, True),
        (399, 2, True),
        (400, 2, False),
        (400, 3, True),
        (600, 3, False),
        (600, 4, True),
    ],
)
def test_half_a_percent_of_decisions_may_differ_and_always_one(films, flips, is_breach):
    found = flipped(films, flips)
    assert found.flips == flips
    assert bool(found.breach) is is_breach


def test_a_breach_of_decisions_names_how_many_differ_and_how_many_may():
    assert flipped(400, 5).breach == "5 decisions differ, 2 may"


@pytest.mark.parametrize(
    ("expected", "given", "flips"),
    [
        (0.5, 0.5, 0),
        (0.5, 0.499999, 1),
        (0.499999, 0.5, 1),
        (0.500001, 0.5, 0),
        (0.4, 0.499999, 0),
    ],
)
def test_a_probability_at_the_threshold_counts_as_pneumonia(expected, given, flips):
    assert parity([expected], [given]).flips == flips


def test_decisions_are_compared_at_the_threshold_of_the_card():
    answers = ([0.30, 0.70], [0.32, 0.68])
    assert parity(*answers, COARSE, threshold=0.31).flips == 1
    assert parity(*answers, COARSE, threshold=0.69).flips == 1
    assert parity(*answers, COARSE, threshold=0.50).flips == 0


def test_the_card_records_what_was_found():
    assert parity([0.2, 0.6], [0.2, 0.4], COARSE).as_dict() == {
        "file": "model.coarse",
        "films": 2,
        "largest_difference": 0.2,
        "mean_difference": 0.1,
        "flips": 1,
        "tolerance": 0.1,
        "largest_cell_difference": 0.0,
    }


@pytest.mark.parametrize(
    ("films", "batches"), [(1, [1]), (7, [7]), (8, [8]), (9, [8, 1]), (19, [8, 8, 3])]
)
def test_probabilities_are_computed_in_eights_and_a_rest(films, batches):
    predictor = BrightnessPredictor()
    expected = np.linspace(0.1, 0.9, films)
    tensors = [np.full((32, 32, 1), grey, np.float32) for grey in expected]
    given = probabilities(predictor, tensors, make_card())
    assert predictor.batches == batches
    np.testing.assert_allclose(given, expected, atol=2e-6)


def test_every_film_of_every_target_is_a_line_of_the_table(tmp_path):
    films = ["a" * 64, "b" * 64]
    found = [parity([0.25, 0.75], [0.25, 0.5]), parity([0.25, 0.75], [0.5, 0.25], COARSE)]
    write_parity(tmp_path / "parity.csv", films, found)
    with (tmp_path / "parity.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["target", "film_sha256", "keras", "target_probability", "difference", "flip"]
    assert lines == [
        ["exact", "a" * 64, "0.25", "0.25", "0.0", "0"],
        ["exact", "b" * 64, "0.75", "0.5", "0.25", "0"],
        ["coarse", "a" * 64, "0.25", "0.5", "0.25", "1"],
        ["coarse", "b" * 64, "0.75", "0.25", "0.5", "1"],
    ]


def test_a_film_without_a_name_is_not_left_out_silently(tmp_path):
    with pytest.raises(ValueError, match="argument"):
        write_parity(tmp_path / "parity.csv", ["a" * 64], [parity([0.25, 0.75], [0.25, 0.75])])


def answers(maps):
    scores = np.full((2, 2), 0.5, np.float32)
    return Prediction(scores, np.zeros((2, 0), np.float32), maps)


def maps_of(*cells):
    """Two films of one cell, whose logits for pneumonia are `cells`."""
    return np.array([[[[0, cell]]] for cell in cells], np.float32)


@pytest.mark.parametrize(
    ("expected", "given", "cells"),
    [
        (None, None, 0),
        (None, maps_of(1, 2), 0),
        (maps_of(1, 2), maps_of(1, 2), 0),
        (maps_of(1, 2), maps_of(1, -0.5), 2.5),
        (maps_of(1, 2), maps_of(1, 2) + 7, 0),
        (maps_of(1, 2), None, math.inf),
        (maps_of(1, 2), np.zeros((2, 2, 1, 2), np.float32), math.inf),
        (maps_of(1, 2), maps_of(1, math.nan), math.inf),
    ],
)
def test_maps_are_compared_where_the_original_has_one(expected, given, cells):
    found = compare(EXACT, answers(expected), answers(given), make_card())
    assert found.cells == cells


@pytest.mark.parametrize(
    ("cells", "breach"),
    [
        (0.0, ""),
        (CELLS, ""),
        (CELLS + 0.05, "a cell of a map differs by 0.15 logits, 0.1 is allowed"),
        (math.inf, "it does not give the class activation map of the original"),
    ],
)
def test_a_map_that_shows_something_else_is_a_breach(cells, breach):
    assert Parity(EXACT, np.array([0.5]), np.array([0.5]), 0.5, cells).breach == breach


def test_answers_of_many_films_are_put_together_in_their_order():
    class Mapping(BrightnessPredictor):
        def predict(self, tensors):
            return Prediction(super().predict(tensors).scores, tensors[:, 0, :, 0], tensors[:, :1])

    tensors = list(np.random.default_rng(0).random((19, 32, 32, 1), np.float32))
    given = predicted(Mapping(), tensors)
    np.testing.assert_array_equal(given.maps, np.stack(tensors)[:, :1])
    np.testing.assert_allclose(given.scores[:, 1], np.mean(tensors, axis=(1, 2, 3)), atol=1e-6)
