"""Round weights to 8 bits and find the ranges of feature maps.

Ranges: a range that includes the largest value ever seen has coarse steps; a narrower range clips
the largest values. The best trade-off differs between networks, so the range with the least squared
error is chosen for each feature map (Nagel et al., arXiv:2106.08295, section 3.1). TensorFlow's
converter reads the ranges from a network with rounding layers. Otherwise it would use the largest
value ever seen, and one bright letter on one film would coarsen the steps of all other films.

Weights: if every weight is rounded to its nearest step, errors of neighbouring weights add up. Here
the weights are rounded one after the other, and those not yet rounded compensate for the error as
well as the films allow: GPTQ (Frantar et al., ICLR 2023), based on Optimal Brain Surgeon. The steps
are the same as those of the converters, symmetric and per output channel, so that the converters do
not change the rounded weights any further.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from screening.model.preprocess import Preprocessing

Tensors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

#: Computes the feature maps of a batch of films, by name.
Watch = Callable[[Tensors], dict[str, Any]]

_BATCH: Final = 4
_STEPS: Final = 255
_BINS: Final = 4096

#: Candidate ends of a range, as shares of the widest range.
_ENDS: Final = np.arange(4, 65) / 64


@dataclass(frozen=True)
class Range:
    """Smallest and largest value; the range includes 0, so that 0 is represented exactly."""

    low: float
    high: float

    @classmethod
    def of(cls, low: float, high: float) -> "Range":
        """Create a range from `low` to `high`, extended to include 0; 0 to 1 if both are 0."""
        return cls(min(0.0, low), max(0.0, high) if low or high else 1.0)


def range_of_film(preprocessing: Preprocessing) -> Range:
    """Return the range from black to white, independent of the films."""
    return Range.of(preprocessing.offset, preprocessing.offset + preprocessing.scale)


def ranges_of(watch: Watch, films: Tensors) -> dict[str, Range]:
    """Find the best range of each feature map that `watch` returns.

    Args:
        watch: computes the feature maps of a batch.
        films: input tensors, shape (n, rows, columns, channels).
    """
    widest: dict[str, Range] = {}
    for name, values in _watched(watch, films):
        before = widest.get(name, Range(0.0, 0.0))
        low, high = float(values.min(initial=before.low)), float(values.max(initial=before.high))
        widest[name] = Range(low, high)
    counts = {name: np.zeros(_BINS) for name in widest}
    for name, values in _watched(watch, films):
        limits = (widest[name].low, widest[name].high)
        if any(limits):
            counts[name] += np.histogram(values, _BINS, limits)[0]
    return {name: best_range(counts[name], limits) for name, limits in widest.items()}


def best_range(counts: Floats, widest: Range) -> Range:
    """Find the range with the least squared error between values and steps.

    Args:
        counts: number of values in each bin of `widest`, shape (bins,), without zeros, which are
            represented exactly.
        widest: range of all values.
    """
    if not counts.any():
        return Range.of(widest.low, widest.high)
    edges = np.linspace(widest.low, widest.high, len(counts) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    lows, highs = widest.low * _ENDS, widest.high * _ENDS
    beyond = _beyond(-middles, counts, -lows)[:, None] + _beyond(middles, counts, highs)[None, :]
    # For values distributed evenly between two steps, the mean squared error is step**2 / 12.
    step = (highs[None, :] - lows[:, None]) / _STEPS
    low, high = np.unravel_index(np.argmin(beyond + counts.sum() * step**2 / 12), step.shape)
    return Range.of(float(lows[low]), float(highs[high]))


def _beyond(values: Floats, counts: Floats, ends: Floats) -> Floats:
    """Squared error of the clipped values, for each candidate end."""
    return np.array([(counts * np.maximum(values - end, 0) ** 2).sum() for end in ends])


def _watched(watch: Watch, films: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Yield the non-zero values of each feature map of each batch, with its name."""
    for start in range(0, len(films), _BATCH):
        for name, given in watch(films[start : start + _BATCH]).items():
            values = np.asarray(given).reshape(-1)
            yield name, values[values != 0]


_POOLING: Final = (keras.layers.GlobalAveragePooling2D, keras.layers.AveragePooling2D)


class RoundedRanges(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Rounds values to 255 steps within a range (Jacob et al., CVPR 2018, section 3)."""

    def __init__(self, given: Range) -> None:
        super().__init__()
        self.range = given

    def call(self, x: Any) -> Any:
        """Round to the nearest step; values outside the range are clipped."""
        low, high = self.range.low, self.range.high
        return tf.quantization.fake_quant_with_min_max_args(x, low, high)


def with_ranges(
    network: keras.Model, films: Tensors, preprocessing: Preprocessing, *, ends: bool = False
) -> keras.Model:
    """Copy `network`, with each feature map rounded to 8 bits except those of the first layers.

    Args:
        network: the network in Keras.
        films: input tensors, shape (n, rows, columns, channels).
        preprocessing: preprocessing of the model, which gives the range of a film.
        ends: also round input and outputs; a first layer whose map is rounded then has 8 bits, too.
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
        return RoundedRanges(ranges[layer.name])(given) if layer.name in ranges else given

    body = keras.models.clone_model(network, call_function=call)
    # The rounding layers have no weights.
    for layer in network.layers:
        body.get_layer(layer.name).set_weights(layer.get_weights())
    film = keras.layers.Input(network.input.shape[1:], name="film")
    # The film is rounded only for a layer that accepts no more: a downscaled film has finer greys.
    rounded_film = RoundedRanges(range_of_film(preprocessing))
    given = body(rounded_film(film) if ends or len(first) == 1 else film)
    if ends:
        limits = _measured(network, list(given), films, network.output)
        given = {name: RoundedRanges(limits[name])(value) for name, value in given.items()}
    return keras.Model(film, given)


def _in_floats(pooling: keras.layers.Layer, given: Any) -> Any:
    """Pool without rounding.

    TensorFlow's converter would give the average the coarse steps of the values it averages. An
    operation without a range between them keeps the average in float. Multiplying by a power of two
    is exact.
    """
    return 0.5 * pooling(2.0 * given)


def _rounded_layers(network: keras.Model, first: set[str]) -> list[str]:
    """List the layers whose maps are rounded: computing layers, or the last one fused with them."""
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
        # Skips network outputs, and first layers whose maps only other first layers read.
        if not after or (last.name in first and all(reader.name in first for reader in after)):
            continue
        rounded.append(last.name)
    return list(dict.fromkeys(rounded))


def _additions(network: keras.Model) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Add)]


def _is_fused(layer: keras.layers.Layer) -> bool:
    """Whether a runtime computes this layer together with the previous one."""
    return isinstance(layer, keras.layers.ReLU | keras.layers.Identity)


def _measured(
    network: keras.Model, names: list[str], films: Tensors, taps: dict[str, Any] | None = None
) -> dict[str, Range]:
    """Find the range of each layer's feature map on `films`."""
    if not names:
        return {}
    taps = taps or {name: network.get_layer(name).output for name in names}
    return ranges_of(keras.Model(network.input, taps).predict_on_batch, films)


#: Layers with fewer weights stay in float at no cost; TFLite's converter does the same.
FEW_WEIGHTS: Final = 1024

#: Layers with more inputs are rounded to nearest: their Gram matrix would not fit into memory.
_MOST_INPUTS: Final = 5000

#: Steps from 0 to the largest 8-bit weight.
_ROUNDING_STEPS: Final = 127

#: Added to the diagonal of a Gram matrix, as a share of its mean (Frantar et al., section 3.3).
_DAMPING: Final = 0.01

#: Number of rows and of columns sampled from a feature map; neighbours are redundant.
_SIDE: Final = 14

_ROUNDING_BATCH: Final = 8


def gptq_round(network: keras.Model, films: Tensors) -> keras.Model:
    """Copy `network`, with weights rounded to 8-bit steps except in :func:`first_layers`.

    Args:
        network: the network in Keras.
        films: input tensors, shape (n, rows, columns, channels).
    """
    rounded = keras.models.clone_model(network)
    rounded.set_weights(network.get_weights())
    first = first_layers(network)
    layers = [layer for layer in weighted_layers(network) if layer.name not in first]
    for layer, gram in zip(layers, _grams(network, layers, films), strict=True):
        kernel, *rest = layer.get_weights()
        rounded.get_layer(layer.name).set_weights([_rounded_kernel(layer, kernel, gram), *rest])
    return rounded


def first_layers(network: keras.Model) -> set[str]:
    """Return the names of the layers before the first one with many weights; they stay in float.

    They process the faintest contrasts of a film, and have so few weights that 8 bits gain nothing.
    In EfficientNet-Lite0, 8 bits in the stem alone changed log odds by 0.1, in all later layers by
    0.08.
    """
    names = [layer.name for layer in network.layers]
    for layer in weighted_layers(network):
        if layer.get_weights()[0].size >= FEW_WEIGHTS:
            return set(names[: names.index(layer.name)])
    return set(names)


def weighted_layers(network: keras.Model) -> list[Any]:
    """List the convolutions and dense layers in network order."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    return [layer for layer in network.layers if isinstance(layer, kinds)]


def _rounded_kernel(layer: Any, kernel: npt.NDArray[np.float32], gram: Floats | None) -> Any:
    if _is_depthwise(layer):
        inputs = kernel.reshape(-1, kernel.shape[2])
        columns = [inputs[:, [channel]] for channel in range(inputs.shape[1])]
        grams = [None] * len(columns) if gram is None else list(gram)
        pairs = zip(columns, grams, strict=True)
        rounded = np.concatenate([round_weights(*pair) for pair in pairs], axis=1)
    else:
        rounded = round_weights(kernel.reshape(-1, kernel.shape[-1]), gram)
    return rounded.reshape(kernel.shape).astype(np.float32)


def round_weights(weights: npt.NDArray[Any], gram: Floats | None) -> Floats:
    """Round weights to 8-bit steps.

    The largest weight of each output keeps its value, because it defines the step.

    Args:
        weights: weights of n outputs from k inputs, shape (k, n).
        gram: products of the inputs, summed over many films, shape (k, k); None rounds to nearest.

    Returns:
        The rounded weights, shape (k, n).
    """
    weights = weights.astype(np.float64)
    step = np.abs(weights).max(axis=0) / _ROUNDING_STEPS
    step[step == 0] = 1
    if gram is None:
        return np.asarray(np.rint(weights / step) * step)
    largest = np.abs(weights).argmax(axis=0)
    ends = np.sign(weights[largest, np.arange(weights.shape[1])]) * _ROUNDING_STEPS
    # The inputs with the most energy come first, while many weights are left to compensate.
    order = np.argsort(-np.diag(gram), kind="stable")
    shares = _shares(gram[np.ix_(order, order)])
    left = weights[order]
    rounded = np.empty_like(left)
    for index, row in enumerate(left):
        steps = np.clip(np.rint(row / step), -_ROUNDING_STEPS, _ROUNDING_STEPS)
        is_largest = largest == order[index]
        steps[is_largest] = ends[is_largest]
        rounded[index] = steps * step
        error = (row - rounded[index]) / shares[index, index]
        left[index + 1 :] -= np.outer(shares[index, index + 1 :], error)
    return np.asarray(rounded[np.argsort(order)])


def _shares(gram: Floats) -> Floats:
    """Upper triangular factors that distribute the error of each input among the later ones."""
    gram = gram.copy()
    diagonal = np.diag(gram)
    # An input that is 0 on every film has no influence.
    dead = diagonal <= 0
    damped = diagonal + _DAMPING * diagonal.mean()
    np.fill_diagonal(gram, np.where(dead, max(1.0, float(diagonal.max())), damped))
    return np.asarray(np.linalg.cholesky(np.linalg.inv(gram)).T)


def _grams(network: keras.Model, layers: list[Any], films: Tensors) -> Iterator[Floats | None]:
    """Compute the Gram matrix of each layer's inputs over `films`; None with too many inputs."""
    chosen = [layer for layer in layers if _inputs(layer) <= _MOST_INPUTS]
    if not chosen:
        return (None for _layer in layers)
    sums: dict[str, Any] = {layer.name: 0.0 for layer in chosen}
    taps = keras.Model(network.input, {layer.name: layer.input for layer in chosen})
    for start in range(0, len(films), _ROUNDING_BATCH):
        given = taps.predict_on_batch(films[start : start + _ROUNDING_BATCH])
        for layer in chosen:
            sums[layer.name] += _gram(layer, np.asarray(given[layer.name]))
    return (sums.get(layer.name) for layer in layers)


def _inputs(layer: Any) -> int:
    """Number of inputs of each output of a layer."""
    kernel = layer.get_weights()[0]
    return int(np.prod(kernel.shape[: 2 if _is_depthwise(layer) else -1]))


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def _gram(layer: Any, given: Tensors) -> Floats:
    """Gram matrix, shape (k, k); shape (channels, k, k) for a depthwise convolution."""
    if isinstance(layer, keras.layers.Dense):
        return (given.T @ given).astype(np.float64)
    seen = _patches(layer, given)
    if _is_depthwise(layer):
        by_channel = np.ascontiguousarray(seen.transpose(2, 1, 0))
        return (by_channel @ by_channel.transpose(0, 2, 1)).astype(np.float64)
    flat = seen.reshape(len(seen), -1)
    return (flat.T @ flat).astype(np.float64)


def _patches(layer: Any, given: Tensors) -> Tensors:
    """Input patches of a convolution at sampled places, shape (places, kernel cells, channels)."""
    sizes, stride = layer.kernel_size, layer.strides[0]
    same = layer.padding == "same"
    edges, ends = [(0, 0)], []
    for side, size in zip(given.shape[1:3], sizes, strict=True):
        outputs = -(-side // stride) if same else (side - size) // stride + 1
        # With odd padding, TensorFlow adds the extra row or column at the end.
        padding = max((outputs - 1) * stride + size - side, 0) if same else 0
        edges.append((padding // 2, padding - padding // 2))
        ends.append((outputs - 1) * stride + 1)
    padded = np.pad(given, [*edges, (0, 0)])
    leap = stride * max(1, ends[0] // stride // _SIDE)
    cells = [
        padded[:, row : row + ends[0] : leap, column : column + ends[1] : leap]
        for row in range(sizes[0])
        for column in range(sizes[1])
    ]
    return np.stack(cells, axis=3).reshape(-1, len(cells), given.shape[-1])
