"""Tests of networks with ranges: each feature map is rounded once, to a suitable range."""

from collections import defaultdict

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import layers

from exports.convert.quantize import (
    Range,
    RoundedRanges,
    _measured,
    first_layers,
    weighted_layers,
    with_ranges,
)
from screening.model.preprocess import Preprocessing
from screening.training.networks import PREPROCESSING, build
from screening.training.quantisation_ready import fold

QUICK = settings(deadline=None, max_examples=100, database=None)

#: Preprocessing of the networks below.
GREY = Preprocessing(12, 12, scale=2.0, offset=-1.0)


def uniform_films(seed=0, films=8, shape=(12, 12, 1)):
    return np.random.default_rng(seed).uniform(-1, 1, (films, *shape)).astype(np.float32)


@given(
    low=st.floats(-100, 0, width=32),
    high=st.floats(0, 100, width=32),
    values=arrays.arrays(np.float32, 20, elements=st.floats(-200, 200, width=32)),
)
@QUICK
def test_rounding_moves_values_less_than_a_step_or_clips_them(low, high, values):
    if high - low < 1e-3:
        return
    rounded = np.asarray(RoundedRanges(Range.of(low, high))(values))
    step = (high - low) / 255
    assert np.abs(rounded - np.clip(values, low, high)).max() <= 1.001 * step
    steps = rounded / step
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-2)
    assert np.asarray(RoundedRanges(Range.of(low, high))(np.zeros(1, np.float32))) == 0


def tiny_network(first_filters=4):
    """Two convolutions; with many filters, the first one has many weights."""
    keras.utils.set_random_seed(0)
    film = layers.Input((12, 12, 1), name="film")
    x = layers.Conv2D(first_filters, 3, activation="relu", name="first")(film)
    x = layers.Conv2D(32, 3, name="second")(x)
    x = layers.ReLU(6.0, name="second_relu")(x)
    pooled = layers.GlobalAveragePooling2D(name="embedding")(x)
    score = layers.Dense(2, activation="softmax", name="score")(pooled)
    return keras.Model(film, {"score": score, "embedding": pooled})


def body_of(ranged):
    """The inner network of a network with ranges."""
    (body,) = (layer for layer in ranged.layers if isinstance(layer, keras.Model))
    return body


def rounded_in(network):
    """Names of the layers whose outputs are rounded, in network order."""
    return [read_by(layer) for layer in network.layers if isinstance(layer, RoundedRanges)]


def read_by(layer):
    """Name of the layer that `layer` reads."""
    return layer.input._keras_history.operation.name


def rounds_the_film(ranged):
    return "film" in rounded_in(ranged)


@pytest.mark.parametrize("seed", range(3))
def test_outputs_change_by_no_more_than_the_steps_allow(seed):
    network, films = tiny_network(), uniform_films(seed)
    ranged = with_ranges(network, films, GREY)
    found = _measured(network, ["first", "second_relu"], films)
    first, second = ((one.high - one.low) / 255 for one in found.values())
    # At most one step per map; the step of the first is scaled by the weights of the second layer.
    kernel = network.get_layer("second").get_weights()[0]
    allowed = first * np.abs(kernel).sum(axis=(0, 1, 2)).max() + second
    expected, given_by_it = network.predict_on_batch(films), ranged.predict_on_batch(films)
    apart = np.abs(given_by_it["embedding"] - expected["embedding"])
    assert 0 < apart.max() < allowed
    assert allowed < 0.1 * expected["embedding"].max()
    np.testing.assert_allclose(given_by_it["score"], expected["score"], atol=allowed)


def test_outputs_keep_their_names():
    network = tiny_network()
    for ends in (False, True):
        ranged = with_ranges(network, uniform_films(), GREY, ends=ends)
        assert set(ranged.output) == {"score", "embedding"}
        assert ranged.input.shape == network.input.shape


def test_first_layers_are_rounded_only_if_later_layers_read_them():
    keras.utils.set_random_seed(0)
    film = layers.Input((12, 12, 1), name="film")
    x = layers.Conv2D(4, 3, activation="relu", name="first")(film)
    x = layers.Conv2D(4, 3, activation="relu", name="next")(x)
    x = layers.Conv2D(40, 3, activation="relu", name="many")(x)
    x = layers.Conv2D(4, 1, activation="relu", name="few")(x)
    pooled = layers.GlobalAveragePooling2D(name="embedding")(x)
    score = layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(film, {"score": score, "embedding": pooled})
    ranged = with_ranges(network, uniform_films(), GREY)
    assert rounded_in(body_of(ranged)) == ["next", "many", "few"]


@pytest.mark.parametrize(("first_filters", "rounds"), [(4, False), (113, False), (114, True)])
def test_film_is_rounded_only_if_first_layer_has_many_weights(first_filters, rounds):
    network = tiny_network(first_filters)
    assert (len(first_layers(network)) == 1) is rounds
    ranged = with_ranges(network, uniform_films(), GREY)
    assert rounds_the_film(ranged) is rounds
    assert rounded_in(ranged) == ["film"] * rounds


@pytest.mark.parametrize("first_filters", [4, 114])
def test_ends_option_rounds_film_outputs_and_pooling(first_filters):
    network, films = tiny_network(first_filters), uniform_films()
    ranged = with_ranges(network, films, GREY, ends=True)
    body = body_of(ranged)
    assert rounds_the_film(ranged)
    assert rounded_in(body) == ["first", "second_relu", "embedding"]
    # The rounded ends are film, score and embedding.
    assert sum(isinstance(layer, RoundedRanges) for layer in ranged.layers) == 3
    expected, given_by_it = network.predict_on_batch(films), ranged.predict_on_batch(films)
    for name, values in given_by_it.items():
        assert len(np.unique(values)) <= 256
        assert 0 < np.abs(values - expected[name]).max() < 0.05


@pytest.mark.parametrize(
    ("preprocessing", "low", "high"),
    [
        (Preprocessing(12, 12), 0, 1),
        (Preprocessing(12, 12, scale=2.0, offset=-1.0), -1, 1),
        (PREPROCESSING["efficientnet-lite0"], -127 / 128, 1),
    ],
)
def test_range_of_the_film_is_black_to_white_for_any_films(preprocessing, low, high):
    grey = np.full((2, 12, 12, 1), 0.1, np.float32)
    ranged = with_ranges(tiny_network(), grey, preprocessing, ends=True)
    (film,) = (
        layer
        for layer in ranged.layers
        if isinstance(layer, RoundedRanges) and read_by(layer) == "film"
    )
    assert (film.range.low, film.range.high) == (pytest.approx(low), pytest.approx(high))


def readers(network):
    """Layers that read each output, by the name of the layer or operation that computes it."""
    found = defaultdict(list)
    for layer in network.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            for tensor in keras.tree.flatten(layer.input):
                found[tensor._keras_history.operation.name].append(layer)
    return found


def times_rounded(network, layer):
    """Number of roundings of the output of `layer` before another layer computes with it."""
    after, times = readers(network), 0
    while len(after[layer.name]) == 1:
        (layer,) = after[layer.name]
        if not isinstance(layer, RoundedRanges | layers.ReLU | layers.Identity):
            break
        times += isinstance(layer, RoundedRanges)
    return times


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("architecture", "shape"), [("small", (64, 64, 1)), ("efficientnet-lite0", (32, 32, 1))]
)
def test_each_layer_output_is_rounded_once(architecture, shape, ends):
    network = fold(build(architecture, shape))
    films = uniform_films(films=2, shape=shape)
    body = body_of(with_ranges(network, films, PREPROCESSING[architecture], ends=ends))
    first = first_layers(network)
    computing = weighted_layers(body) + [x for x in body.layers if isinstance(x, layers.Add)]
    # The last of the first layers is read by a layer with 8-bit inputs.
    last = [layer.name for layer in weighted_layers(network) if layer.name in first][-1]
    for layer in computing:
        assert times_rounded(body, layer) == (layer.name not in first or layer.name == last)


def test_small_cnn_is_rounded_at_the_outputs_of_fused_layers():
    network = fold(build("small", (64, 64, 1)))
    films = uniform_films(films=2, shape=(64, 64, 1))
    ranged = with_ranges(network, films, PREPROCESSING["small"])
    stages = ("1_1", "2_1", "2_2", "3_1", "3_2", "4_1", "5_1")
    maps = [f"stage{stage}_relu" for stage in stages]
    assert rounded_in(body_of(ranged)) == [*maps, "logits"]
    assert rounded_in(ranged) == []
    with_ends = with_ranges(network, films, PREPROCESSING["small"], ends=True)
    pooled = ["embedding_pool", "embedding_mean2", "embedding_mean3", "logits_pool"]
    assert sorted(rounded_in(body_of(with_ends))) == sorted([*maps, "logits", *pooled])
    assert sum(isinstance(layer, RoundedRanges) for layer in with_ends.layers) == 1 + 3


def test_rounding_does_not_change_the_original_network():
    network, films = tiny_network(), uniform_films()
    weights = [value.copy() for value in network.get_weights()]
    names, expected = [layer.name for layer in network.layers], network.predict_on_batch(films)
    ranged = with_ranges(network, films, GREY, ends=True)
    assert [layer.name for layer in network.layers] == names
    for value, before in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, before)
    for name, values in network.predict_on_batch(films).items():
        np.testing.assert_array_equal(values, expected[name])
    # The copy has its own weights.
    first = body_of(ranged).get_layer("first")
    first.set_weights([2 * value for value in first.get_weights()])
    np.testing.assert_array_equal(network.get_layer("first").get_weights()[0], weights[0])


def test_feature_map_of_zeros_stays_zero():
    network, films = tiny_network(), uniform_films()
    kernel, bias = network.get_layer("second").get_weights()
    network.get_layer("second").set_weights([0 * kernel, bias - 1])
    given_by_it = with_ranges(network, films, GREY).predict_on_batch(films)
    np.testing.assert_array_equal(given_by_it["embedding"], 0)


def test_network_of_small_layers_is_not_rounded():
    film = layers.Input((12, 12, 1), name="film")
    x = layers.Conv2D(4, 3, activation="relu", name="first")(film)
    pooled = layers.GlobalAveragePooling2D(name="embedding")(x)
    score = layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(film, {"score": score, "embedding": pooled})
    films = uniform_films()
    given_by_it = with_ranges(network, films, GREY).predict_on_batch(films)
    for name, values in network.predict_on_batch(films).items():
        np.testing.assert_allclose(given_by_it[name], values, atol=1e-6)
