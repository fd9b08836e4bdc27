"""Evidence maps of a Keras network: its own map, or Grad-CAM if it has none."""

from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from screening.inference.heatmap import evidence
from screening.results import POSITIVE

_BATCH: Final = 8

Floats = npt.NDArray[np.float32]


def activation(network: keras.Model, tensors: Floats) -> Floats | None:
    """Evidence for pneumonia in logits, shape (n, r, c), for images in any network.

    A network that ends in global pooling has the evidence in its ``map``. For other networks it is
    :func:`grad_cam` times the number of cells; for a pooling network both would be equal where the
    evidence is positive. Grad-CAM needs TensorFlow's gradients: None if Keras runs on another
    backend.
    """
    if "map" in network.output:
        maps = [network.predict_on_batch(part)["map"] for part in _batches(tensors)]
        return evidence(np.concatenate(maps))
    if keras.backend.backend() != "tensorflow":
        return None
    cam = grad_cam(network, tensors)
    return np.asarray(cam * (cam.shape[1] * cam.shape[2]), np.float32)


def grad_cam(network: keras.Model, tensors: Floats, layer: str = "") -> Floats:
    """Grad-CAM of Selvaraju et al. (ICCV 2017), equations 1 and 2, for the log odds of pneumonia.

    Each channel of a layer is weighted by the mean gradient of the log odds; negative sums are set
    to zero. The log odds are those before the softmax, whose gradient would vanish where the
    network is certain.

    Args:
        network: its output ``score`` is the softmax of a dense layer, or a softmax layer.
        tensors: shape (n, rows, columns, channels), in the network's number range.
        layer: layer whose cells are mapped; by default the last convolution.

    Returns:
        Shape (n, rows', columns') of that layer, 0 or more.
        Shape (n, rows', columns') of that layer, 0 or more.
    """
    seen = network.get_layer(layer or _last_convolution(network)).output
    inner = keras.Model(network.input, [seen, network.get_layer("score").input])
    parts = [_cam(inner, network.get_layer("score"), part) for part in _batches(tensors)]
    return np.concatenate(parts)


def _cam(inner: keras.Model, score: Any, tensors: Floats) -> Floats:
    films = tf.constant(tensors)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        # Watching the input records all operations that follow, including those after the cells.
        tape.watch(films)
        cells, features = inner(films, training=False)
        logits = _logits(score, features)
        odds = logits[:, POSITIVE] - logits[:, 1 - POSITIVE]
    gradients = tape.gradient(odds, cells)
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    return np.asarray(tf.nn.relu(tf.reduce_sum(weights * cells, axis=-1)))


def _logits(score: Any, features: Any) -> Any:
    """The input of the softmax in the layer `score`."""
    if not score.weights:
        return features
    return tf.matmul(features, score.kernel) + score.bias


def _last_convolution(network: keras.Model) -> str:
    kind = keras.layers.Conv2D
    return str([layer.name for layer in network.layers if isinstance(layer, kind)][-1])


def _batches(tensors: Floats) -> list[Floats]:
    return [tensors[start : start + _BATCH] for start in range(0, len(tensors), _BATCH)]
