"""Load one network in Keras and in the runtimes, and measure films per second."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from exports.runtimes.litert import LiteRTPredictor
from exports.runtimes.onnx import OnnxPredictor
from exports.selftest import phantoms
from exports.targets import ONNX, Target
from screening.model.preprocess import Preprocessing

Predict = Callable[[Any], Any]

PREDICT: Final = "Keras predict"
FUNCTION: Final = "tf.function"

#: Minimum CPU seconds of each measurement.
_SECONDS: Final = 1.0


def limit_keras(threads: int) -> None:
    """Limit the threads of TensorFlow; must be called before TensorFlow is used."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def ways_of(
    network: keras.Model, folder: Path, targets: Iterable[Target], threads: int = 1
) -> dict[str, Predict]:
    """Return all predict functions of `network` by name: Keras, and its `targets` in `folder`."""
    ways: dict[str, Predict] = {
        PREDICT: lambda films: network.predict(films, batch_size=len(films), verbose=0),
        FUNCTION: tf.function(lambda films: network(films, training=False)),
    }
    for target in targets:
        kind = OnnxPredictor if target.runtime == ONNX else LiteRTPredictor
        ways[target.name] = kind(folder / target.file, target.name, threads=threads).predict
    return ways


def tensors(preprocessing: Preprocessing, number: int) -> Any:
    """Create input tensors, shape (n, rows, columns, channels), float32."""
    films = phantoms(preprocessing.rows, preprocessing.columns).astype(np.float32) / np.float32(255)
    return np.resize(preprocessing.normalise(films), (number, *preprocessing.shape))


def speed(predict: Predict, films: Any) -> tuple[float, float]:
    """Films per second of CPU time, and of wall time."""
    predict(films)
    began, started, calls = time.perf_counter(), time.process_time(), 0
    while (used := time.process_time() - started) < _SECONDS:
        predict(films)
        calls += 1
    return calls * len(films) / used, calls * len(films) / (time.perf_counter() - began)
