"""Tests of the self-test of a bundle: its films and expected answers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from exports.bundle import SHIPPED, Bundle
from exports.errors import BundleError
from exports.selftest import check_selftest, phantoms, targets_of
from exports.targets import TARGETS
from screening.imaging.film import Decoded
from screening.inference.header_gate import refuse_by_pixels
from tiny_model import SHIPPED_TARGETS, brightness_gate, write_bundle

ONNX = TARGETS["onnx"]


def test_phantoms_are_deterministic_and_distinct():
    films = phantoms(64, 48)
    assert (films.shape, films.dtype) == ((4, 64, 48), np.uint8)
    np.testing.assert_array_equal(films, phantoms(64, 48))
    assert len({film.tobytes() for film in films}) == 4


def test_phantoms_pass_the_pixel_checks():
    for film in phantoms(128, 128):
        grey = film.astype(np.float32) / np.float32(255)
        assert refuse_by_pixels(Decoded(grey, (), *grey.shape)) is None


def test_expected_answers_are_those_of_the_model(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    films = np.load(bundle.path / "selftest" / "films.npy", allow_pickle=False)
    answers = json.loads((bundle.path / "selftest" / "answers.json").read_text())
    assert films.shape == (4, 32, 32)
    assert {*answers} == {"onnx"}
    assert answers["onnx"]["threshold"] == [0.5]
    expected = films.mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(answers["onnx"]["probability"], expected, atol=2e-6)


def test_answers_include_the_figures_of_the_gate(tmp_path):
    gate = brightness_gate()
    bundle = write_bundle(tmp_path / "bundle", gate=gate)
    answers = json.loads((bundle.path / "selftest" / "answers.json").read_text())["onnx"]
    assert {*answers} == {"probability", "threshold", "frontal", "domain_distance"}
    assert check_selftest(bundle, ONNX) <= 2e-6
    shifted = replace(gate, mean=gate.mean + np.float32(0.5))
    with pytest.raises(BundleError, match=r"differs by .* \((frontal|domain_distance)\)"):
        check_selftest(replace(bundle, card=replace(bundle.card, gate=shifted)), ONNX)


def test_unchanged_model_passes(tmp_path):
    assert check_selftest(write_bundle(tmp_path / "bundle"), ONNX) <= 2e-6


@pytest.mark.parametrize("shift", [0.00005, -0.00005])
def test_model_within_the_tolerance_passes(tmp_path, shift):
    largest = check_selftest(write_bundle(tmp_path / "bundle", shift), ONNX)
    assert largest == pytest.approx(abs(shift), abs=3e-6)


@pytest.mark.parametrize("shift", [0.0002, -0.0002, 0.1])
def test_model_beyond_the_tolerance_is_refused_and_named(tmp_path, shift):
    bundle = write_bundle(tmp_path / "bundle", shift)
    with pytest.raises(
        BundleError, match=r"onnx differs by .* \(probability\), 0\.0001 is allowed"
    ):
        check_selftest(bundle, ONNX)


# Calibration warns about such a score; this test checks only the answer.
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_model_that_gives_nan_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", float("nan"))
    with pytest.raises(BundleError, match="differs by nan"):
        check_selftest(bundle, ONNX)


def test_tolerance_is_the_drift_of_the_target(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", 0.005)
    assert check_selftest(bundle, replace(ONNX, drift=0.01)) == pytest.approx(0.005, abs=3e-6)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"onnx": {}}', '{"onnx": {"probability": [0]}}']
)
def test_invalid_answers_are_refused(tmp_path, content):
    bundle = write_bundle(tmp_path / "bundle")
    (bundle.path / "selftest" / "answers.json").write_text(content)
    with pytest.raises(BundleError, match=r"selftest has no answers for onnx|differs by"):
        check_selftest(bundle, ONNX)


def test_changed_preprocessing_is_detected(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    card = bundle.card
    other = replace(card, preprocessing=replace(card.preprocessing, scale=0.5))
    with pytest.raises(BundleError, match="differs by"):
        check_selftest(replace(bundle, card=other), ONNX)


@pytest.mark.parametrize("present", [[], ["onnx"], ["tflite-float16", "onnx"], list(TARGETS)])
def test_targets_of_a_bundle_are_those_with_a_file(tmp_path, present):
    for name in present:
        (tmp_path / TARGETS[name].file).touch()
    assert {target.name for target in targets_of(tmp_path)} == set(present)


def test_shipped_bundle_contains_the_onnx_target():
    assert ONNX in targets_of(SHIPPED)


@pytest.mark.parametrize("target", SHIPPED_TARGETS, ids=lambda target: target.name)
def test_shipped_bundle_passes_its_selftest(target):
    assert check_selftest(Bundle.open(SHIPPED), target) <= target.drift


def test_shipped_bundle_contains_phantoms_and_no_real_films(tmp_path):
    card = Bundle.open(SHIPPED).card
    shutil.copyfile(SHIPPED / "selftest" / "films.npy", tmp_path / "films.npy")
    films = np.load(tmp_path / "films.npy", allow_pickle=False)
    expected = phantoms(card.preprocessing.rows, card.preprocessing.columns)
    # Another libm may round a grey value to its neighbour.
    assert films.shape == expected.shape
    assert np.abs(films.astype(int) - expected).max() <= 1
