"""Tests of GPTQ rounding: weights become 8-bit steps and layer outputs change least."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from exports.convert.quantize import _gram, _patches, first_layers, gptq_round, round_weights
from screening.training.networks import build
from screening.training.quantisation_ready import fold

QUICK = settings(deadline=None, max_examples=100, database=None)


def some_weights(seed, inputs=40, outputs=6):
    """Weights whose scale differs between outputs, as in a trained layer."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (inputs, outputs)) * rng.uniform(0.01, 10, outputs)


def correlated_gram(seed, inputs=40, films=200):
    """Gram matrix of correlated inputs, as of neighbours in a feature map."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(0, 1, (films, inputs // 4)) @ rng.normal(0, 1, (inputs // 4, inputs))
    seen = np.maximum(mixed + rng.normal(0, 0.3, mixed.shape) + 1, 0)
    return seen.T @ seen


def lost(weights, rounded, gram):
    """Sum of squared errors of all outputs over the films."""
    error = rounded - weights
    return float(np.trace(error.T @ gram @ error))


def in_steps(weights, of):
    """`weights` in units of the steps that a converter chooses for each output of `of`."""
    largest = np.abs(of).max(axis=0)
    return weights / np.where(largest == 0, 1, largest / 127)


def assert_on_steps(weights, of):
    steps = in_steps(weights, of)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert np.abs(steps).max() < 127.001


WEIGHTS = st.builds(
    some_weights, st.integers(0, 10**6), inputs=st.integers(1, 30), outputs=st.integers(1, 5)
)


@given(weights=WEIGHTS, seed=st.none() | st.integers(0, 10**6))
@QUICK
def test_rounded_weights_are_whole_8_bit_steps(weights, seed):
    gram = None if seed is None else correlated_gram(seed, len(weights))
    assert_on_steps(round_weights(weights, gram), weights)


@given(weights=WEIGHTS, seed=st.none() | st.integers(0, 10**6))
@QUICK
def test_rounding_again_changes_nothing(weights, seed):
    gram = None if seed is None else correlated_gram(seed, len(weights))
    rounded = round_weights(weights, gram)
    columns = np.arange(weights.shape[1])
    largest = np.abs(weights).argmax(axis=0)
    np.testing.assert_allclose(rounded[largest, columns], weights[largest, columns], rtol=1e-12)
    assert_on_steps(rounded, of=rounded)
    np.testing.assert_allclose(round_weights(rounded, None), rounded, rtol=1e-9)


@given(weights=WEIGHTS)
@QUICK
def test_without_films_weights_are_rounded_to_nearest(weights):
    error = np.abs(in_steps(round_weights(weights, None) - weights, of=weights))
    assert error.max() <= 0.5 + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_rounding_with_films_changes_outputs_less(seed):
    weights, gram = some_weights(seed), correlated_gram(seed)
    plain = lost(weights, round_weights(weights, None), gram)
    gptq = lost(weights, round_weights(weights, gram), gram)
    assert gptq < plain / 2


@pytest.mark.parametrize("seed", range(4))
def test_uncorrelated_inputs_are_rounded_to_nearest(seed):
    weights = some_weights(seed)
    gram = np.diag(np.random.default_rng(seed).uniform(1, 2, len(weights)))
    np.testing.assert_allclose(round_weights(weights, gram), round_weights(weights, None))


@pytest.mark.parametrize("dead", [[0], [3, 7, 39], list(range(39)), list(range(40))])
def test_inputs_that_are_always_zero_do_not_affect_others(dead):
    weights, gram = some_weights(1), correlated_gram(1)
    gram[dead, :] = gram[:, dead] = 0
    rounded = round_weights(weights, gram)
    assert_on_steps(rounded, of=weights)
    plain = round_weights(weights, None)
    np.testing.assert_allclose(rounded[dead], plain[dead])
    if len(dead) < 10:
        assert lost(weights, rounded, gram) < lost(weights, plain, gram) / 1.5


@pytest.mark.parametrize("gram", [None, correlated_gram(2)], ids=["plain", "with films"])
def test_output_with_zero_weights_stays_zero(gram):
    weights = some_weights(2)
    expected = round_weights(weights, gram)
    weights[:, 2] = expected[:, 2] = 0
    np.testing.assert_allclose(round_weights(weights, gram), expected)


def test_singular_gram_matrix_is_sufficient():
    weights = some_weights(3)
    seen = np.random.default_rng(3).normal(0, 1, (2, len(weights)))
    rounded = round_weights(weights, seen.T @ seen)
    assert_on_steps(rounded, of=weights)
    plain = round_weights(weights, None)
    assert lost(weights, rounded, seen.T @ seen) < lost(weights, plain, seen.T @ seen)


@pytest.mark.parametrize("deployed", [False, True], ids=["fitted", "folded"])
def test_first_layers_of_lite0_are_stem_and_block0(deployed):
    network = build("efficientnet-lite0", (32, 32, 1))
    names = first_layers(fold(network) if deployed else network)
    assert names == {
        "film",
        *(f"stem_{part}" for part in ("conv", "bn", "relu")),
        *(f"block0_depthwise_{part}" for part in ("conv", "bn", "relu")),
        "block0_project_conv",
        "block0_project_bn",
    }


def test_first_layers_of_small_cnn_are_its_first_convolution():
    names = first_layers(build("small", (64, 64, 1)))
    assert names == {"film", "stage1_1_conv", "stage1_1_bn", "stage1_1_relu"}


def test_reference_cnn_has_no_first_layers_except_the_film():
    assert first_layers(build("reference", (32, 32, 3))) == {"film"}


def small_network():
    """A network with all kinds of layers with weights; the first and one later layer have few."""
    keras.utils.set_random_seed(0)
    film = layers.Input((20, 20, 3), name="film")
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="first")(film)
    x = layers.Conv2D(16, 3, activation="relu", name="many")(x)
    x = layers.DepthwiseConv2D(3, 2, padding="same", activation="relu", name="depthwise")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="same")(x)
    x = layers.Conv2D(8, 3, 2, activation="relu", name="strided")(x)
    pooled = layers.GlobalAveragePooling2D(name="embedding")(x)
    score = layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(film, {"score": score, "embedding": pooled})
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.uniform(0, 0.2, bias.shape)])
    return network


def smooth_films(seed, films=12, side=20):
    """Films with correlated neighbours, shape (films, side, side, 3)."""
    noise = np.random.default_rng(seed).normal(0, 1, (films, side, side, 3))
    for axis in (1, 2):
        noise = sum(np.roll(noise, shift, axis) for shift in range(4)) / 3
    return noise.astype(np.float32)


LATER = ("many", "depthwise", "same", "strided", "score")


@pytest.fixture(scope="module")
def pair():
    """A network, a copy of its weights, and the rounded network."""
    network = small_network()
    before = [value.copy() for value in network.get_weights()]
    return network, before, gptq_round(network, smooth_films(0))


@pytest.mark.parametrize("name", LATER)
def test_later_kernels_are_whole_steps_per_output(pair, name):
    network, _before, gptq = pair
    kernel, rounded = (one.get_layer(name).get_weights()[0] for one in (network, gptq))
    outputs = kernel.shape[2] if name == "depthwise" else kernel.shape[-1]
    kernel, rounded = kernel.reshape(-1, outputs), rounded.reshape(-1, outputs)
    assert_on_steps(rounded, of=kernel)
    np.testing.assert_allclose(np.abs(rounded).max(axis=0), np.abs(kernel).max(axis=0), rtol=1e-6)
    change = np.abs(rounded - kernel) / np.abs(kernel).max(axis=0)
    assert 0 < change.max() < 0.2


def test_first_layers_keep_their_weights(pair):
    network, _before, gptq = pair
    assert first_layers(network) == {"film", "first"}
    kernel, rounded = (one.get_layer("first").get_weights()[0] for one in (network, gptq))
    np.testing.assert_array_equal(rounded, kernel)


def test_biases_are_not_changed(pair):
    network, _before, gptq = pair
    for name in ("first", *LATER):
        bias, other = (one.get_layer(name).get_weights()[1] for one in (network, gptq))
        np.testing.assert_array_equal(other, bias)


def test_rounding_does_not_change_the_original_network(pair):
    network, before, gptq = pair
    assert gptq is not network
    for value, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_gptq_is_closer_to_the_original_than_round_to_nearest(pair, monkeypatch):
    network, _before, gptq = pair
    monkeypatch.setattr(
        "exports.convert.quantize._grams", lambda _network, chosen, _films: [None] * len(chosen)
    )
    plain = gptq_round(network, smooth_films(0))
    # Films that were not used for rounding.
    films = smooth_films(1, 64)
    expected = network.predict_on_batch(films)["embedding"]
    apart = [
        np.abs(one.predict_on_batch(films)["embedding"] - expected).mean() for one in (gptq, plain)
    ]
    assert 0 < apart[0] < 0.5 * apart[1]


def test_layer_with_very_many_inputs_is_rounded_to_nearest(pair, monkeypatch):
    network, _before, _gptq = pair
    monkeypatch.setattr("exports.convert.quantize._MOST_INPUTS", 100)
    gptq = gptq_round(network, smooth_films(0))
    for name, plainly in [("same", True), ("score", False)]:
        kernel, rounded = (one.get_layer(name).get_weights()[0] for one in (network, gptq))
        expected = round_weights(kernel.reshape(-1, kernel.shape[-1]), None)
        error = np.abs(rounded.reshape(expected.shape) - expected).max()
        assert bool(error < 1e-6) is plainly


def test_settling_does_not_hang_on_how_films_fall_into_batches(pair):
    network, _before, gptq = pair
    films = smooth_films(0)
    again = gptq_round(network, films[np.r_[5:12, 0:5]])
    for value, expected in zip(again.get_weights(), gptq.get_weights(), strict=True):
        largest = np.abs(expected).max()
        # Sums in another order may move a weight that is on the edge of two steps.
        assert (np.abs(value - expected) > 1e-6 * largest).mean() < 0.05


def test_network_of_small_layers_is_not_changed():
    film = layers.Input((8, 8, 1), name="film")
    x = layers.Conv2D(4, 3, activation="relu", name="first")(film)
    pooled = layers.GlobalAveragePooling2D(name="embedding")(x)
    score = layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(film, {"score": score, "embedding": pooled})
    gptq = gptq_round(network, np.ones((2, 8, 8, 1), np.float32))
    for value, expected in zip(gptq.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)


#: Kernel, stride, padding, rows and columns; places of the largest maps are subsampled.
CONVOLUTIONS = [
    (kernel, stride, padding, rows, columns)
    for kernel in (1, 3, 5)
    for stride in (1, 2)
    for padding in ("same", "valid")
    for rows, columns in ((9, 9), (10, 10), (9, 12), (13, 8), (31, 30), (64, 45))
]


def outputs_at(outputs, places):
    """Every m-th row and column of `outputs`, with m such that `places` values remain."""
    for leap in range(1, outputs.shape[1] + 1):
        some = outputs[:, ::leap, ::leap]
        if np.prod(some.shape[:3]) == places:
            return some.reshape(places, -1), leap
    raise AssertionError(f"{places} places are no grid of {outputs.shape}")


@pytest.mark.parametrize(("kernel", "stride", "padding", "rows", "columns"), CONVOLUTIONS)
def test_patches_of_a_convolution_reproduce_its_outputs(kernel, stride, padding, rows, columns):
    films = np.random.default_rng(0).normal(0, 1, (2, rows, columns, 3)).astype(np.float32)
    layer = layers.Conv2D(4, kernel, stride, padding=padding, use_bias=False)
    outputs = np.asarray(layer(films))
    seen = _patches(layer, films)
    expected, leap = outputs_at(outputs, len(seen))
    given = seen.reshape(len(seen), -1) @ layer.get_weights()[0].reshape(-1, 4)
    np.testing.assert_allclose(given, expected, atol=1e-4)
    # Large maps are subsampled, small ones are not.
    assert (leap == 1) is (outputs.shape[1] < 28)
    assert len(seen) <= 2 * 28 * 28
    gram = _gram(layer, films)
    weights = layer.get_weights()[0].reshape(-1, 4)
    np.testing.assert_allclose(weights.T @ gram @ weights, expected.T @ expected, rtol=1e-3)


@pytest.mark.parametrize(("kernel", "stride", "padding", "rows", "columns"), CONVOLUTIONS)
def test_patches_of_a_depthwise_convolution_are_per_channel(kernel, stride, padding, rows, columns):
    films = np.random.default_rng(0).normal(0, 1, (2, rows, columns, 3)).astype(np.float32)
    layer = layers.DepthwiseConv2D(kernel, stride, padding=padding, use_bias=False)
    outputs = np.asarray(layer(films))
    seen = _patches(layer, films)
    expected, _leap = outputs_at(outputs, len(seen))
    weights = layer.get_weights()[0].reshape(-1, 3)
    np.testing.assert_allclose(np.einsum("pkc,kc->pc", seen, weights), expected, atol=1e-4)
    gram = _gram(layer, films)
    assert gram.shape == (3, kernel**2, kernel**2)
    energy = np.einsum("kc,ckl,lc->c", weights, gram, weights)
    np.testing.assert_allclose(energy, (expected**2).sum(axis=0), rtol=1e-3)


def test_gram_of_a_dense_layer_reproduces_its_outputs():
    given_to_it = np.random.default_rng(0).normal(0, 1, (5, 7)).astype(np.float32)
    layer = layers.Dense(3, use_bias=False)
    outputs = np.asarray(layer(given_to_it))
    (weights,) = layer.get_weights()
    gram = _gram(layer, given_to_it)
    np.testing.assert_allclose(weights.T @ gram @ weights, outputs.T @ outputs, atol=1e-4)
