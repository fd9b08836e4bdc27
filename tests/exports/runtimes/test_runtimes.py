"""Tests of the runtimes, compared with NumPy, and of loading a model of a bundle."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from exports.bundle import SHIPPED, Bundle
from exports.errors import BundleError, RuntimeMissing
from exports.runtimes import load as load_module
from exports.runtimes.load import is_installed, load, load_target
from exports.runtimes.onnx import OnnxPredictor, has_vnni
from exports.selftest import targets_of
from exports.targets import LITERT, ONNX, TARGETS
from makers import BrightnessPredictor
from tiny_model import SHIPPED_TARGETS, SIDE, WITH_MAP, write_bundle, write_model


def tensors(number, side=SIDE, channels=1):
    rng = np.random.default_rng(number)
    return rng.random((number, side, side, channels), np.float32)


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("outputs", [("score", "embedding"), ("embedding", "score")])
def test_onnx_agrees_with_numpy_at_every_batch_size(tmp_path, outputs, threads):
    model = write_model(tmp_path / "model.onnx", outputs=outputs)
    predictor = OnnxPredictor(model, "onnx", threads)
    for batch in (1, 8, 3):
        films = tensors(batch)
        given = predictor.predict(films)
        assert (given.scores.shape, given.scores.dtype) == ((batch, 2), np.float32)
        expected = BrightnessPredictor().predict(films).scores
        np.testing.assert_allclose(given.scores, expected, atol=1e-6)
        np.testing.assert_allclose(given.embeddings, films.mean(axis=(2, 3)), atol=1e-6)


def test_onnx_runtime_writes_no_files(tmp_path):
    model = write_model(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    # With CI set, the library does not write anything.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    code = (
        "import sys; from pathlib import Path; from exports.runtimes.onnx import OnnxPredictor, has_vnni;"
        "OnnxPredictor(Path(sys.argv[1]), 'onnx')"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(model)],
        env=environment | {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)},
        check=True,
    )
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\nprocessor\t: 1\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f\nbugs\t\t: avx_vnni\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        ("", False),
    ],
)
def test_vnni_is_detected_by_the_flags_of_the_processor(tmp_path, cpuinfo, expected):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert has_vnni(tmp_path / "cpuinfo") is expected
    assert not has_vnni(tmp_path / "nowhere")


@pytest.mark.parametrize("exact", [True, False])
def test_widened_8_bit_sums_give_the_same_scores(monkeypatch, exact):
    if not has_vnni():
        pytest.skip("this processor has no VNNI to compare with")
    target = TARGETS["onnx-int8"]
    rows, _columns, channels = Bundle.open(SHIPPED).card.preprocessing.shape
    films = tensors(2, rows, channels)
    expected = load_target(SHIPPED, target).predict(films).scores
    monkeypatch.setattr("exports.runtimes.onnx.has_vnni", lambda: exact)
    np.testing.assert_array_equal(load_target(SHIPPED, target).predict(films).scores, expected)


def test_film_has_the_same_score_alone_and_in_a_batch(tmp_path):
    predictor = OnnxPredictor(write_model(tmp_path / "model.onnx"), "onnx")
    films = tensors(8)
    together = predictor.predict(films).scores
    alone = [predictor.predict(film[np.newaxis]).scores[0] for film in films]
    np.testing.assert_allclose(together, alone, atol=1e-7)


def test_next_batch_does_not_change_earlier_answers(tmp_path):
    predictor = OnnxPredictor(write_model(tmp_path / "model.onnx"), "onnx")
    first = predictor.predict(tensors(3)).scores
    kept = first.copy()
    predictor.predict(tensors(3) / 2)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("target", SHIPPED_TARGETS, ids=lambda target: target.name)
def test_shipped_model_accepts_any_batch_size(target):
    predictor = load_target(SHIPPED, target)
    rows, columns, channels = Bundle.open(SHIPPED).card.preprocessing.shape
    assert rows == columns
    films = tensors(3, rows, channels)
    together = predictor.predict(films)
    alone = predictor.predict(films[:1])
    assert together.scores.shape == (3, 2)
    assert together.embeddings.shape[0] == 3
    np.testing.assert_allclose(together.scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(alone.scores, together.scores[:1], atol=1e-4)


@pytest.mark.parametrize("target", SHIPPED_TARGETS, ids=lambda target: target.name)
def test_runtime_names_target_package_and_version(target):
    package = {ONNX: "onnxruntime", LITERT: "ai-edge-litert"}[target.runtime]
    predictor = load_target(SHIPPED, target)
    name, _slash, runtime = predictor.runtime.partition("/")
    assert predictor.target == target.name
    assert name == target.name
    assert runtime.split()[0] == package
    assert runtime.split()[1][0].isdigit()


def test_model_for_the_requested_runtime_is_loaded(tmp_path):
    write_model(tmp_path / "model.onnx")
    for target in TARGETS.values():
        if target.runtime == LITERT:
            (tmp_path / target.file).write_bytes(b"not to be read")
    assert load(tmp_path, ONNX).runtime.startswith("onnx/")


def test_most_exact_model_of_a_runtime_is_loaded():
    litert = [target for target in targets_of(SHIPPED) if target.runtime == LITERT]
    assert litert
    expected = min(litert, key=lambda target: target.tolerance or 1)
    assert load(SHIPPED, LITERT).runtime.startswith(f"{expected.name}/")


@pytest.mark.parametrize("runtime", [ONNX, LITERT])
def test_missing_model_error_names_bundle_and_runtime(tmp_path, runtime):
    with pytest.raises(BundleError, match=f"{tmp_path} has no model for the runtime {runtime}"):
        load(tmp_path, runtime)


@pytest.mark.parametrize(
    "content", [b"not a model", b"", b"\x08\x07" * 50], ids=["text", "empty", "other"]
)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_damaged_model_error_names_the_file(tmp_path, target, content):
    (tmp_path / target.file).write_bytes(content)
    with pytest.raises(BundleError, match=f"{target.file} cannot be loaded"):
        load_target(tmp_path, target)


@pytest.mark.parametrize("target", SHIPPED_TARGETS, ids=lambda target: target.name)
def test_truncated_model_error_names_the_file(tmp_path, target):
    shutil.copyfile(SHIPPED / target.file, tmp_path / target.file)
    with (tmp_path / target.file).open("r+b") as file:
        file.truncate(10_000)
    with pytest.raises(BundleError, match=f"{target.file} cannot be loaded"):
        load_target(tmp_path, target)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_missing_model_file_error_names_the_file(tmp_path, target):
    with pytest.raises(BundleError, match=f"{target.file} cannot be loaded"):
        load_target(tmp_path, target)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_missing_runtime_error_contains_install_command(tmp_path, target, monkeypatch):
    modules = dict.fromkeys((ONNX, LITERT), "no_such_module")
    monkeypatch.setattr(load_module, "_MODULES", modules)
    package = {ONNX: "onnxruntime", LITERT: "ai-edge-litert"}[target.runtime]
    with pytest.raises(RuntimeMissing, match=f"{target.name} needs .* pip install {package}"):
        load_target(tmp_path, target)
    assert not is_installed(target.runtime)


def test_onnx_runtime_is_installed():
    assert is_installed(ONNX)


@pytest.mark.parametrize("outputs", [WITH_MAP, WITH_MAP[::-1]])
def test_model_with_a_map_gives_the_evidence_of_every_cell(tmp_path, outputs):
    predictor = OnnxPredictor(write_model(tmp_path / "model.onnx", outputs=outputs), "onnx")
    assert predictor.has_map
    films = tensors(3)
    maps = predictor.predict(films).maps
    assert (maps.shape, maps.dtype) == ((3, 4, 4, 2), np.float32)
    brightness = films.reshape(3, 4, 8, 4, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(maps[..., 1], 20 * brightness - 10, atol=1e-5)
    np.testing.assert_array_equal(maps[..., 0], 0)


def test_model_without_a_map_has_no_map(tmp_path):
    predictor = OnnxPredictor(write_model(tmp_path / "model.onnx"), "onnx")
    assert not predictor.has_map
    assert predictor.predict(tensors(1)).maps is None


@pytest.mark.parametrize("outputs", [("score",), ("embedding", "map")])
def test_missing_output_error_names_the_output(tmp_path, outputs):
    write_model(tmp_path / "model.onnx", outputs=outputs)
    (lacking,) = {"score", "embedding"}.difference(outputs)
    with pytest.raises(BundleError, match=f"cannot be loaded: the output {lacking} is missing"):
        load(tmp_path)


def test_heatmaps_require_a_model_with_a_map(tmp_path):
    without, with_map = (
        write_bundle(tmp_path / name, outputs=outputs).path
        for name, outputs in (("without", ("score", "embedding")), ("with", WITH_MAP))
    )
    message = f"the bundle {without} has no class activation map; run without --heatmaps"
    with pytest.raises(BundleError, match=message):
        load(without, heatmaps=True)
    assert load(with_map, heatmaps=True).has_map
