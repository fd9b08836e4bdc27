"""Keras to ONNX, with tf2onnx."""

from pathlib import Path
from typing import Final

import keras
import onnx
import tensorflow as tf
import tf2onnx

#: Understood by every ONNX Runtime since 1.14.
OPSET: Final = 17


def convert_onnx(network: keras.Model, path: Path) -> None:
    """Write `network` as ONNX with a free batch axis."""
    signature = [tf.TensorSpec((None, *network.input.shape[1:]), tf.float32, name="film")]
    model, _tensors = tf2onnx.convert.from_keras(network, signature, opset=OPSET)
    onnx.checker.check_model(model)
    onnx.save(model, path)
