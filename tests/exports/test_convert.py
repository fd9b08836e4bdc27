"""Every conversion gives what the original gives: score, embedding and map."""

import keras
import numpy as np
import pytest

from exports.convert.convert import convert
from exports.convert.keras import KerasPredictor
from exports.runtimes.load import load_target
from exports.targets import TARGETS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FILMS = np.random.default_rng(0).uniform(-1, 1, (5, 64, 64, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A network that pools, ready to be deployed, whose answers differ from film to film."""
    from screening.training.network.fold import fold
    from screening.training.network.networks import build

    keras.utils.set_random_seed(0)
    network = fold(build("small", (64, 64, 1)))
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([1000 * kernel, bias])
    path = tmp_path_factory.mktemp("model") / "model.keras"
    network.save(path)
    return KerasPredictor(path)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_conversion_gives_every_output_of_the_original(original, target, tmp_path):
    expected = original.predict(FILMS)
    assert expected.maps.std(axis=(1, 2)).min() > 0.01
    convert(original.network, target, tmp_path)
    predictor = load_target(tmp_path, target)
    assert predictor.has_map
    given = predictor.predict(FILMS)
    assert given.maps.shape == (5, 2, 2, 2)
    for name in ("scores", "embeddings", "maps"):
        given_values, expected_values = getattr(given, name), getattr(expected, name)
        assert given_values.dtype == np.float32
        # float16 holds a thousandth; the factor above is beyond what it rounds.
        np.testing.assert_allclose(given_values, expected_values, atol=2e-2)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_network_without_a_map_is_converted_without_one(target, tmp_path):
    inputs = keras.layers.Input((64, 64, 1), name="film")
    pooled = keras.layers.GlobalAveragePooling2D(name="embedding")(
        keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    )
    score = keras.layers.Dense(2, activation="softmax", name="score")(pooled)
    network = keras.Model(inputs, {"score": score, "embedding": pooled})
    convert(network, target, tmp_path)
    predictor = load_target(tmp_path, target)
    assert not predictor.has_map
    assert predictor.predict(FILMS).maps is None
