"""A folded network gives the same outputs as the original."""

import keras
import numpy as np
import pytest
from keras import layers

from screening.training.quantisation_ready import fold


def small_network(kind: type[layers.Layer]) -> keras.Model:
    """One convolution with a norm whose statistics differ from the initial ones."""
    inputs = layers.Input((8, 8, 4), name="film")
    settings = {"kernel_size": 3, "padding": "same", "use_bias": False, "name": "only_conv"}
    convolution = kind(**settings) if kind is layers.DepthwiseConv2D else kind(6, **settings)
    x = layers.BatchNormalization(epsilon=1e-3, name="only_bn")(convolution(inputs))
    pooled = layers.GlobalAveragePooling2D(name="embedding")(x)
    score = layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(inputs, {"score": score, "embedding": pooled})
    rng = np.random.default_rng(0)
    for layer in network.layers:
        layer.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    return network


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.DepthwiseConv2D])
def test_folded_convolution_equals_convolution_and_norm(kind):
    network = small_network(kind)
    films = np.random.default_rng(1).uniform(-1, 1, (3, 8, 8, 4)).astype(np.float32)
    before, after = network.predict_on_batch(films), fold(network).predict_on_batch(films)
    # Rounding to half precision changes a weight by at most one part in 2048.
    np.testing.assert_allclose(after["embedding"], before["embedding"], atol=0.03)
    np.testing.assert_allclose(after["score"], before["score"], atol=0.01)
    assert np.abs(before["embedding"]).max() > 1


def test_every_folded_weight_is_exact_in_half_precision():
    folded = fold(small_network(layers.Conv2D))
    weights = [value for layer in folded.layers for value in layer.get_weights()]
    assert len(weights) == 4
    for value in weights:
        np.testing.assert_array_equal(value, value.astype(np.float16).astype(np.float32))


def test_folded_network_has_no_norms():
    folded = fold(small_network(layers.Conv2D))
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    assert folded.count_params() == 3 * 3 * 4 * 6 + 6 + 6 * 2 + 2
