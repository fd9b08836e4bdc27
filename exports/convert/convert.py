"""One converter for each target."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import keras
import onnx
import tensorflow as tf
import tf2onnx

from exports.convert.onnx import convert_onnx
from exports.convert.tflite import convert_float16, convert_float32
from exports.errors import ExportError
from exports.targets import Target

_CONVERTERS: Final[dict[str, Callable[[keras.Model, Path], None]]] = {
    "onnx": convert_onnx,
    "tflite-float32": convert_float32,
    "tflite-float16": convert_float16,
}


def convert(network: keras.Model, target: Target, folder: Path) -> Path:
    """Write `network` for `target` into `folder`.

    Raises:
        ExportError: if the converter gives up, or leaves no file.
    """
    path = folder / target.file
    try:
        # The converters print what they do, operator by operator.
        with contextlib.redirect_stdout(io.StringIO()):
            _CONVERTERS[target.name](network, path)
    # The converters raise ConverterError, onnx's ValidationError and others without a common root.
    except Exception as error:
        raise ExportError(f"{target.name}: the conversion failed: {error}") from error
    if not path.is_file() or not path.stat().st_size:
        raise ExportError(f"{target.name}: the converter wrote no {path.name}")
    return path


def converters() -> dict[str, str]:
    """The versions of what converts, for the card."""
    modules = {"tensorflow": tf, "keras": keras, "tf2onnx": tf2onnx, "onnx": onnx}
    return {name: module.__version__ for name, module in modules.items()}
