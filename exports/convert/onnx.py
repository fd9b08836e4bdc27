"""Convert Keras models to ONNX with tf2onnx, in canonical order, and to 8 bits.

The order and names that tf2onnx chooses depend on string hashes, which differ between Python
processes. They are replaced, so that the same network always gives the same file.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx
from onnxruntime import InferenceSession
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from exports.convert.quantize import FEW_WEIGHTS, Range, range_of_film, ranges_of
from screening.model.preprocess import Preprocessing


def put_in_order(graph: Any) -> None:
    """Order and name all nodes and constants by the way the outputs depend on them.

    The names of inputs and outputs do not change.
    """
    makers = {name: node for node in graph.node for name in node.output}
    constants = {constant.name: constant for constant in graph.initializer}
    kept = {value.name for value in (*graph.input, *graph.output)}
    names = _in_order_of_use(graph, makers)
    renamed = {
        name: name if name in kept else _renamed(name, number, is_constant=name not in makers)
        for number, name in enumerate(names)
    }
    nodes = {id(makers[name]): makers[name] for name in names if name in makers}
    for node in nodes.values():
        # An omitted optional input has an empty name.
        inputs = [renamed.get(name, "") for name in node.input]
        node.input[:] = inputs
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.name = node.output[0]
    used = [constants[name] for name in names if name in constants]
    for constant in used:
        constant.name = renamed[constant.name]
    # Intermediate shapes; they can be inferred again.
    del graph.value_info[:]
    _replace(graph.node, nodes.values())
    _replace(graph.initializer, used)
    _replace(graph.output, sorted(graph.output, key=lambda value: value.name))


def _in_order_of_use(graph: Any, makers: dict[str, Any]) -> list[str]:
    """Sort the names that the outputs need topologically, each after its own inputs."""
    names: dict[str, None] = {}
    waiting = sorted((value.name for value in graph.output), reverse=True)
    while waiting:
        name = waiting[-1]
        needed = makers[name].input if name in makers else ()
        left = [one for one in needed if one and one not in names]
        if name not in names and left:
            waiting += reversed(left)
            continue
        names.setdefault(waiting.pop())
    return list(names)


def _renamed(name: str, number: int, *, is_constant: bool) -> str:
    # Equal constants are merged, and the name comes from an arbitrary one of their users.
    base = "constant" if is_constant else re.sub(r"(__\d+)+", "", name)
    return f"{base}__{number}"


def _replace(field: Any, ordered: Iterable[Any]) -> None:
    copies = [type(one).FromString(one.SerializeToString()) for one in ordered]
    del field[:]
    field.extend(copies)


Tensors = npt.NDArray[np.float32]

#: Operator set that every ONNX Runtime since 1.14 supports.
OPSET: Final = 17

#: Operators computed in 8 bits; means, softmax and data movement gain nothing from it.
_OPERATORS: Final = ("Conv", "MatMul", "Gemm", "Add", "Clip", "Relu", "MaxPool")
_BATCH: Final = 4
_FILM: Final = "film"


def convert_onnx(network: keras.Model, path: Path) -> None:
    """Write `network` as ONNX with a free batch axis."""
    signature = [tf.TensorSpec((None, *network.input.shape[1:]), tf.float32, name=_FILM)]
    model, _tensors = tf2onnx.convert.from_keras(network, signature, opset=OPSET)
    put_in_order(model.graph)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def convert_onnx_8_bits(
    network: keras.Model, path: Path, films: Tensors, preprocessing: Preprocessing
) -> None:
    """Write `network` as ONNX that computes in 8 bits except for its first layers (static QDQ).

    Args:
        films: input tensors for finding ranges, shape (n, rows, columns, channels).
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, fused = Path(folder) / "plain.onnx", Path(folder) / "fused.onnx"
        convert_onnx(network, plain)
        # Without this step convolutions are not fused with the next operators, and errors double.
        quant_pre_process(plain, fused, skip_symbolic_shape=True)
        model = onnx.load(fused)
        first = _first_nodes(model)
        ranges = _ranges(model, first, films)
        ranges |= dict.fromkeys(_names_of_the_film(model), range_of_film(preprocessing))
        quantize_static(
            fused,
            path,
            _Films(films),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_exclude=first,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"TensorQuantOverrides": _as_overrides(ranges)},
        )
    onnx.checker.check_model(onnx.load(path))


class _Films(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Feeds films to the quantiser in batches."""

    def __init__(self, films: Tensors) -> None:
        self._batches: Iterator[Tensors] = (
            films[start : start + _BATCH] for start in range(0, len(films), _BATCH)
        )

    def get_next(self) -> dict[str, Tensors] | None:
        batch = next(self._batches, None)
        return None if batch is None else {_FILM: batch}


def _ranges(model: Any, first: list[str], films: Tensors) -> dict[str, Range]:
    """Find the range of each feature map that is computed in 8 bits."""
    stored = {weights.name for weights in model.graph.initializer}
    maps = sorted(
        {
            name
            for node in model.graph.node
            if node.op_type in _OPERATORS and node.name not in first
            for name in (*node.input, *node.output)
        }
        - stored
        - {_FILM}
    )
    if not maps:
        return {}
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    given = {value.name for value in model.graph.output}
    watched.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in maps if name not in given
    )
    session = InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    return ranges_of(
        lambda batch: dict(zip(maps, session.run(maps, {_FILM: batch}), strict=True)), films
    )


def _names_of_the_film(model: Any) -> list[str]:
    """Return the names of the input film and of its transposed or reshaped copies."""
    names = [_FILM]
    for node in model.graph.node:
        if node.op_type in ("Transpose", "Reshape") and node.input[0] in names:
            names += node.output
    return names


def _as_overrides(ranges: dict[str, Range]) -> dict[str, list[dict[str, Any]]]:
    """Convert ranges to the format of the quantiser."""
    return {
        name: [{"rmin": np.float32(one.low), "rmax": np.float32(one.high)}]
        for name, one in ranges.items()
    }


def _first_nodes(model: Any) -> list[str]:
    """List the nodes before the first one with many weights.

    See :func:`exports.convert.quantize.first_layers`.
    """
    sizes = {weights.name: int(np.prod(weights.dims)) for weights in model.graph.initializer}
    first = []
    for node in model.graph.node:
        if any(sizes.get(name, 0) >= FEW_WEIGHTS for name in node.input):
            break
        first.append(node.name)
    return first
