"""Round a network's weights to 8 bits so that what each layer gives changes least.

Rounding every weight to its nearest step lets errors of neighbours add up. Here one weight after the
other is rounded, and those that are still free take up the error as well as the films allow: GPTQ
(Frantar et al., ICLR 2023), after Optimal Brain Surgeon. The steps are those that the converters
choose, symmetric and by output channel, so what they do afterwards changes nothing more.
"""

from collections.abc import Iterator
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Tensors = npt.NDArray[np.float32]

#: Layers with fewer weights than this cost nothing in float; TFLite's converter leaves them there, too.
FEW_WEIGHTS: Final = 1024

#: Layers with more inputs are rounded plainly: their Gram matrix would fill the memory.
_MOST_INPUTS: Final = 5000

#: Largest step of an 8-bit weight.
_STEPS: Final = 127

#: Added to the diagonal of a Gram matrix, as a share of its mean (Frantar et al., section 3.3).
_DAMPING: Final = 0.01

#: Rows and columns of a feature map that are looked at; neighbours tell the same.
_SIDE: Final = 14

_BATCH: Final = 8


def settle(network: keras.Model, films: Tensors) -> keras.Model:
    """A copy of `network` whose weights lie on 8-bit steps, but for :func:`first_layers`.

    Args:
        films: input tensors, shape (n, rows, columns, channels).
    """
    settled = keras.models.clone_model(network)
    settled.set_weights(network.get_weights())
    first = first_layers(network)
    layers = [layer for layer in weighted_layers(network) if layer.name not in first]
    for layer, gram in zip(layers, _grams(network, layers, films), strict=True):
        kernel, *rest = layer.get_weights()
        settled.get_layer(layer.name).set_weights([_settled(layer, kernel, gram), *rest])
    return settled


def first_layers(network: keras.Model) -> set[str]:
    """Names of the layers before the first one with many weights; they stay in float.

    They see the film's faintest contrasts, and have so few weights that 8 bits gain nothing: in
    EfficientNet-Lite0 the 8 bits of the stem alone moved log odds by 0.1, all later layers by 0.08.
    """
    names = [layer.name for layer in network.layers]
    for layer in weighted_layers(network):
        if layer.get_weights()[0].size >= FEW_WEIGHTS:
            return set(names[: names.index(layer.name)])
    return set(names)


def weighted_layers(network: keras.Model) -> list[Any]:
    """Convolutions and dense layers, in the order of the network."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    return [layer for layer in network.layers if isinstance(layer, kinds)]


def _settled(layer: Any, kernel: npt.NDArray[np.float32], gram: Floats | None) -> Any:
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
    """Weights on 8-bit steps, shape (k, n): those of n outputs from k inputs.

    The largest weight of each output keeps its value, because its step follows from it.

    Args:
        gram: products of the inputs, summed over many films, shape (k, k); None to round plainly.
    """
    weights = weights.astype(np.float64)
    step = np.abs(weights).max(axis=0) / _STEPS
    step[step == 0] = 1
    if gram is None:
        return np.asarray(np.rint(weights / step) * step)
    largest = np.abs(weights).argmax(axis=0)
    ends = np.sign(weights[largest, np.arange(weights.shape[1])]) * _STEPS
    # What varies most is rounded first, while there is much left to make up for it.
    order = np.argsort(-np.diag(gram), kind="stable")
    shares = _shares(gram[np.ix_(order, order)])
    left = weights[order]
    rounded = np.empty_like(left)
    for index, row in enumerate(left):
        steps = np.clip(np.rint(row / step), -_STEPS, _STEPS)
        is_largest = largest == order[index]
        steps[is_largest] = ends[is_largest]
        rounded[index] = steps * step
        error = (row - rounded[index]) / shares[index, index]
        left[index + 1 :] -= np.outer(shares[index, index + 1 :], error)
    return np.asarray(rounded[np.argsort(order)])


def _shares(gram: Floats) -> Floats:
    """How the error of each input is shared out among the later ones, upper triangular."""
    gram = gram.copy()
    diagonal = np.diag(gram)
    # An input that was 0 on every film has no say.
    dead = diagonal <= 0
    damped = diagonal + _DAMPING * diagonal.mean()
    np.fill_diagonal(gram, np.where(dead, max(1.0, float(diagonal.max())), damped))
    return np.asarray(np.linalg.cholesky(np.linalg.inv(gram)).T)


def _grams(network: keras.Model, layers: list[Any], films: Tensors) -> Iterator[Floats | None]:
    """Products of the inputs of each layer, summed over `films`; None for one with too many."""
    chosen = [layer for layer in layers if _inputs(layer) <= _MOST_INPUTS]
    if not chosen:
        return (None for _layer in layers)
    sums: dict[str, Any] = {layer.name: 0.0 for layer in chosen}
    taps = keras.Model(network.input, {layer.name: layer.input for layer in chosen})
    for start in range(0, len(films), _BATCH):
        given = taps.predict_on_batch(films[start : start + _BATCH])
        for layer in chosen:
            sums[layer.name] += _gram(layer, np.asarray(given[layer.name]))
    return (sums.get(layer.name) for layer in layers)


def _inputs(layer: Any) -> int:
    """How many inputs each output of a layer has."""
    kernel = layer.get_weights()[0]
    return int(np.prod(kernel.shape[: 2 if _is_depthwise(layer) else -1]))


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def _gram(layer: Any, given: Tensors) -> Floats:
    """Shape (k, k), or (channels, k, k) of a depthwise convolution."""
    if isinstance(layer, keras.layers.Dense):
        return (given.T @ given).astype(np.float64)
    seen = _patches(layer, given)
    if _is_depthwise(layer):
        by_channel = np.ascontiguousarray(seen.transpose(2, 1, 0))
        return (by_channel @ by_channel.transpose(0, 2, 1)).astype(np.float64)
    flat = seen.reshape(len(seen), -1)
    return (flat.T @ flat).astype(np.float64)


def _patches(layer: Any, given: Tensors) -> Tensors:
    """What a convolution sees at some places, shape (places, kernel cells, channels)."""
    sizes, stride = layer.kernel_size, layer.strides[0]
    same = layer.padding == "same"
    edges, ends = [(0, 0)], []
    for side, size in zip(given.shape[1:3], sizes, strict=True):
        outputs = -(-side // stride) if same else (side - size) // stride + 1
        # TensorFlow puts the odd one of the padding at the end.
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
