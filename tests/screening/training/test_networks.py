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
    ("embedding", (64,), 16_448),
    ("score", (2,), 130),
]


def test_the_reference_cnn_has_the_layers_it_was_specified_with():
    from screening.training.networks import PREPROCESSING, build

    network = build("reference", PREPROCESSING["reference"].shape)
    layers = [
        (layer.name, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in network.layers
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
    ("architecture", "embedding"), [("efficientnet-lite0", 1280), ("reference", 64)]
)
def test_every_network_has_a_score_and_an_embedding(architecture, embedding):
    from screening.training.networks import PREPROCESSING, build

    outputs = build(architecture, PREPROCESSING[architecture].shape).output
    assert {name: output.shape[1] for name, output in outputs.items()} == {
        "score": 2,
        "embedding": embedding,
    }
