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


def test_reference_cnn_has_the_specified_layers():
    from screening.training.networks import PREPROCESSING, build

    network = build("reference", PREPROCESSING["reference"].shape)
    layers = [
        (layer.name, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in network.layers
        # The embedding is not on the path to the score.
        if not layer.name.startswith("embedding")
    ]
    assert layers == REFERENCE_LAYERS


def test_reference_cnn_has_21_154_050_parameters():
    assert sum(parameters for _name, _shape, parameters in REFERENCE_LAYERS) == 21_154_050
    from screening.training.networks import build

    assert build("reference", (224, 224, 3)).count_params() == 21_154_050


def test_no_network_contains_a_layer_that_asks_for_training_mode():
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
    ("architecture", "embedding", "maps"),
    [
        ("efficientnet-lite0", 9 * 80 + 112 + 192 + 320, {"map": (14, 14, 2)}),
        ("small", 9 * 64 + 96 + 128, {"map": (7, 7, 2)}),
        ("reference", 9 * 512 + 512, {}),
    ],
)
def test_networks_have_score_and_embedding_and_pooling_ones_a_map(architecture, embedding, maps):
    from screening.training.networks import PREPROCESSING, build

    outputs = build(architecture, PREPROCESSING[architecture].shape).output
    shapes = {name: tuple(output.shape[1:]) for name, output in outputs.items()}
    assert shapes == {"score": (2,), "embedding": (embedding,)} | maps


def test_finer_map_has_four_times_as_many_cells_and_the_same_weights():
    from screening.training.networks import MAP_STRIDE, efficientnet_lite0

    fine, coarse = (efficientnet_lite0((224, 224, 1), stride) for stride in (16, 32))
    assert fine.output["map"].shape == (None, 14, 14, 2)
    assert coarse.output["map"].shape == (None, 7, 7, 2)
    shapes = [[tuple(weight.shape) for weight in network.weights] for network in (fine, coarse)]
    assert shapes[0] == shapes[1]
    assert fine.count_params() == coarse.count_params()
    assert fine.output["embedding"].shape == coarse.output["embedding"].shape
    assert MAP_STRIDE == 16


@pytest.mark.parametrize("size", [64, 96, 320])
def test_map_has_a_cell_for_each_16_pixels(size):
    from screening.training.networks import efficientnet_lite0

    network = efficientnet_lite0((size, size, 1))
    assert network.output["map"].shape == (None, size // 16, size // 16, 2)


def test_other_map_strides_are_refused():
    from screening.training.networks import efficientnet_lite0

    with pytest.raises(ValueError, match="8 pixels per cell, expected 16 or 32"):
        efficientnet_lite0((64, 64, 1), 8)


@pytest.mark.parametrize("side", [1, 2, 3, 7, 13, 14, 15, 28])
def test_thirds_cover_a_feature_map_evenly_from_edge_to_edge(side):
    import keras

    from screening.training.networks import _thirds

    inputs = keras.Input((side, side, 2))
    network = keras.Model(inputs, _thirds(inputs))
    rng = np.random.default_rng(side)
    film = rng.random((1, side, side, 2)).astype(np.float32)
    thirds = network.predict_on_batch(film)
    assert thirds.shape == (1, min(side, 3), min(side, 3), 2)
    turned = network.predict_on_batch(np.rot90(film, axes=(1, 2)))
    np.testing.assert_allclose(turned, np.rot90(thirds, axes=(1, 2)), rtol=1e-5)
    film[0, -1, -1] += 1
    changed = network.predict_on_batch(film) != thirds
    assert [*zip(*np.nonzero(changed[0, :, :, 0]), strict=True)] == [(min(side, 3) - 1,) * 2]


def test_small_cnn_is_small():
    from screening.training.networks import PREPROCESSING, build

    assert build("small", PREPROCESSING["small"].shape).count_params() == 237_138


@pytest.mark.parametrize("architecture", ["efficientnet-lite0", "small"])
def test_score_is_the_softmax_of_the_maps_mean(architecture):
    import keras

    from screening.training.imagenet import load_imagenet_weights
    from screening.training.networks import build

    keras.utils.set_random_seed(0)
    network = build(architecture, (64, 64, 1))
    if architecture == "efficientnet-lite0":
        # With random weights, all films look alike this deep in a network.
        load_imagenet_weights(network)
    kernel, _zeros = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([10 * kernel, np.array([0.5, -0.5])])
    films = np.random.default_rng(0).uniform(-1, 1, (4, 64, 64, 1)).astype(np.float32)
    given = network.predict_on_batch(films)
    logits = given["map"].mean(axis=(1, 2))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(given["score"], expected, atol=1e-5)
    # A map of equal cells would carry no information.
    assert given["map"].std(axis=(1, 2)).min() > 0.001


def test_map_is_pooling_and_a_dense_layer_in_another_order():
    import keras

    from screening.training.imagenet import load_imagenet_weights
    from screening.training.networks import build

    keras.utils.set_random_seed(0)
    network = build("efficientnet-lite0", (64, 64, 1))
    load_imagenet_weights(network)
    head = keras.Model(network.input, network.get_layer("head_relu").output)
    films = np.random.default_rng(0).uniform(-1, 1, (3, 64, 64, 1)).astype(np.float32)
    pooled = head.predict_on_batch(films).mean(axis=(1, 2))
    kernel, bias = network.get_layer("logits").get_weights()
    logits = network.predict_on_batch(films)["map"].mean(axis=(1, 2))
    assert np.abs(logits).max() > 0.1
    np.testing.assert_allclose(logits, pooled @ kernel[0, 0] + bias, atol=1e-4)


def test_dropping_channels_is_dropping_their_means():
    """So the regularisation is the same as with dropout after pooling."""
    import keras

    keras.utils.set_random_seed(0)
    drop = keras.layers.SpatialDropout2D(0.2)
    dropped = np.asarray(drop(np.ones((8, 3, 3, 500), np.float32), training=True))
    assert (dropped.max(axis=(1, 2)) == dropped.min(axis=(1, 2))).all()
    np.testing.assert_allclose(np.unique(dropped), [0, 1.25], atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "channels", "parts"),
    [
        # The last layers of stages 4 to 7, which have 3, 3, 4 and 1 blocks after the first five.
        (
            "efficientnet-lite0",
            1,
            ["block7_add", "block10_add", "block14_add", "block15_project_bn"],
        ),
        ("small", 1, ["stage3_2_relu", "stage4_1_relu", "stage5_1_relu"]),
        ("reference", 3, ["block4_pool", "block5_pool"]),
    ],
)
def test_embedding_is_means_of_deep_stages_with_thirds_of_the_first(architecture, channels, parts):
    import keras

    from screening.training.networks import build

    keras.utils.set_random_seed(0)
    network = build(architecture, (64, 64, channels))
    outputs = {name: network.get_layer(name).output for name in parts}
    inner = keras.Model(network.input, outputs | {"embedding": network.output["embedding"]})
    films = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, channels)).astype(np.float32)
    given = inner.predict_on_batch(films)
    means = [given[name].mean(axis=(1, 2)) for name in parts[1:]]
    # Side 4: three windows of two cells, one apart. Side 8: three windows of four, two apart.
    starts, size = {4: ((0, 1, 2), 2), 8: ((0, 2, 4), 4)}[given[parts[0]].shape[1]]
    thirds = [
        given[parts[0]][:, row : row + size, column : column + size].mean(axis=(1, 2))
        for row in starts
        for column in starts
    ]
    assert np.abs(given["embedding"]).max() > 0
    np.testing.assert_allclose(
        given["embedding"], np.concatenate(thirds + means, axis=1), atol=1e-5
    )


@pytest.mark.parametrize("architecture", ["efficientnet-lite0", "small"])
def test_folded_network_has_the_same_embedding_and_map(architecture):
    import keras

    from screening.training.networks import build
    from screening.training.quantisation_ready import fold

    keras.utils.set_random_seed(0)
    network = build(architecture, (64, 64, 1))
    films = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
    folded = fold(network)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    before, after = network.predict_on_batch(films), folded.predict_on_batch(films)
    assert after.keys() == before.keys() == {"score", "embedding", "map"}
    for name in ("embedding", "map"):
        assert after[name].shape == before[name].shape
        largest = np.abs(before[name]).max()
        assert largest > 0
        np.testing.assert_allclose(after[name], before[name], atol=0.01 * largest)
