"""Keras to ONNX, with tf2onnx, and to 8 bits with ONNX Runtime's quantiser."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from exports.convert.order import put_in_order
from exports.convert.ranges import BEYOND
from exports.convert.settle import FEW_WEIGHTS

Tensors = npt.NDArray[np.float32]

#: Understood by every ONNX Runtime since 1.14.
OPSET: Final = 17

#: What is computed in 8 bits; means, softmax and what is only moved about gain nothing by it.
_OPERATORS: Final = ("Conv", "MatMul", "Gemm", "Add", "Clip", "Relu", "MaxPool")
_BATCH: Final = 8


def convert_onnx(network: keras.Model, path: Path) -> None:
    """Write `network` as ONNX with a free batch axis."""
    signature = [tf.TensorSpec((None, *network.input.shape[1:]), tf.float32, name="film")]
    model, _tensors = tf2onnx.convert.from_keras(network, signature, opset=OPSET)
    put_in_order(model.graph)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def convert_onnx_8_bits(network: keras.Model, path: Path, films: Tensors) -> None:
    """Write `network` as ONNX that computes in 8 bits, but for its first layers (static QDQ).

    Args:
        films: input tensors to find ranges with, shape (n, rows, columns, channels).
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, fused = Path(folder) / "plain.onnx", Path(folder) / "fused.onnx"
        convert_onnx(network, plain)
        # Without this step convolutions stay apart from what follows them, and errors double.
        quant_pre_process(plain, fused, skip_symbolic_shape=True)
        quantize_static(
            fused,
            path,
            _Films(films),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_exclude=_first_nodes(onnx.load(fused)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                "CalibPercentile": 100 * (1 - BEYOND),
                # Half of what lies beyond at each end, as in exports.convert.ranges.
                "CalibTensorRangeSymmetric": False,
                # Batch by batch: by itself the quantiser holds the feature maps of all films.
                "CalibStridedMinMax": 1,
            },
        )
    onnx.checker.check_model(onnx.load(path))


class _Films(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Films as the quantiser asks for them: by number of the batch."""

    def __init__(self, films: Tensors) -> None:
        self._batches = [films[start : start + _BATCH] for start in range(0, len(films), _BATCH)]
        self._asked: Iterator[Tensors] = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._asked = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, Tensors] | None:
        batch = next(self._asked, None)
        return None if batch is None else {"film": batch}


def _first_nodes(model: Any) -> list[str]:
    """Nodes before the first one with many weights; see exports.convert.settle.first_layers."""
    sizes = {weights.name: int(np.prod(weights.dims)) for weights in model.graph.initializer}
    first = []
    for node in model.graph.node:
        if any(sizes.get(name, 0) >= FEW_WEIGHTS for name in node.input):
            break
        first.append(node.name)
    return first
