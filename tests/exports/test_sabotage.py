"""Tests that each way to falsify an export is detected, and only by the check meant for it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exports import selftest
from exports.bundle import SHIPPED, Bundle, seal
from exports.errors import BundleError
from exports.parity import BATCH, answers, compare
from exports.runtimes.load import load_target
from exports.selftest import check_selftest, targets_of
from exports.targets import TARGETS
from makers import chest_film
from screening.model.card import Card

ONNX = TARGETS["onnx"]
WITH_8_BITS = replace(TARGETS["onnx-int8"], file=ONNX.file)


def initializers(model):
    return {weights.name: weights for weights in model.graph.initializer}


def put(weights, values):
    weights.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weights.name))


def perturb_weights(model):
    """Add 1 % noise to the weights of a convolution in the middle of the network."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    weights = initializers(model)[convolutions[len(convolutions) // 2].input[1]]
    values = numpy_helper.to_array(weights)
    noise = np.random.default_rng(0).normal(0, 0.01, values.shape)
    put(weights, values * (1 + noise))


def swap_classes(model):
    """Swap the two outputs of the last convolution."""
    last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    for name in last.input[1:]:
        weights = initializers(model)[name]
        put(weights, numpy_helper.to_array(weights)[::-1])


def change_preprocessing(model):
    """Make the graph brighten the films slightly."""
    first = next(node for node in model.graph.node if "film" in node.input)
    brighter = onnx.helper.make_tensor("brighter", onnx.TensorProto.FLOAT, [], [0.1])
    model.graph.initializer.append(brighter)
    model.graph.node.insert(0, onnx.helper.make_node("Add", ["film", "brighter"], ["bright film"]))
    first.input[list(first.input).index("film")] = "bright film"


SABOTAGES = [perturb_weights, swap_classes, change_preprocessing]


@pytest.fixture(scope="module")
def card():
    return Card.read(SHIPPED)


@pytest.fixture(scope="module")
def tensors(card):
    """Synthetic chest films, some of which are positive."""
    grey = [chest_film(seed).astype(np.float32) / np.float32(255) for seed in range(48)]
    return [card.preprocessing.tensor(film) for film in grey]


@pytest.fixture(scope="module")
def expected(card, tensors):
    given = answers(load_target(SHIPPED, ONNX), tensors, card, BATCH)
    called = sum(verdict.called for verdict in given.verdicts)
    assert 5 < called < 43
    return given


@pytest.fixture
def export(tmp_path):
    """A function that loads the shipped ONNX model, optionally sabotaged."""

    def made(sabotage=None):
        model = onnx.load(SHIPPED / ONNX.file)
        if sabotage is not None:
            sabotage(model)
        onnx.checker.check_model(model)
        onnx.save(model, tmp_path / ONNX.file)
        return load_target(tmp_path, ONNX)

    return made


def breaches(predictor, target, card, tensors, expected):
    labels = np.full(len(tensors), -1)
    return compare(target, predictor, expected, tensors, labels, card).breaches


def test_parity_passes_an_unchanged_export(export, card, tensors, expected):
    assert breaches(export(), ONNX, card, tensors, expected) == []
    assert breaches(export(), WITH_8_BITS, card, tensors, expected) == []


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_parity_detects_sabotage_by_probabilities(export, card, tensors, expected, sabotage):
    found = breaches(export(sabotage), ONNX, card, tensors, expected)
    assert any("a probability differs" in breach for breach in found)
    anything = replace(ONNX, tolerance=1.0)
    unchecked = breaches(export(sabotage), anything, card, tensors, expected)
    assert not any("a probability differs" in breach for breach in unchecked)


@pytest.mark.parametrize("sabotage", [swap_classes, change_preprocessing])
def test_parity_detects_sabotage_by_decisions(
    export, card, tensors, expected, sabotage, monkeypatch
):
    (breach,) = breaches(export(sabotage), WITH_8_BITS, card, tensors, expected)
    assert "decisions differ, 1 are allowed" in breach
    monkeypatch.setattr("exports.parity.FLIPS", 1.0)
    assert breaches(export(sabotage), WITH_8_BITS, card, tensors, expected) == []


def test_parity_detects_a_changed_threshold(export, card, tensors, expected):
    low = replace(card.operating_point, threshold=0.5)
    moved = replace(card, operating_point=low)
    assert any(
        "decisions differ" in breach
        for breach in breaches(export(), WITH_8_BITS, moved, tensors, expected)
    )


@pytest.fixture
def bundle(tmp_path):
    """A copy of the shipped bundle; :func:`check` seals it again, so that its hashes match."""
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    return tmp_path / "bundle"


def check(bundle):
    seal(bundle)
    opened = Bundle.open(bundle)
    return [check_selftest(opened, target) for target in targets_of(bundle)]


def test_selftest_passes_an_unchanged_bundle(bundle):
    assert max(check(bundle)) <= 0.02


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_selftest_detects_a_changed_model(bundle, sabotage, monkeypatch):
    model = onnx.load(bundle / ONNX.file)
    sabotage(model)
    onnx.save(model, bundle / ONNX.file)
    with pytest.raises(BundleError, match="onnx differs by"):
        check(bundle)
    _anything_goes(monkeypatch)
    check(bundle)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("preprocessing", {"scale": 1.9}),
        ("preprocessing", {"offset": -0.95}),
        ("calibration", {"bias": 1.7}),
        ("operating_point", {"threshold": 0.97}),
    ],
)
def test_selftest_detects_a_changed_card(bundle, field, change, monkeypatch):
    path = bundle / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card[field] |= change
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(BundleError, match="differs by"):
        check(bundle)
    _anything_goes(monkeypatch)
    check(bundle)


def test_card_with_swapped_classes_is_refused(bundle):
    path = bundle / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["classes"].reverse()
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(Exception, match="has the classes"):
        check(bundle)


def _anything_goes(monkeypatch):
    """Disable the tolerances of the self-test."""
    monkeypatch.setattr("exports.selftest._DRIFTS", dict.fromkeys(selftest._DRIFTS, np.inf))
