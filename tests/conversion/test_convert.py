"""Tests that every conversion gives the outputs of the original: score, embedding and map."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from exports.convert.convert import Converter
from exports.convert.quantize import FEW_WEIGHTS, first_layers, weighted_layers
from exports.runtimes.load import load_target
from exports.targets import LITERT, TARGETS
from makers import grey_film
from model_files import Lite, Onnx
from screening.model.calibration import Calibration
from screening.training import networks
from screening.training.networks import PREPROCESSING, build
from screening.training.quantisation_ready import fold

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: A network with pooling and a map, and a network with neither.
KINDS = {"small": (64, 64, 1), "reference": (64, 64, 3)}

#: The reference CNN with few filters, so that it converts in a second. As in the original, the
#: first convolution has many weights.
FEW_FILTERS = ((2, 40), (2, 24), (3, 24), (3, 32), (3, 32))

EIGHT_BITS = [name for name, target in TARGETS.items() if target.has_8_bits]
FLOATS = [name for name in TARGETS if name not in EIGHT_BITS]

#: tflite-int8 with integer input and outputs.
INTEGERS = "integers"

#: Maximum difference of any output from the original. float16 has a precision of 1/1000.
CLOSE = {"onnx": 1e-4, "tflite-float32": 1e-4, "tflite-float16": 2e-2}


def films_for(preprocessing, seeds):
    """Synthetic films from dark to bright, as tensors."""
    brightness = [0.25 + 0.5 * (seed % 8) / 8 for seed in seeds]
    grey = [grey_film(*pair) / np.float32(255) for pair in zip(seeds, brightness, strict=True)]
    return np.stack([preprocessing.tensor(film) for film in grey])


def moderate(network, films):
    """Give `network` norms, biases and log odds like those of a trained network."""
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(films, training=True)
    network = fold(network)
    for layer in weighted_layers(network):
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias + rng.normal(0, 0.05, bias.shape)])
    last = network.get_layer("logits" if "map" in network.output else "score")
    for _ in range(2):
        kernel, bias = last.get_weights()
        p = network.predict_on_batch(films)["score"][:, 1]
        odds = np.log(p) - np.log1p(-p)
        middle = np.array([-0.5, 0.5]) * odds.mean()
        last.set_weights([kernel * 1.5 / odds.std(), (bias - middle) * 1.5 / odds.std()])
    return network


class Converted:
    """One network in all formats, each converted on first use."""

    def __init__(self, kind, folder):
        shape = KINDS[kind]
        keras.utils.set_random_seed(0)
        preprocessing = replace(PREPROCESSING[kind], rows=shape[0], columns=shape[1])
        calibration = films_for(preprocessing, range(32))
        self.network = moderate(build(kind, shape), calibration)
        self.films = films_for(preprocessing, range(32, 48))
        self.expected = self.network.predict_on_batch(self.films)
        self.converter = Converter(self.network, preprocessing, calibration)
        self._with_integers = Converter(self.network, preprocessing, calibration, integer_io=True)
        self._folder = folder
        self._paths = {}

    def path(self, name):
        if name not in self._paths:
            folder = self._folder / name
            folder.mkdir()
            converter = self._with_integers if name == INTEGERS else self.converter
            self._paths[name] = converter.write(target_of(name), folder)
        return self._paths[name]

    def predictor(self, name):
        return load_target(self.path(name).parent, target_of(name))


def target_of(name):
    return TARGETS["tflite-int8" if name == INTEGERS else name]


@pytest.fixture(scope="module", params=KINDS)
def converted(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "_REFERENCE_BLOCKS", FEW_FILTERS)
        return Converted(request.param, tmp_path_factory.mktemp(request.param))


def outputs_of(prediction):
    """Outputs of a prediction by their names in the original."""
    given = {"score": prediction.scores, "embedding": prediction.embeddings}
    return given if prediction.maps is None else given | {"map": prediction.maps}


def test_networks_are_suitable_for_comparison(converted):
    assert set(converted.expected) == {"score", "embedding"} | (
        {"map"} if converted.network.name == "small" else set()
    )
    for values in converted.expected.values():
        assert values.std(axis=0).max() > 0.1
    p = converted.expected["score"][:, 1]
    assert p.std() > 0.1
    assert 0.01 < p.min() < 0.3
    assert 0.7 < p.max() < 0.99


@pytest.mark.parametrize("name", [*TARGETS, INTEGERS])
def test_conversion_has_every_output_of_the_original(converted, name):
    predictor = converted.predictor(name)
    assert predictor.has_map is ("map" in converted.expected)
    given = outputs_of(predictor.predict(converted.films))
    assert given.keys() == converted.expected.keys()
    for output, values in given.items():
        assert values.shape == converted.expected[output].shape
        assert values.dtype == np.float32
    np.testing.assert_allclose(given["score"].sum(axis=1), 1, atol=0.01)


@pytest.mark.parametrize("name", FLOATS)
def test_float_conversion_equals_the_original(converted, name):
    given = outputs_of(converted.predictor(name).predict(converted.films))
    for output, values in given.items():
        np.testing.assert_allclose(values, converted.expected[output], atol=CLOSE[name])


@pytest.mark.parametrize("name", [*EIGHT_BITS, INTEGERS])
def test_8_bit_conversion_is_close_to_the_original(converted, name):
    given = outputs_of(converted.predictor(name).predict(converted.films))
    calibration = Calibration(temperature=1.2, bias=0.1)
    expected, p = (
        calibration.probabilities(scores)
        for scores in (converted.expected["score"], given["score"])
    )
    assert 0 < np.abs(p - expected).mean() < 0.04
    assert np.abs(p - expected).max() < 0.2
    for output, values in given.items():
        expected = converted.expected[output]
        assert np.abs(values - expected).mean() < 0.15 * expected.std()


@pytest.mark.parametrize("name", [*TARGETS, INTEGERS])
def test_batch_size_may_change_between_calls(converted, name):
    predictor = converted.predictor(name)
    together = outputs_of(predictor.predict(converted.films))
    for batch in (1, 3, 8, 1):
        given = outputs_of(predictor.predict(converted.films[:batch]))
        for output, values in given.items():
            assert values.shape == (batch, *converted.expected[output].shape[1:])
            # A difference in the last bit may move a value to the next 8-bit step.
            tolerance = 0.05 * together[output].std() if target_of(name).has_8_bits else 1e-5
            assert np.abs(values - together[output][:batch]).mean() < tolerance


@pytest.mark.parametrize("name", [*TARGETS, INTEGERS])
def test_only_the_file_of_the_target_is_written(converted, name):
    path = converted.path(name)
    assert path.name == target_of(name).file
    assert list(path.parent.iterdir()) == [path]


def test_conversion_does_not_change_the_original(converted):
    for name in [*TARGETS, INTEGERS]:
        converted.path(name)
    after = converted.network.predict_on_batch(converted.films)
    for output, values in after.items():
        np.testing.assert_array_equal(values, converted.expected[output])


@pytest.mark.parametrize("name", [*EIGHT_BITS, INTEGERS])
def test_8_bit_files_are_small(converted, name):
    room = converted.path("tflite-float32").stat().st_size
    assert converted.path(name).stat().st_size < 0.4 * room


def test_half_precision_halves_the_file_size(converted):
    room = converted.path("tflite-float32").stat().st_size
    assert 0.45 * room < converted.path("tflite-float16").stat().st_size < 0.6 * room


COMPUTING = ("CONV_2D", "FULLY_CONNECTED")


def computing_layers(network):
    """Number of layers with weights, and how many of them are first layers."""
    computing = weighted_layers(network)
    first = first_layers(network)
    return len(computing), sum(layer.name in first for layer in computing)


def test_tflite_int8_computes_in_8_bits_after_the_first_layers(converted):
    lite = Lite(converted.path("tflite-int8"))
    computing, first = computing_layers(converted.network)
    seen = [pair[0]["dtype"] for pair in lite.inputs(*COMPUTING)]
    assert len(seen) == computing
    # The final layer of the network without pooling, its probability, stays in float.
    last = "map" not in converted.expected
    expected = [np.float32] * first + [np.int8] * (computing - first - last) + [np.float32] * last
    assert seen == expected
    assert lite.numbers()[np.int8] > 2 * (computing - first - last)
    assert all(tensor["dtype"] == np.float32 for tensor in lite.ends())


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-float16"])
def test_tflite_float_file_has_no_8_bit_tensors(converted, name):
    assert np.int8 not in Lite(converted.path(name)).numbers()


def test_integer_io_gives_integer_input_and_outputs(converted):
    lite = Lite(converted.path(INTEGERS))
    assert [tensor["dtype"] for tensor in lite.ends()] == [np.int8] * (1 + len(converted.expected))
    for tensor in lite.ends():
        assert tensor["quantization"][0] > 0
    # The range of the film is black to white.
    (film,) = (tensor for tensor in lite.ends() if tensor["shape"][-1] == converted.films.shape[-1])
    scale, zero = film["quantization"]
    black, white = (np.array([-128, 127]) - zero) * scale
    preprocessing = PREPROCESSING[converted.network.name]
    assert black == pytest.approx(preprocessing.offset, abs=scale)
    assert white == pytest.approx(preprocessing.offset + preprocessing.scale, abs=scale)


@pytest.mark.parametrize("name", [name for name in TARGETS if TARGETS[name].runtime == LITERT])
def test_tflite_file_has_only_builtin_operators(converted, name):
    names = {operator["op_name"] for operator in Lite(converted.path(name)).operators}
    assert "CONV_2D" in names
    assert not any(name.startswith(("Flex", "CUSTOM", "TF")) for name in names)


def test_tflite_int8_averages_in_float(converted):
    lite = Lite(converted.path("tflite-int8"))
    averaged = lite.inputs("MEAN", "AVERAGE_POOL_2D")
    assert averaged
    assert all(seen["dtype"] == np.float32 for seen, _axes in averaged)


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_calibration_works_with_any_number_of_films(converted, name, tmp_path):
    films = converted.converter._calibration[:9]
    converter = Converter(converted.network, PREPROCESSING[converted.network.name], films)
    assert converter.write(TARGETS[name], tmp_path).stat().st_size


def test_tflite_int8_has_the_gptq_rounded_weights(converted):
    lite = Lite(converted.path("tflite-int8"))
    kernels = rounded_kernels(converted)
    found = [
        lite.weights(weights)
        for _seen, weights in lite.inputs(*COMPUTING)
        if weights["dtype"] == np.int8
    ][: len(kernels)]
    for weights, kernel in zip(found, kernels, strict=True):
        np.testing.assert_allclose(weights, kernel, atol=1e-6)


def rounded_kernels(converted):
    """Rounded kernels with many weights, in network order."""
    kernels = [layer.get_weights()[0] for layer in weighted_layers(converted.converter._rounded)]
    many = [kernel for kernel in kernels if kernel.size >= FEW_WEIGHTS]
    assert len(many) > 5
    return many


def test_onnx_int8_computes_in_8_bits_after_the_first_layers(converted):
    model = Onnx(converted.path("onnx-int8"))
    computing, first = computing_layers(converted.network)
    rounded = [model.is_rounded(node) for node in model.computing()]
    assert rounded == [False] * first + [True] * (computing - first)


def test_onnx_int8_has_the_gptq_rounded_weights(converted):
    model = Onnx(converted.path("onnx-int8"))
    kernels = rounded_kernels(converted)
    nodes = [node for node in model.computing() if model.is_rounded(node)]
    for node, kernel in zip(nodes, kernels, strict=False):
        np.testing.assert_allclose(model.weights(node), kernel, atol=1e-6)
    # The last layer, with few weights, has a step for each output, too.
    assert len(nodes) == len(kernels) + 1
    assert model.weights(nodes[-1]).shape[-1] == 2


def test_both_runtimes_have_the_same_ranges(converted):
    onnx_steps = Onnx(converted.path("onnx-int8")).steps()
    tflite_steps = Lite(converted.path("tflite-int8")).steps()
    assert len(tflite_steps) > 5
    # ONNX has some more ranges: of pooled values and the log odds.
    for step in tflite_steps:
        assert min(abs(step / other - 1) for other in onnx_steps) < 1e-3


def test_onnx_float_file_has_no_8_bit_operators(converted):
    model = Onnx(converted.path("onnx"))
    assert len(model.computing()) == computing_layers(converted.network)[0]
    assert not any("Quantize" in node.op_type for node in model.nodes)
