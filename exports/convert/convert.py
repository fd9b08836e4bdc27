"""Load a network in Keras and convert it to every target."""

import contextlib
import io
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx

from exports.convert.onnx import convert_onnx, convert_onnx_8_bits
from exports.convert.quantize import gptq_round, with_ranges
from exports.convert.tflite import convert_8_bits, convert_float16, convert_float32
from exports.errors import ExportError
from exports.targets import Target
from screening.model.predictor import Prediction
from screening.model.preprocess import Preprocessing


class KerasPredictor:
    """A model in Keras, used as the original in comparisons, not for screening."""

    def __init__(self, path: Path) -> None:
        try:
            self.network: keras.Model = keras.saving.load_model(path, compile=False)
        except (OSError, ValueError) as error:
            raise ExportError(f"{path} cannot be loaded: {error}") from error
        self.has_map = "map" in self.network.output
        self.target = "keras"
        self.runtime = f"keras/{keras.backend.backend()} {keras.__version__}"

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Scores for `tensors`, shape (n, rows, columns, channels)."""
        outputs = self.network.predict_on_batch(tensors)
        maps = np.asarray(outputs["map"]) if self.has_map else None
        return Prediction(np.asarray(outputs["score"]), np.asarray(outputs["embedding"]), maps)


Tensors = npt.NDArray[np.float32]


class Converter:
    """Converts one network; the rounded weights that all 8-bit targets share are computed once.

    Args:
        network: the original in Keras.
        preprocessing: preprocessing of the model.
        films: input tensors of training films, shape (n, rows, columns, channels), for ranges and
            rounding; required by targets with 8 bits.
        integer_io: whether input and output of ``tflite-int8`` are integers.
    """

    def __init__(
        self,
        network: keras.Model,
        preprocessing: Preprocessing,
        films: Tensors | None = None,
        *,
        integer_io: bool = False,
    ) -> None:
        self._network = network
        self._preprocessing = preprocessing
        self._films = films
        self._integer_io = integer_io
        self._writers: dict[str, Callable[[Path], None]] = {
            "onnx": lambda path: convert_onnx(network, path),
            "onnx-int8": lambda path: convert_onnx_8_bits(
                self._rounded, path, self._calibration, preprocessing
            ),
            "tflite-float32": lambda path: convert_float32(network, path),
            "tflite-float16": lambda path: convert_float16(network, path),
            "tflite-int8": self._write_tflite_int8,
        }

    def write(self, target: Target, folder: Path) -> Path:
        """Write the network for `target` into `folder`.

        Raises:
            ExportError: if the converter fails or writes no file.
        """
        path = folder / target.file
        try:
            # The converters print every operator.
            with contextlib.redirect_stdout(io.StringIO()):
                self._writers[target.name](path)
        # ConverterError, onnx's ValidationError and the other possible errors share no base class.
        except Exception as error:
            # A partial file must not be taken for a model.
            path.unlink(missing_ok=True)
            raise ExportError(f"{target.name}: the conversion failed: {error}") from error
        if not path.is_file() or not path.stat().st_size:
            path.unlink(missing_ok=True)
            raise ExportError(f"{target.name}: the converter did not write {path.name}")
        return path

    @property
    def _calibration(self) -> Tensors:
        if self._films is None:
            raise ValueError("8-bit targets need films for calibration")
        return self._films

    @cached_property
    def _rounded(self) -> keras.Model:
        return gptq_round(self._network, self._calibration)

    def _write_tflite_int8(self, path: Path) -> None:
        ends = self._integer_io
        ranged = with_ranges(self._rounded, self._calibration, self._preprocessing, ends=ends)
        convert_8_bits(ranged, path, integer_io=ends)


def converters() -> dict[str, str]:
    """Return the versions of the converters, for the card."""
    modules = {"tensorflow": tf, "keras": keras, "tf2onnx": tf2onnx, "onnx": onnx}
    return {name: module.__version__ for name, module in modules.items()}
