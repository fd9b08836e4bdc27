"""Evidence maps of Keras networks: class activation maps and Grad-CAM."""

import keras
import numpy as np
import pytest
from keras import layers

from screening.training.gradcam import activation, grad_cam

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def films(number: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (number, 64, 64, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def pooling() -> keras.Model:
    """A network that ends in global pooling, with the initial statistics of its norms."""
    from screening.training.networks import build

    keras.utils.set_random_seed(0)
    network = build("small", (64, 64, 1))
    # Random weights give almost no evidence, so they are scaled up.
    kernel, _zeros = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([1000 * kernel, np.array([0.5, -0.25])])
    return network


@pytest.fixture(scope="module")
def dense() -> keras.Model:
    """A network that ends in dense layers."""
    keras.utils.set_random_seed(1)
    inputs = layers.Input((64, 64, 1), name="film")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    x = layers.MaxPooling2D(8)(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="last")(x)
    flat = layers.Flatten()(x)
    score = layers.Dense(2, activation="softmax", name="score")(layers.Dense(5, "tanh")(flat))
    return keras.Model(inputs, {"score": score, "embedding": flat})


@pytest.mark.parametrize("layer", ["stage5_1_relu", "logits"])
def test_grad_cam_of_a_pooling_network_is_its_map_without_the_bias(pooling, layer):
    _kernel, bias = pooling.get_layer("logits").get_weights()
    maps = activation(pooling, films(5))
    # Grad-CAM of the logits themselves includes the contribution of the bias to every cell.
    expected = maps - (0 if layer == "logits" else bias[1] - bias[0])
    assert (expected > 0).any()
    assert (expected < 0).any()
    cells = maps.shape[1] * maps.shape[2]
    given = grad_cam(pooling, films(5), layer)
    np.testing.assert_allclose(given * cells, np.maximum(expected, 0), rtol=1e-3, atol=1e-4)


def test_activation_of_a_pooling_network_is_the_evidence_in_its_map(pooling):
    outputs = pooling.predict_on_batch(films(3))
    expected = outputs["map"][..., 1] - outputs["map"][..., 0]
    np.testing.assert_allclose(activation(pooling, films(3)), expected, atol=1e-5)


def test_grad_cam_follows_its_definition(dense):
    """Compared with finite differences of the log odds, by cell and channel."""
    (film,) = films(1)
    head = keras.Model(dense.get_layer("last").output, dense.output["score"])
    cells = keras.Model(dense.input, dense.get_layer("last").output).predict_on_batch(film[None])
    step = 1e-2
    moved = np.repeat(cells, 2 * cells.size, axis=0).reshape(2, cells.size, -1)
    moved[0] += step * np.eye(cells.size, dtype=np.float32)
    moved[1] -= step * np.eye(cells.size, dtype=np.float32)
    scores = head.predict_on_batch(moved.reshape(-1, *cells.shape[1:])).astype(np.float64)
    odds = np.log(scores[:, 1] / scores[:, 0]).reshape(2, -1)
    gradient = ((odds[0] - odds[1]) / (2 * step)).reshape(cells.shape)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * cells).sum(axis=-1), 0)
    given = grad_cam(dense, film[None])
    assert given.shape == (1, 8, 8)
    assert given.max() > 0
    np.testing.assert_allclose(given, expected, atol=0.02 * expected.max())


def test_certain_network_still_has_a_map(dense):
    """In float32 the gradient of its softmax is zero."""
    sure = keras.models.clone_model(dense)
    sure.set_weights(dense.get_weights())
    kernel, bias = sure.get_layer("score").get_weights()
    sure.get_layer("score").set_weights([kernel * 1e5, bias])
    (index,) = np.flatnonzero([layer.name == "score" for layer in sure.layers])
    assert index == len(sure.layers) - 1
    assert set(np.unique(sure.predict_on_batch(films(4))["score"])) <= {0.0, 1.0}
    given = grad_cam(sure, films(4))
    np.testing.assert_allclose(given, 1e5 * grad_cam(dense, films(4)), rtol=1e-3, atol=1e-3)
    assert given.max() > 0


def test_film_has_the_same_activation_alone_and_in_a_batch(dense):
    together = activation(dense, films(19))
    assert together.shape == (19, 8, 8)
    alone = [activation(dense, film[None])[0] for film in films(19)[[0, 7, 8, 18]]]
    np.testing.assert_allclose(together[[0, 7, 8, 18]], alone, atol=1e-5)


def test_reference_cnn_has_activations_at_its_last_convolution():
    from screening.training.networks import build

    keras.utils.set_random_seed(0)
    given = activation(build("reference", (64, 64, 3)), films(1, channels=3))
    assert given.shape == (1, 4, 4)
    assert np.isfinite(given).all()
    assert (given >= 0).all()


def test_frozen_weights_make_no_difference(dense):
    expected = grad_cam(dense, films(2))
    dense.trainable = False
    try:
        np.testing.assert_array_equal(grad_cam(dense, films(2)), expected)
    finally:
        dense.trainable = True
