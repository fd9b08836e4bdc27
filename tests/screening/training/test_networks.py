import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: (layer, output shape, parameters) of the reference CNN at 224 x 224 x 3.
REFERENCE_LAYERS = [
    ("film", (224, 224, 3), 0),
    ("block1_conv1", (224, 224, 64), 1_792),
    ("block1_conv2", (224, 224, 64), 36_928),
    ("block1_pool", (112, 112, 64), 0),
    ("block2_conv1", (112, 112, 128), 73_856),
    ("block2_conv2", (112, 112, 128), 147_584),
    ("block2_pool", (56, 56, 128), 0),
    ("block3_conv1", (56, 56, 256), 295_168),
    ("block3_conv2", (56, 56, 256), 590_080),
    ("block3_conv3", (56, 56, 256), 590_080),
    ("block3_pool", (28, 28, 256), 0),
    ("block4_conv1", (28, 28, 512), 1_180_160),
    ("block4_conv2", (28, 28, 512), 2_359_808),
    ("block4_conv3", (28, 28, 512), 2_359_808),
    ("block4_pool", (14, 14, 512), 0),
    ("block5_conv1", (14, 14, 512), 2_359_808),
    ("block5_conv2", (14, 14, 512), 2_359_808),
    ("block5_conv3", (14, 14, 512), 2_359_808),
    ("block5_pool", (7, 7, 512), 0),
    ("flatten", (25_088,), 0),
    ("dense1", (256,), 6_422_784),
    ("dense2", (64,), 16_448),
    ("score", (2,), 130),
]


def test_the_reference_cnn_has_the_layers_it_was_specified_with():
    from screening.training.networks import PREPROCESSING, build

    network = build("reference", PREPROCESSING["reference"].shape)
    layers = [
        (layer.name, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in network.layers
        # The embedding is read beside the way to the score.
        if layer.name not in ("block4_mean", "block5_mean", "embedding")
    ]
    assert layers == REFERENCE_LAYERS


def test_the_reference_cnn_has_21_154_050_parameters():
    assert sum(parameters for _name, _shape, parameters in REFERENCE_LAYERS) == 21_154_050
    from screening.training.networks import build

    assert build("reference", (224, 224, 3)).count_params() == 21_154_050


def test_no_network_holds_a_layer_that_calls_for_training_mode():
    """Keras's image layers do, and that leaks into every BatchNorm of an exported model."""
    import keras

    from screening.training.networks import ARCHITECTURES, PREPROCESSING, build

    kinds = {
        type(layer)
        for name in ARCHITECTURES
        for layer in build(name, PREPROCESSING[name].shape).layers
    }
    assert kinds
    assert not any(
        issubclass(kind, keras.layers.Layer) and "image" in kind.__module__ for kind in kinds
    )


@pytest.mark.parametrize(
    ("architecture", "embedding"),
    [("efficientnet-lite0", 80 + 112 + 192 + 320), ("reference", 512 + 512)],
)
def test_every_network_has_a_score_and_an_embedding(architecture, embedding):
    from screening.training.networks import PREPROCESSING, build

    outputs = build(architecture, PREPROCESSING[architecture].shape).output
    assert {name: output.shape[1] for name, output in outputs.items()} == {
        "score": 2,
        "embedding": embedding,
    }


@pytest.mark.parametrize(
    ("architecture", "channels", "parts"),
    [
        # The last layers of stages 4 to 7, which have 3, 3, 4 and 1 blocks after the first five.
        (
            "efficientnet-lite0",
            1,
            ["block7_add", "block10_add", "block14_add", "block15_project_bn"],
        ),
        ("reference", 3, ["block4_pool", "block5_pool"]),
    ],
)
def test_the_embedding_is_the_means_of_the_deepest_stages_one_after_another(
    architecture, channels, parts
):
    import keras

    from screening.training.networks import build

    keras.utils.set_random_seed(0)
    network = build(architecture, (64, 64, channels))
    outputs = {name: network.get_layer(name).output for name in parts}
    inner = keras.Model(network.input, outputs | {"embedding": network.output["embedding"]})
    films = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, channels)).astype(np.float32)
    given = inner.predict_on_batch(films)
    means = [given[name].mean(axis=(1, 2)) for name in parts]
    assert np.abs(given["embedding"]).max() > 0
    np.testing.assert_allclose(given["embedding"], np.concatenate(means, axis=1), atol=1e-5)


def test_a_folded_network_has_the_same_embedding():
    import keras

    from screening.training.fold import fold
    from screening.training.networks import build

    keras.utils.set_random_seed(0)
    network = build("efficientnet-lite0", (64, 64, 1))
    films = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
    before, after = network.predict_on_batch(films), fold(network).predict_on_batch(films)
    assert after["embedding"].shape == before["embedding"].shape == (2, 704)
    largest = np.abs(before["embedding"]).max()
    assert largest > 0
    np.testing.assert_allclose(after["embedding"], before["embedding"], atol=0.01 * largest)
