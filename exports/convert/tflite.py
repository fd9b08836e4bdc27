"""Convert Keras models to TFLite, using only the builtin operators of TensorFlow's converter."""

import warnings
from pathlib import Path

import keras
import tensorflow as tf


def convert_float32(network: keras.Model, path: Path) -> None:
    """Write `network` as TFLite in float32."""
    path.write_bytes(_converter(network).convert())


def convert_float16(network: keras.Model, path: Path) -> None:
    """Write `network` as TFLite with float16 weights and float32 computation."""
    converter = _converter(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())


def convert_8_bits(network: keras.Model, path: Path, *, integer_io: bool = False) -> None:
    """Write `network` as TFLite with 8-bit weights and feature maps.

    Args:
        network: contains the ranges of its feature maps
            (:func:`exports.convert.quantize.with_ranges`).
        integer_io: use 8-bit integers instead of float32 for input and outputs.
    """
    converter = _converter(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if integer_io:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        # The converter warns that it has no films to find ranges; the network contains its ranges.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
        path.write_bytes(converter.convert())


def _converter(network: keras.Model) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    # Flex operators would need TensorFlow on the device.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter
