"""Measure the costs of a network: parameters, multiplications and CPU time per film."""

import tempfile
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import onnxruntime

from exports.convert.onnx import convert_onnx
from screening.results import CLASSES

_BATCH: Final = 32
_STEPS: Final = 4
_FILMS: Final = 40


@dataclass(frozen=True)
class Cost:
    """Costs of a network and of one film.

    Attributes:
        parameters: number of parameters of the network.
        macs: multiply-adds of the inference of one film.
        training_ms: CPU milliseconds of one forward and backward pass, without augmentation.
        inference_ms: CPU milliseconds in ONNX Runtime, float32, one film at a time, one thread.
    """

    parameters: int
    macs: int
    training_ms: float
    inference_ms: float


def cost_of(network: keras.Model) -> Cost:
    """Measure the costs on this machine, which should be idle."""
    return Cost(network.count_params(), macs(network), _training(network), _inference(network))


def macs(network: keras.Model) -> int:
    """Count the multiply-adds of convolutions and dense layers; the rest is negligible."""
    return sum(_macs(layer) for layer in network.layers if layer.weights)


def _macs(layer: Any) -> int:
    if isinstance(layer, keras.layers.Dense):
        return prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        _n, rows, columns, _channels = layer.output.shape
        # A depthwise kernel has its channels on the axis that other kernels sum over.
        return rows * columns * prod(layer.kernel.shape)
    return 0


def _training(network: keras.Model) -> float:
    films = np.random.default_rng(0).random((_BATCH, *network.input.shape[1:]), np.float32)
    target = np.eye(len(CLASSES), dtype=np.float32)[np.arange(_BATCH) % len(CLASSES)]
    fitted = keras.Model(network.input, network.output["score"])
    fitted.compile(keras.optimizers.AdamW(1e-6), "categorical_crossentropy", jit_compile=False)
    fitted.train_on_batch(films, target)
    started = time.process_time()
    for _ in range(_STEPS):
        fitted.train_on_batch(films, target)
    return 1000 * (time.process_time() - started) / _STEPS / _BATCH


def _inference(network: keras.Model) -> float:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        convert_onnx(network, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    film = np.zeros((1, *network.input.shape[1:]), np.float32)
    name = session.get_inputs()[0].name
    session.run(["score"], {name: film})
    started = time.process_time()
    for _ in range(_FILMS):
        session.run(["score"], {name: film})
    return 1000 * (time.process_time() - started) / _FILMS
