"""Make bundles that are small enough for each test: an ONNX model without weights."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from exports.bundle import SHIPPED, Bundle, seal
from exports.selftest import targets_of, write_selftest
from exports.targets import TARGETS
from gate_makers import make_recogniser
from makers import make_card
from screening.model.card import Card
from screening.model.image_gate import ImageGate
from screening.model.lungs import LungCard

SIDE = 32

#: Outputs of a model that ends in global pooling.
WITH_MAP = ("score", "embedding", "map")

#: Targets of the shipped bundle.
SHIPPED_TARGETS = targets_of(SHIPPED)


def write_model(
    path: Path, shift: float = 0.0, outputs: Sequence[str] = ("score", "embedding")
) -> Path:
    """Write the same model as BrightnessPredictor: P is the mean grey value plus `shift`.

    Args:
        outputs: outputs in this order. The scores have the shape (n, 2), the embeddings (n, 32),
            and the map (n, 4, 4, 2): a white cell has evidence of 10 logits, a grey one none.
    """
    shapes = {"score": [2], "embedding": [SIDE], "map": [4, 4, 2]}
    constants = {"shift": [shift], "one": [1.0], "grey": [0.5], "steep": [20.0]}
    nodes = [
        helper.make_node("ReduceMean", ["film"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Flatten", ["mean"], ["brightness"]),
        helper.make_node("Add", ["brightness", "shift"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["score"], axis=1),
        helper.make_node("ReduceMean", ["film"], ["embedding"], axes=[2, 3], keepdims=0),
        helper.make_node("Transpose", ["film"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]
        ),
        helper.make_node("Transpose", ["pooled"], ["cells"], perm=[0, 2, 3, 1]),
        helper.make_node("Sub", ["cells", "grey"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["pneumonia"]),
        helper.make_node("Sub", ["above", "above"], ["normal"]),
        helper.make_node("Concat", ["normal", "pneumonia"], ["map"], axis=3),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("film", TensorProto.FLOAT, ["n", SIDE, SIDE, 1])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shapes[name]])
            for name in outputs
        ],
        [
            helper.make_tensor(name, TensorProto.FLOAT, [1], value)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def write_lungs(path: Path, sign: float = -1.0) -> Path:
    """Write a lung network that marks everything darker than the film's mean as lung.

    Args:
        sign: 1 to mark everything brighter instead.
    """
    steep = helper.make_tensor("steep", TensorProto.FLOAT, [1], [8.0 * sign])
    nodes = [
        helper.make_node("Mul", ["film", "steep"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["lungs"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 128, 128, 1])
        for name in ("film", "lungs")
    ]
    graph = helper.make_graph(nodes, "darkness", ends[:1], ends[1:], [steep])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def brightness_gate() -> ImageGate:
    """Make a gate that accepts images whose first row is brighter than 0.48 as chest films."""
    frontal = np.zeros(SIDE + 1, np.float32)
    frontal[[0, -1]] = 40, -18
    return make_recogniser(
        SIDE, frontal=frontal, orientation=np.zeros((5, SIDE + 1), np.float32), limit=1.0
    )


def write_bundle(
    folder: Path,
    shift: float = 0.0,
    gate: ImageGate | None = None,
    outputs: Sequence[str] = ("score", "embedding"),
    lungs: float = 0.0,
) -> Bundle:
    """Write a sealed bundle with this model and a self-test.

    Args:
        shift: added to the answers of the model after the self-test was written.
        lungs: sign of the lung network; 0 for none.
    """
    folder.mkdir(parents=True)
    card = replace(make_card(), gate=gate, lungs=LungCard() if lungs else None)
    card.write(folder)
    if lungs:
        write_lungs(folder / "lungs.onnx", lungs)
    write_model(folder / "model.onnx", outputs=outputs)
    write_selftest(folder, card, [TARGETS["onnx"]])
    write_model(folder / "model.onnx", shift, outputs)
    seal(folder)
    return Bundle.open(folder)


def with_threshold(bundle: Path, threshold: float, place: Path) -> Path:
    """Copy a bundle to `place` and change its threshold."""
    shutil.copytree(bundle, place)
    (place / "SHA256SUMS").unlink()
    card = Card.read(place)
    point = replace(card.operating_point, threshold=round(threshold, 6))
    replace(card, operating_point=point).write(place)
    seal(place)
    return place
