"""Tests of the comparison of a converted model with the original."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from exports.parity import CELLS, Answers, Parity, Verdict, answers, compare, write_parity
from exports.targets import Target
from gate_makers import make_recogniser
from makers import BrightnessPredictor, make_card
from screening.model.predictor import Prediction
from screening.results import Status

EXACT = Target("exact", "model.exact", "onnx", 1e-4)
COARSE = Target("coarse", "model.coarse", "onnx", 1e-1)
EIGHT_BITS = Target("int8", "model.int8", "onnx", None)


def said(probabilities, threshold=0.5, maps=None):
    """Answers for films that were all scored."""
    verdicts = [
        Verdict(Status.SCORED, "PNEUMONIA" if p >= threshold else "NORMAL") for p in probabilities
    ]
    return Answers(np.array(probabilities, float), verdicts, maps)


def parity(expected, *given, target=EXACT, labels=None):
    labels = [-1] * len(expected) if labels is None else labels
    return Parity(target, said(expected), tuple(map(said, given)), np.array(labels, np.int64))


def flipped(films, flips, target=COARSE):
    """Parity of `films` films close to the threshold, `flips` of which cross it."""
    expected = np.full(films, 0.501)
    given = expected.copy()
    given[:flips] = 0.499
    return parity(expected, given, target=target)


def test_equal_answers_are_no_breach():
    same = parity([0.1, 0.5, 0.9], [0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (same.differences.max(), same.flips, same.breaches) == (0, 0, [])


@pytest.mark.parametrize(
    ("difference", "is_breach"),
    [(0.00005, False), (0.000099, False), (0.000101, True), (0.25, True)],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_difference_beyond_the_tolerance_is_a_breach(difference, is_breach, sign):
    found = parity([0.3, 0.75], [0.3, 0.75 + sign * difference])
    assert found.differences.max() == pytest.approx(difference)
    assert bool(found.breaches) is is_breach


def test_difference_at_one_batch_size_counts():
    assert parity([0.3], [0.3], [0.4]).breaches == [
        "a probability differs by 0.1, 0.0001 is allowed"
    ]
    assert parity([0.501], [0.501], [0.499], target=COARSE).flips == 1


def test_tolerance_is_that_of_the_target():
    assert parity([0.30], [0.31], target=EXACT).breaches
    assert not parity([0.30], [0.31], target=COARSE).breaches


def test_only_decisions_of_8_bit_targets_are_compared():
    assert not parity([0.1, 0.9], [0.4, 0.6], target=EIGHT_BITS).breaches
    assert not flipped(400, 2, EIGHT_BITS).breaches
    assert flipped(400, 3, EIGHT_BITS).breaches == ["3 decisions differ, 2 are allowed"]


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ([0.5, 0.5], [0.5, math.nan]),
        ([math.nan, 0.5], [0.5, 0.5]),
        ([math.nan], [math.nan]),
        ([0.5], [math.inf]),
    ],
)
@pytest.mark.parametrize("target", [EXACT, COARSE, EIGHT_BITS], ids=lambda target: target.name)
def test_answer_that_is_not_finite_is_a_breach_for_any_target(expected, given, target):
    found = parity(expected, given, target=target)
    assert found.differences.max() == math.inf
    assert found.breaches


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
def test_half_a_percent_of_decisions_or_one_may_differ(films, flips, is_breach):
    found = flipped(films, flips)
    assert found.flips == flips
    assert bool(found.breaches) is is_breach


def test_all_breaches_are_named():
    maps = np.zeros((400, 1, 1), np.float32)
    expected, given = said([0.9] * 400, maps=maps), said([0.1] * 400, maps=maps + 1)
    assert Parity(EXACT, expected, (given,), np.full(400, -1)).breaches == [
        "a probability differs by 0.8, 0.0001 is allowed",
        "400 decisions differ, 2 are allowed",
        "a cell of a map differs by 1 logits, 0.1 is allowed",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Verdict(Status.SCORED, "NORMAL"), Verdict(Status.REFUSED)),
        (Verdict(Status.SCORED, "NORMAL"), Verdict(Status.FAILED)),
        (Verdict(Status.SCORED, "NORMAL"), Verdict(Status.SCORED, "NORMAL", ("rotated",))),
        (
            Verdict(Status.SCORED, "NORMAL", ("out_of_domain",)),
            Verdict(Status.SCORED, "NORMAL", ("inverted",)),
        ),
    ],
)
def test_change_of_status_or_warning_is_a_flip(before, after):
    p = np.array([0.1])
    one, other = Answers(p, [before]), Answers(p, [after])
    assert Parity(EXACT, one, (other,), np.array([-1])).flips == 1
    assert Parity(EXACT, one, (one,), np.array([-1])).flips == 0


def test_flips_change_sensitivity_and_specificity():
    found = parity([0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.1, 0.9], labels=[1, 1, 0, -1])
    assert (found.change(1).value, found.change(1).n) == (-0.5, 2)
    assert (found.change(0).value, found.change(0).n) == (0, 1)


def test_card_records_the_figures():
    recorded = parity([0.2, 0.6], [0.2, 0.4], target=COARSE, labels=[0, 1]).as_dict()
    assert recorded | {"sensitivity_change": None, "specificity_change": None} == {
        "file": "model.coarse",
        "films": 2,
        "largest_difference": 0.2,
        "mean_difference": 0.1,
        "tolerance": 0.1,
        "flips": 1,
        "allowed_flips": 1,
        "largest_cell_difference": 0.0,
        "sensitivity_change": None,
        "specificity_change": None,
    }
    assert recorded["sensitivity_change"]["value"] == -1
    assert recorded["specificity_change"]["n"] == 1


@pytest.mark.parametrize(
    ("films", "batch", "batches"),
    [(1, 8, [1]), (7, 8, [7]), (9, 8, [8, 1]), (19, 8, [8, 8, 3]), (3, 1, [1, 1, 1])],
)
def test_answers_are_computed_in_batches_and_a_rest(films, batch, batches):
    predictor = BrightnessPredictor()
    expected = np.linspace(0.1, 0.9, films)
    tensors = [np.full((32, 32, 1), grey, np.float32) for grey in expected]
    given = answers(predictor, tensors, make_card(), batch)
    assert predictor.batches == batches
    np.testing.assert_allclose(given.probabilities, expected, atol=2e-6)
    assert [verdict.called for verdict in given.verdicts] == list(expected >= 0.5)


def test_verdicts_equal_those_of_a_report():
    gate = make_recogniser(features=6, limit=1.0)
    tensors = [np.full((32, 32, 1), grey, np.float32) for grey in (0.2, 0.8)]

    class Recognised(BrightnessPredictor):
        def __init__(self, embeddings):
            super().__init__()
            self.embeddings = embeddings

        def predict(self, given):
            scores = super().predict(given).scores
            return Prediction(scores, np.array(self.embeddings, np.float32))

    card = replace(make_card(), gate=gate)
    embeddings = [[-5, 0, 0, 0, 0, 0], [5, 0, 0, 9, 0, 0]]
    refused, scored = answers(Recognised(embeddings), tensors, card, 8).verdicts
    assert refused == Verdict(Status.REFUSED)
    assert scored == Verdict(Status.SCORED, "PNEUMONIA", ("out_of_domain", "rotated"))


def test_evidence_that_moves_out_of_the_lungs_changes_the_verdict():
    class Sided(BrightnessPredictor):
        """A predictor with all evidence on one side of the film."""

        def __init__(self, left):
            super().__init__()
            self.map = np.zeros((1, 2, 2, 2), np.float32)
            self.map[0, :, 0 if left else 1, 1] = 5

        def predict(self, given):
            maps = np.repeat(self.map, len(given), axis=0)
            return replace(super().predict(given), maps=maps)

    mask = np.zeros((128, 128), np.bool_)
    mask[:, :64] = True
    tensors = [np.full((32, 32, 1), grey, np.float32) for grey in (0.7, 0.3)]
    inside, outside = (
        answers(Sided(left), tensors, make_card(), 8, [mask] * 2).verdicts for left in (True, False)
    )
    assert [one.warnings for one in inside] == [(), ()]
    assert [one.warnings for one in outside] == [("low_lung_evidence",), ()]


def test_target_runs_in_batches_and_film_by_film():
    predictor = BrightnessPredictor()
    tensors = [np.full((32, 32, 1), grey, np.float32) for grey in np.linspace(0, 1, 9)]
    expected = answers(BrightnessPredictor(), tensors, make_card(), 8)
    found = compare(EXACT, predictor, expected, tensors, np.full(9, -1), make_card())
    assert predictor.batches == [8, 1, *[1] * 9]
    assert not found.breaches


def test_table_has_a_line_per_film_and_target(tmp_path):
    films = ["a" * 64, "b" * 64]
    found = [
        parity([0.25, 0.75], [0.25, 0.5], [0.25, 0.25], labels=[0, 1]),
        parity([0.25, 0.75], [0.5, 0.75], [0.5, 0.75], target=COARSE),
    ]
    write_parity(tmp_path / "parity.csv", films, found)
    with (tmp_path / "parity.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert ",".join(header) == (
        "target,film_sha256,label,keras,batched,alone,difference,flip,keras_says,target_says"
    )
    normal, pneumonia = "scored NORMAL", "scored PNEUMONIA"
    either = f"{pneumonia} / {normal}"
    assert lines == [
        ["exact", films[0], "NORMAL", "0.25", "0.25", "0.25", "0.0", "0", normal, normal],
        ["exact", films[1], "PNEUMONIA", "0.75", "0.5", "0.25", "0.5", "1", pneumonia, either],
        ["coarse", films[0], "", "0.25", "0.5", "0.5", "0.25", "1", normal, pneumonia],
        ["coarse", films[1], "", "0.75", "0.75", "0.75", "0.0", "0", pneumonia, pneumonia],
    ]


def cells_of(*cells):
    """Maps of one cell per film with this evidence."""
    return np.array([[[cell]] for cell in cells], np.float32)


@pytest.mark.parametrize(
    ("expected", "given", "cells"),
    [
        (None, None, 0),
        (None, cells_of(1, 2), 0),
        (cells_of(1, 2), cells_of(1, 2), 0),
        (cells_of(1, 2), cells_of(1, -0.5), 2.5),
        (cells_of(1, 2), None, math.inf),
        (cells_of(1, 2), np.zeros((2, 2, 1), np.float32), math.inf),
        (cells_of(1, 2), cells_of(1, math.nan), math.inf),
    ],
)
def test_maps_are_compared_if_the_original_has_one(expected, given, cells):
    p = [0.25, 0.75]
    pair = said(p, maps=expected), said(p, maps=given)
    assert Parity(EXACT, pair[0], pair[1:], np.full(2, -1)).cells == cells


@pytest.mark.parametrize(
    ("cells", "target", "breaches"),
    [
        (0.0, EXACT, []),
        (CELLS - 0.01, EXACT, []),
        (CELLS + 0.05, EXACT, ["a cell of a map differs by 0.15 logits, 0.1 is allowed"]),
        (CELLS + 0.05, EIGHT_BITS, []),
        (math.inf, EXACT, ["it does not have the class activation map of the original"]),
        (math.inf, EIGHT_BITS, ["it does not have the class activation map of the original"]),
    ],
)
def test_different_map_is_a_breach(cells, target, breaches):
    expected, given = said([0.5], maps=cells_of(0)), said([0.5], maps=cells_of(cells))
    assert Parity(target, expected, (given,), np.array([-1])).breaches == breaches


def test_answers_of_several_batches_keep_their_order():
    class Mapping(BrightnessPredictor):
        def predict(self, tensors):
            maps = np.repeat(tensors[:, :1], 2, axis=-1) * np.float32([0, 1])
            return Prediction(super().predict(tensors).scores, tensors[:, 0, :4, 0], maps)

    tensors = list(np.random.default_rng(0).random((19, 32, 32, 1), np.float32))
    given = answers(Mapping(), tensors, make_card(), 8)
    np.testing.assert_allclose(given.maps, np.stack(tensors)[:, :1, :, 0], atol=1e-6)
    np.testing.assert_allclose(given.probabilities, np.mean(tensors, axis=(1, 2, 3)), atol=2e-6)
