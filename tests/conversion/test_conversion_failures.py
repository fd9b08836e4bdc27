"""Tests of failing conversions."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from exports.convert.convert import Converter, converters
from exports.errors import ExportError
from exports.runtimes.load import load_target
from exports.targets import TARGETS
from screening.training.networks import PREPROCESSING

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EIGHT_BITS = [name for name, target in TARGETS.items() if target.has_8_bits]
FLOATS = [name for name in TARGETS if name not in EIGHT_BITS]


class Inverse(keras.layers.Layer):
    """A layer that LiteRT supports only with TensorFlow's own operators (Flex)."""

    def call(self, x):
        squares = x[..., 0] + 20 * tf.eye(x.shape[1])
        return x * tf.linalg.inv(squares)[..., tf.newaxis]


def small_network(between=None):
    """A network that converts quickly and has a layer with many weights."""
    keras.utils.set_random_seed(0)
    film = keras.layers.Input((16, 16, 1), name="film")
    x = keras.layers.Conv2D(128, 3, activation="relu")(film)
    x = x if between is None else between(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    score = keras.layers.Dense(2, activation="softmax", name="score")(pooled)
    return keras.Model(film, {"score": score, "embedding": pooled})


SMALL_FILMS = np.random.default_rng(0).uniform(0, 1, (8, 16, 16, 1)).astype(np.float32)
SMALL = replace(PREPROCESSING["reference"], rows=16, columns=16, channels=1)


@pytest.mark.parametrize("name", TARGETS)
def test_unsupported_operator_error_names_the_target(name, tmp_path):
    network = small_network(Inverse())
    assert np.isfinite(network.predict_on_batch(SMALL_FILMS)["score"]).all()
    converter = Converter(network, SMALL, SMALL_FILMS)
    with pytest.raises(ExportError, match=rf"^{name}: the conversion failed: (?s:.*)Inverse"):
        converter.write(TARGETS[name], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TARGETS)
def test_supported_network_is_converted_without_output(name, tmp_path, capsys):
    network = small_network()
    Converter(network, SMALL, SMALL_FILMS).write(TARGETS[name], tmp_path)
    assert capsys.readouterr().out == ""
    given = load_target(tmp_path, TARGETS[name]).predict(SMALL_FILMS).scores
    np.testing.assert_allclose(given, network.predict_on_batch(SMALL_FILMS)["score"], atol=0.02)


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_8_bits_without_films_are_an_error(name, tmp_path):
    converter = Converter(small_network(), SMALL)
    with pytest.raises(ExportError, match=f"^{name}: .* 8-bit targets need films"):
        converter.write(TARGETS[name], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FLOATS)
def test_float_targets_need_no_films(name, tmp_path):
    assert Converter(small_network(), SMALL).write(TARGETS[name], tmp_path).stat().st_size


@pytest.mark.parametrize("content", [None, b""], ids=["no file", "an empty file"])
@pytest.mark.parametrize("name", TARGETS)
def test_converter_that_writes_no_file_is_an_error(name, content, tmp_path, monkeypatch):
    def write(path):
        if content is not None:
            path.write_bytes(content)

    converter = Converter(small_network(), SMALL, SMALL_FILMS)
    monkeypatch.setitem(converter._writers, name, write)
    with pytest.raises(
        ExportError, match=f"^{name}: the converter did not write {TARGETS[name].file}"
    ):
        converter.write(TARGETS[name], tmp_path)


def test_versions_of_the_converters_are_known():
    assert set(converters()) >= {"tensorflow", "keras", "tf2onnx", "onnx"}
    assert all(version[0].isdigit() for version in converters().values())


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_network_of_small_layers_is_converted(name, tmp_path):
    keras.utils.set_random_seed(0)
    film = keras.layers.Input((16, 16, 1), name="film")
    x = keras.layers.Conv2D(4, 3, activation="relu")(film)
    pooled = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    score = keras.layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(film, {"score": score, "embedding": pooled})
    Converter(network, SMALL, SMALL_FILMS).write(TARGETS[name], tmp_path)
    given = load_target(tmp_path, TARGETS[name]).predict(SMALL_FILMS).scores
    np.testing.assert_allclose(given, network.predict_on_batch(SMALL_FILMS)["score"], atol=0.02)
