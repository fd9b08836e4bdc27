"""Prepare a fitted network for deployment: fold BatchNorm and round weights to float16."""

from typing import Any

import keras
import numpy as np


def fold(network: keras.Model) -> keras.Model:
    """Fold every BatchNorm into its convolution and round the weights to float16.

    At inference a BatchNorm is a scale and a shift of the convolution before it (Jacob et al., CVPR
    2018, section 3.2), so folding does not change the output. Rounding changes it slightly, once,
    before calibration, threshold and metrics are computed; the later float16 conversion then loses
    nothing. Without this rounding, single films near the threshold moved by 0.01.

    Args:
        network: its convolutions are named ``NAME_conv``, and their norms ``NAME_bn``.
    """
    norms = {
        layer.name.removesuffix("_bn"): layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    folded = keras.models.clone_model(
        network,
        clone_function=lambda layer: _clone(layer, norms),
        # BatchNorm is called with a mask, which the layer that replaces it does not take.
        call_function=lambda layer, *inputs, **_mask: layer(*inputs),
    )
    for layer in network.layers:
        if not layer.weights or layer in norms.values():
            continue
        values = layer.get_weights()
        norm = norms.get(layer.name.removesuffix("_conv"))
        if norm is not None:
            values = _folded(layer, norm)
        half = [value.astype(np.float16).astype(np.float32) for value in values]
        folded.get_layer(layer.name).set_weights(half)
    return folded


def _clone(layer: keras.layers.Layer, norms: dict[str, Any]) -> keras.layers.Layer:
    if layer in norms.values():
        return keras.layers.Identity(name=layer.name)
    settings = layer.get_config()
    if layer.name.removesuffix("_conv") in norms:
        settings["use_bias"] = True
    return type(layer).from_config(settings)


def _folded(convolution: Any, norm: Any) -> list[np.ndarray[Any, Any]]:
    """Kernel and bias of ``norm(convolution(x))`` as one convolution."""
    (kernel,) = convolution.get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    return [kernel * (scale[:, np.newaxis] if depthwise else scale), beta - mean * scale]
