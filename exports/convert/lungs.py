"""Load the lung network in Keras and convert it to ONNX and TFLite."""

import contextlib
import io
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from exports.convert.onnx import convert_onnx
from exports.convert.tflite import convert_float16, convert_float32
from exports.errors import ExportError
from screening.model.lungs import SIDE

#: Arrays with fewer elements stay in float32: halving them does not justify a cast on loading.
_FEW: Final = 64


class KerasLungs:
    """A lung network in Keras, used as the original in comparisons, not for screening.

    Args:
        path: Keras file with one input of shape (n, 128, 128, 1) and one output of the same shape.

    Raises:
        ExportError: if the file cannot be read, or its input or output has another shape.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.network: keras.Model = keras.saving.load_model(path, compile=False)
        except (OSError, ValueError) as error:
            raise ExportError(f"{path} cannot be loaded: {error}") from error
        expected = (None, SIDE, SIDE, 1)
        for tensor in (*self.network.inputs, *self.network.outputs):
            if tuple(tensor.shape) != expected:
                raise ExportError(
                    f"{path} has the shape {tuple(tensor.shape)}, expected {expected}"
                )

    def find(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability of lung, shape (n, 128, 128), for `inputs`, shape (n, 128, 128, 1)."""
        (outputs,) = keras.tree.flatten(self.network.predict_on_batch(inputs))
        return np.asarray(outputs)[..., 0]


def convert_lungs(network: keras.Model, path: Path, *, half: bool) -> None:
    """Write a lung network as ONNX or TFLite, by the suffix of `path`.

    Args:
        half: store the weights in float16. The network computes in float32 in either case.

    Raises:
        ExportError: if the converter fails.
    """
    try:
        # The converters print every operator.
        with contextlib.redirect_stdout(io.StringIO()):
            if path.suffix == ".onnx":
                convert_onnx(network, path)
                if half:
                    _store_halves(path)
            elif half:
                convert_float16(network, path)
            else:
                convert_float32(network, path)
    # The errors of the converters share no base class.
    except Exception as error:
        path.unlink(missing_ok=True)
        raise ExportError(f"{path.name}: the conversion failed: {error}") from error


def _store_halves(path: Path) -> None:
    """Store the weights of an ONNX file in float16; the runtime converts them once, on loading."""
    model = onnx.load(path)
    widened = []
    for stored in model.graph.initializer:
        values = numpy_helper.to_array(stored)
        if values.dtype != np.float32 or values.size < _FEW:
            continue
        name = stored.name
        stored.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        widened.append(
            helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT)
        )
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*widened, *nodes])
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
