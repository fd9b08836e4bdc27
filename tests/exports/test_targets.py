"""Tests of the export targets."""

import pytest

from exports.errors import ExportError
from exports.targets import TARGETS, target


@pytest.mark.parametrize("name", TARGETS)
def test_target_is_found_by_its_name(name):
    assert target(name).name == name


@pytest.mark.parametrize("name", ["", "ONNX", "tflite", "model.onnx"])
def test_unknown_target_error_names_it_and_the_known_targets(name):
    with pytest.raises(ExportError) as raised:
        target(name)
    for word in (repr(name), *TARGETS):
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("name", "file", "runtime"),
    [
        ("onnx", "model.onnx", "onnx"),
        ("onnx-int8", "model-int8.onnx", "onnx"),
        ("tflite-float32", "model-float32.tflite", "litert"),
        ("tflite-float16", "model-float16.tflite", "litert"),
        ("tflite-int8", "model-int8.tflite", "litert"),
    ],
)
def test_target_has_its_file_name_and_runtime(name, file, runtime):
    assert (target(name).file, target(name).runtime) == (file, runtime)


def test_no_two_targets_share_a_file():
    assert len({one.file for one in TARGETS.values()}) == len(TARGETS)


def test_targets_of_a_runtime_are_listed_most_exact_first():
    for runtime in {one.runtime for one in TARGETS.values()}:
        of_it = [one for one in TARGETS.values() if one.runtime == runtime]
        tolerances = [1.0 if one.tolerance is None else one.tolerance for one in of_it]
        assert tolerances == sorted(tolerances)


def test_only_8_bit_targets_have_no_tolerance():
    with_8_bits = {name for name, one in TARGETS.items() if one.has_8_bits}
    assert with_8_bits == {"onnx-int8", "tflite-int8"}
    assert TARGETS["onnx"].tolerance == TARGETS["tflite-float32"].tolerance == 1e-4
    assert TARGETS["tflite-float16"].tolerance == 1e-2
