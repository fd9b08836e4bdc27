"""Keras to TFLite, with TensorFlow's converter and its builtin operators only."""

from pathlib import Path

import keras
import tensorflow as tf


def convert_float32(network: keras.Model, path: Path) -> None:
    """Write `network` as TFLite in float32."""
    path.write_bytes(_converter(network).convert())


def convert_float16(network: keras.Model, path: Path) -> None:
    """Write `network` as TFLite with weights in float16; it computes in float32."""
    converter = _converter(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())


def _converter(network: keras.Model) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    # Flex operators would need TensorFlow on the device.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter
