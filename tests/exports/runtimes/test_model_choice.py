"""Tests of the choice of a model in a bundle by runtime, precision and speed."""

import shutil

import numpy as np
import pytest

from exports.bundle import SHIPPED
from exports.errors import BundleError
from exports.runtimes import load as load_module
from exports.runtimes.load import choose, quickest
from exports.targets import FLOAT32, INT8, LITERT, ONNX, TARGETS
from screening.model.predictor import Prediction

SHAPE = (32, 32, 1)


@pytest.fixture
def bundle(tmp_path):
    """A function that makes a bundle with empty files for these models."""

    def make(*names):
        for name in names:
            (tmp_path / TARGETS[name].file).touch()
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("runtime", "precision", "expected"),
    [
        (ONNX, FLOAT32, "onnx"),
        (ONNX, INT8, "onnx-int8"),
        (LITERT, FLOAT32, "tflite-float32"),
        (LITERT, INT8, "tflite-int8"),
    ],
)
def test_chosen_model_has_the_runtime_and_the_precision(bundle, runtime, precision, expected):
    assert choose(bundle(*TARGETS), runtime, precision).name == expected


def test_most_exact_float_model_is_chosen(bundle):
    held = bundle("tflite-int8", "tflite-float16")
    assert choose(held, LITERT, FLOAT32).name == "tflite-float16"


def test_missing_model_error_lists_the_models_of_the_bundle(bundle):
    with pytest.raises(
        BundleError, match=r"no int8 model for the runtime litert; its models: onnx, onnx-int8$"
    ):
        choose(bundle("onnx", "onnx-int8"), LITERT, INT8)


class _FakePredictor:
    """A predictor that advances a fake clock."""

    def __init__(self, clock, seconds):
        self._clock, self._seconds = clock, seconds
        self.shapes = set()

    def predict(self, tensors):
        self._clock.append(self._clock[-1] + self._seconds)
        self.shapes.add(tensors.shape)
        return Prediction(np.zeros((1, 2)), np.zeros((1, 1)))


@pytest.fixture
def measured(monkeypatch):
    """A function that fakes runtimes with these times; others are not installed."""

    def pretend(**seconds):
        clock, made = [0.0], {}
        monkeypatch.setattr(load_module.time, "process_time", lambda: clock[-1])
        monkeypatch.setattr(load_module, "is_installed", lambda runtime: runtime in seconds)

        def load(_bundle, target, threads):
            assert threads == 1
            made[target.name] = _FakePredictor(clock, seconds[target.runtime])
            return made[target.name]

        monkeypatch.setattr(load_module, "load_target", load)
        return made

    return pretend


@pytest.mark.parametrize(("onnx", "litert"), [(0.002, 0.003), (0.003, 0.002)])
def test_auto_chooses_the_faster_runtime_and_reports_the_times(bundle, measured, onnx, litert):
    made = measured(onnx=onnx, litert=litert)
    held = bundle("onnx", "tflite-float32", "onnx-int8", "tflite-int8")
    target, predictor, milliseconds = quickest(held, FLOAT32, SHAPE)
    assert target.name == ("onnx" if onnx < litert else "tflite-float32")
    assert predictor is made[target.name]
    assert made.keys() == {"onnx", "tflite-float32"}
    assert list(milliseconds) == [target.name, *made.keys() - {target.name}]
    assert list(milliseconds.values()) == ["2.0", "3.0"]
    assert predictor.shapes == {(1, *SHAPE)}


def test_auto_uses_the_only_installed_runtime(bundle, measured):
    measured(onnx=0.001)
    target, _predictor, milliseconds = quickest(bundle(*TARGETS), INT8, SHAPE)
    assert target.name == "onnx-int8"
    assert milliseconds == {"onnx-int8": "1.0"}


def test_auto_uses_the_only_runtime_with_a_model(bundle, measured):
    measured(onnx=0.001, litert=0.002)
    assert quickest(bundle("tflite-int8"), INT8, SHAPE)[0].name == "tflite-int8"


def test_auto_without_a_model_of_the_precision_is_an_error(bundle, measured):
    measured(onnx=0.001)
    with pytest.raises(BundleError, match=r"has no int8 model; its models: onnx$"):
        quickest(bundle("onnx"), INT8, SHAPE)


def test_auto_measures_the_shipped_models(tmp_path):
    for target in (TARGETS["onnx-int8"], TARGETS["tflite-int8"]):
        shutil.copy(SHIPPED / target.file, tmp_path)
    target, predictor, milliseconds = quickest(tmp_path, INT8, (224, 224, 1))
    assert predictor.runtime.startswith(f"{target.name}/")
    assert {"onnx-int8", "tflite-int8"} == milliseconds.keys()
