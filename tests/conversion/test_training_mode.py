"""Tests that no network is exported in training mode, as image layers of Keras would cause.

Without an explicit argument, such a layer and every layer after it run with ``training=True``. A
BatchNorm then uses the statistics of the batch instead of the learnt ones, also in an exported
model. ``predict`` passes ``training=False``, which hides the problem before the export.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from exports.convert.convert import Converter, KerasPredictor
from exports.errors import BundleError
from exports.parity import BATCH, answers, compare
from exports.runtimes.load import load_target
from exports.targets import TARGETS
from makers import make_card
from screening.model.preprocess import Preprocessing
from screening.training.networks import ARCHITECTURES, build
from screening.training.quantisation_ready import fold

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SIDE = 16

#: Films from dark to bright.
FILMS = np.random.default_rng(1).uniform(0, 1, (20, SIDE, SIDE, 1)).astype(np.float32)
FILMS *= np.linspace(0.1, 1, len(FILMS), dtype=np.float32).reshape(-1, 1, 1, 1)

CARD = replace(make_card(), preprocessing=Preprocessing(SIDE, SIDE))

FLOATS = [name for name, target in TARGETS.items() if not target.has_8_bits]

#: Image layers that do not change a film of this size.
IMAGE_LAYERS = {
    "Resizing": lambda: layers.Resizing(SIDE, SIDE),
    "CenterCrop": lambda: layers.CenterCrop(SIDE, SIDE),
    "RandomBrightness": lambda: layers.RandomBrightness(0.0, value_range=(0, 1)),
}


def norm_statistics(network):
    """Set statistics of the norms that differ from those of any batch of films."""
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            size = layer.get_weights()[0].size
            gamma, beta, mean = (
                rng.uniform(*ends, size) for ends in ((0.5, 1.5), (-1, 1), (-1, 1))
            )
            layer.set_weights([gamma, beta, mean, rng.uniform(2, 3, size)])


def network_with(image_layer=None):
    """Build a network of a convolution, a norm and the outputs; every call gives the same one."""
    film = layers.Input((SIDE, SIDE, 1), name="film")
    x = film if image_layer is None else image_layer()(film)
    x = layers.Conv2D(4, 3, use_bias=False, name="only_conv")(x)
    x = layers.ReLU(name="only_relu")(layers.BatchNormalization(name="only_bn")(x))
    pooled = layers.GlobalAveragePooling2D(name="embedding")(x)
    score = layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(film, {"score": score, "embedding": pooled})
    norm_statistics(network)
    kernel = np.random.default_rng(0).normal(0, 0.5, (3, 3, 1, 4))
    network.get_layer("only_conv").set_weights([kernel])
    # The median centres the log odds, so that half of the films are positive.
    means = network.predict_on_batch(FILMS)["embedding"]
    kernel = np.outer([1, -1, 1, -1], [-1, 1])
    steep = 2 / (means @ kernel).std()
    middle = np.median(means @ kernel, axis=0)
    network.get_layer("score").set_weights([steep * kernel, -steep * middle])
    return network


def apart(one, other):
    return max(float(np.abs(np.asarray(one[name]) - np.asarray(other[name])).max()) for name in one)


def from_saved_model(network, folder):
    network.export(folder, verbose=False)
    saved = tf.saved_model.load(folder)
    return saved.serve(FILMS)


def leaks(image_layer, folder):
    """Difference from `predict` of a network with such a layer, when called or exported."""
    expected = network_with(image_layer).predict_on_batch(FILMS)
    # Calling such a network changes its norms, so each measurement uses a new one.
    return {
        "model(x)": apart(expected, network_with(image_layer)(FILMS)),
        "model.export()": apart(expected, from_saved_model(network_with(image_layer), folder)),
    }


@pytest.mark.parametrize("image_layer", IMAGE_LAYERS.values(), ids=IMAGE_LAYERS)
def test_image_layer_puts_following_norms_into_training_mode(image_layer, tmp_path):
    found = leaks(image_layer, tmp_path / "saved")
    assert max(found.values()) > 0.01, (
        f"Keras {keras.__version__} has mended what image layers did to the norms after them: "
        f"{found}. The rule in screening/training/networks.py can be dropped."
    )


def test_network_without_image_layer_gives_equal_outputs(tmp_path):
    found = leaks(None, tmp_path / "saved")
    assert max(found.values()) < 1e-5


@pytest.mark.parametrize("image_layer", IMAGE_LAYERS.values(), ids=IMAGE_LAYERS)
def test_predict_is_not_affected_by_image_layers(image_layer):
    expected = network_with().predict_on_batch(FILMS)
    assert apart(expected, network_with(image_layer).predict_on_batch(FILMS)) < 1e-5


SHAPES = {"efficientnet-lite0": (64, 64, 1), "small": (64, 64, 1), "reference": (32, 32, 3)}


def ways_to_answer(network, films):
    """Outputs of `network` by the way of calling it."""
    return {
        "network(x)": network(films),
        "network(x, training=False)": network(films, training=False),
        "tf.function": tf.function(network)(films),
        "predict_on_batch": network.predict_on_batch(films),
    }


@pytest.mark.parametrize("folded", [False, True], ids=["fitted", "folded"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_our_networks_give_equal_outputs_for_every_call(architecture, folded):
    shape = SHAPES[architecture]
    network = build(architecture, shape)
    norm_statistics(network)
    network = fold(network) if folded else network
    films = np.random.default_rng(0).uniform(-1, 1, (4, *shape)).astype(np.float32)
    before = [value.copy() for value in network.get_weights()]
    given = ways_to_answer(network, films)
    for outputs in given.values():
        for name, expected in given["predict_on_batch"].items():
            scale = np.abs(expected).max()
            np.testing.assert_allclose(outputs[name], expected, atol=1e-4 * scale, rtol=1e-4)
    # A norm in training mode would update its statistics.
    for value, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("architecture", ["efficientnet-lite0", "small"])
def test_norms_in_training_mode_would_be_noticed(architecture):
    network = build(architecture, SHAPES[architecture])
    norm_statistics(network)
    films = np.random.default_rng(0).uniform(-1, 1, (4, *SHAPES[architecture])).astype(np.float32)
    expected = network.predict_on_batch(films)
    before = [value.copy() for value in network.get_weights()]
    given = network(films, training=True)
    assert np.abs(given["embedding"] - expected["embedding"]).max() > 0.1
    assert any(
        np.abs(value - other).max() > 1e-4
        for value, other in zip(network.get_weights(), before, strict=True)
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_our_networks_have_no_preprocessing_layer(architecture):
    network = build(architecture, SHAPES[architecture])
    for one in (network, fold(network)):
        kinds = {type(layer) for layer in one._flatten_layers()}
        assert layers.Conv2D in kinds
        assert not [kind for kind in kinds if is_preprocessing(kind)]


def is_preprocessing(kind):
    return any(".preprocessing." in base.__module__ for base in kind.__mro__)


@pytest.mark.parametrize("image_layer", IMAGE_LAYERS.values(), ids=IMAGE_LAYERS)
def test_preprocessing_layer_would_be_recognised(image_layer):
    kinds = {type(layer) for layer in network_with(image_layer)._flatten_layers()}
    assert len([kind for kind in kinds if is_preprocessing(kind)]) == 1


@pytest.fixture
def original(tmp_path):
    """A function that loads a network from a file, as an export does, with its answers."""

    def open_as_original(network):
        network.save(tmp_path / "model.keras")
        predictor = KerasPredictor(tmp_path / "model.keras")
        expected = answers(predictor, list(FILMS), CARD, BATCH)
        assert expected.probabilities.std() > 0.05
        assert {verdict.called for verdict in expected.verdicts} == {False, True}
        return predictor.network, expected

    return open_as_original


def breaches(target, folder, expected):
    """Breaches found by the parity check of a converted model, or the error on loading it."""
    labels = np.full(len(FILMS), -1)
    try:
        predictor = load_target(folder, target)
        return compare(target, predictor, expected, list(FILMS), labels, CARD).breaches
    except BundleError as error:
        return [str(error)]


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-float16"])
def test_conversion_in_training_mode_fails_the_parity_check(name, original, tmp_path):
    _network, expected = original(network_with(IMAGE_LAYERS["Resizing"]))
    target = TARGETS[name]
    network_with(IMAGE_LAYERS["Resizing"]).export(tmp_path / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    if name == "tflite-float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    (tmp_path / target.file).write_bytes(converter.convert())
    found = breaches(target, tmp_path, expected)
    assert any("a probability differs by" in breach for breach in found)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("image_layer", [None, IMAGE_LAYERS["Resizing"]], ids=["none", "Resizing"])
def test_our_conversion_of_the_same_network_passes(name, image_layer, original, tmp_path):
    network, expected = original(network_with(image_layer))
    Converter(network, CARD.preprocessing).write(TARGETS[name], tmp_path)
    assert breaches(TARGETS[name], tmp_path, expected) == []


def test_conversion_that_loses_weights_fails_the_parity_check(original, tmp_path):
    network, expected = original(network_with())
    target = TARGETS["tflite-float32"]
    call = tf.function(network).get_concrete_function(
        tf.TensorSpec((None, SIDE, SIDE, 1), tf.float32, name="film")
    )
    # The converter looks for TensorFlow variables in the Keras model and finds none.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call], network)
    (tmp_path / target.file).write_bytes(converter.convert())
    assert breaches(target, tmp_path, expected), (
        f"TensorFlow {tf.__version__} has mended from_concrete_functions for Keras models"
    )
    Converter(network, CARD.preprocessing).write(target, tmp_path)
    assert breaches(target, tmp_path, expected) == []
