"""The range that each feature map's 8 bits have to hold, written into the network itself.

TensorFlow's converter takes ranges from such a network instead of guessing them from the largest
value ever seen: one bright letter on one film would cost all others their finest steps.
"""

from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from exports.convert.settle import first_layers, weighted_layers
from exports.convert.spread import Range, range_of_film, ranges_of
from screening.preprocess import Preprocessing

Tensors = npt.NDArray[np.float32]

_POOLING: Final = (keras.layers.GlobalAveragePooling2D, keras.layers.AveragePooling2D)


class Rounded(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Rounds to 255 steps between two values (Jacob et al., CVPR 2018, section 3)."""

    def __init__(self, given: Range) -> None:
        super().__init__()
        self.range = given

    def call(self, x: Any) -> Any:
        """Values on steps; what lies beyond the range is moved to its end."""
        low, high = self.range.low, self.range.high
        return tf.quantization.fake_quant_with_min_max_args(x, low, high)


def with_ranges(
    network: keras.Model, films: Tensors, preprocessing: Preprocessing, *, ends: bool = False
) -> keras.Model:
    """A copy of `network` that rounds each feature map to 8 bits, but for the first layers'.

    Args:
        films: input tensors, shape (n, rows, columns, channels).
        ends: also round the film and what comes out; a first layer whose map is rounded then has 8
            bits, too.
    """
    first = first_layers(network)
    rounded = _rounded_layers(network, first)
    if ends:
        rounded += [layer.name for layer in network.layers if isinstance(layer, _POOLING)]
    ranges = _measured(network, rounded, films)

    def call(layer: keras.layers.Layer, *inputs: Any, **named: Any) -> Any:
        if isinstance(layer, _POOLING) and not ends:
            return _in_floats(layer, *inputs)
        given = layer(*inputs, **named)
        return Rounded(ranges[layer.name])(given) if layer.name in ranges else given

    body = keras.models.clone_model(network, call_function=call)
    # The rounding layers have no weights.
    for layer in network.layers:
        body.get_layer(layer.name).set_weights(layer.get_weights())
    film = keras.layers.Input(network.input.shape[1:], name="film")
    # A film is rounded only for a layer that takes no more: made smaller, it has finer greys.
    rounded_film = Rounded(range_of_film(preprocessing))
    given = body(rounded_film(film) if ends or len(first) == 1 else film)
    if ends:
        limits = _measured(network, list(given), films, network.output)
        given = {name: Rounded(limits[name])(value) for name, value in given.items()}
    return keras.Model(film, given)


def _in_floats(pooling: keras.layers.Layer, given: Any) -> Any:
    """What is pooled, not rounded.

    TensorFlow's converter would give an average the coarse steps of what it averages; an operation
    without a range between the two keeps it in floats. A power of two changes no digit.
    """
    return 0.5 * pooling(2.0 * given)


def _rounded_layers(network: keras.Model, first: set[str]) -> list[str]:
    """Layers whose feature maps are rounded: those that compute, or what is fused with them."""
    readers: dict[int, list[Any]] = {}
    for layer in network.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            for tensor in keras.tree.flatten(layer.input):
                readers.setdefault(id(tensor), []).append(layer)
    computing = [*weighted_layers(network), *_additions(network)]
    rounded = []
    for layer in computing:
        last = layer
        while len(after := readers.get(id(last.output), [])) == 1 and _is_fused(after[0]):
            last = after[0]
        # Of the first layers only what a rounding layer reads; and no final probability.
        if not after or (last.name in first and all(reader.name in first for reader in after)):
            continue
        rounded.append(last.name)
    return list(dict.fromkeys(rounded))


def _additions(network: keras.Model) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]


def _is_fused(layer: keras.layers.Layer) -> bool:
    """True for what a runtime computes together with the layer before."""
    return isinstance(layer, keras.layers.ReLU | keras.layers.Identity)


def _measured(
    network: keras.Model, names: list[str], films: Tensors, taps: dict[str, Any] | None = None
) -> dict[str, Range]:
    """The range of each layer's feature map on `films`."""
    if not names:
        return {}
    taps = taps or {name: network.get_layer(name).output for name in names}
    return ranges_of(keras.Model(network.input, taps).predict_on_batch, films)
