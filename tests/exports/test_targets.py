"""What a model can be converted to."""

import pytest

from exports.errors import ExportError
from exports.targets import TARGETS, target


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_found_by_the_name_that_it_has(name):
    assert target(name).name == name


@pytest.mark.parametrize("name", ["", "ONNX", "tflite", "model.onnx"])
def test_an_unknown_target_is_an_error_that_names_it_and_the_known_ones(name):
    with pytest.raises(ExportError) as raised:
        target(name)
    for word in (repr(name), *TARGETS):
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("name", "file", "runtime"),
    [
        ("onnx", "model.onnx", "onnx"),
        ("tflite-float32", "model-float32.tflite", "litert"),
        ("tflite-float16", "model-float16.tflite", "litert"),
    ],
)
def test_a_target_has_the_file_of_the_bundle_format_and_its_runtime(name, file, runtime):
    assert (target(name).file, target(name).runtime) == (file, runtime)


def test_no_two_targets_share_a_file():
    assert len({one.file for one in TARGETS.values()}) == len(TARGETS)


def test_targets_of_one_runtime_are_listed_from_the_most_exact_on():
    for runtime in {one.runtime for one in TARGETS.values()}:
        tolerances = [one.tolerance for one in TARGETS.values() if one.runtime == runtime]
        assert tolerances == sorted(tolerances)
