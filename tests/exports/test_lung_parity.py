"""Tests that the lung network of a bundle finds the same lungs as the original."""

from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest

from exports import lung_parity
from exports.bundle import Bundle
from exports.convert.lungs import KerasLungs
from exports.errors import ExportError
from exports.export import ExportRequest, export
from exports.lung_parity import LARGEST, ExpectedLungs, compare, original_lungs, write_lungs
from exports.runtimes.load import load_lung_network, load_lungs
from exports.selftest import check_selftest
from exports.targets import TARGETS
from lung_makers import DarkLungs, ellipse, lung_film, two_lungs
from lung_networks import lung_network
from makers import encoded, make_card, write_film
from model_files import Lite
from screening.model.card import LUNG_WEIGHTS, WEIGHTS, sha256_of
from screening.model.lungs import LungCard, lung_input
from screening.training.networks import PREPROCESSING, build

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BOTH = [TARGETS["onnx"], TARGETS["tflite-float16"]]
FILMS = [
    lung_film(mask).astype(np.float32) / 255
    for mask in (two_lungs(), two_lungs(6), ellipse(0.3, 0.4), two_lungs(width=0.1))
]


@pytest.fixture
def model(tmp_path):
    """A MODEL folder with a lung network that its card names."""
    folder = tmp_path / "model"
    folder.mkdir()
    lung_network().save(folder / LUNG_WEIGHTS)
    return folder


def card_of(model):
    return replace(make_card(), lungs=LungCard(sha256=sha256_of(model / LUNG_WEIGHTS)))


@pytest.mark.parametrize("target", BOTH, ids=lambda one: one.runtime)
def test_converted_network_finds_the_same_lungs(model, tmp_path, target):
    original = original_lungs(model, card_of(model))
    (parity,) = write_lungs(tmp_path, ExpectedLungs.on(original, FILMS), [target])
    assert (parity.weights, parity.films, parity.flips) == ("float16", len(FILMS), 0)
    assert parity.dice >= 0.999
    assert parity.size == (tmp_path / parity.file).stat().st_size
    network = load_lung_network(tmp_path / parity.file, target.runtime)
    inputs = np.stack([lung_input(film) for film in FILMS])
    given = network.find(inputs)
    assert (given.shape, given.dtype) == ((len(FILMS), 128, 128), np.float32)
    np.testing.assert_allclose(given, DarkLungs().find(inputs), atol=0.01)
    # The batch size does not matter.
    np.testing.assert_allclose(network.find(inputs[:1])[0], given[0], atol=1e-6)


def test_only_runtimes_of_the_targets_get_a_file(model, tmp_path):
    original = original_lungs(model, card_of(model))
    two = [TARGETS["onnx"], TARGETS["onnx-int8"]]
    assert [one.file for one in write_lungs(tmp_path, ExpectedLungs.on(original, FILMS), two)] == [
        "lungs.onnx"
    ]
    assert not (tmp_path / "lungs.tflite").exists()


def test_weights_are_stored_in_half_precision(tmp_path):
    network = lung_network(channels=64)
    path = tmp_path / "lungs.keras"
    network.save(path)
    write_lungs(tmp_path, ExpectedLungs.on(KerasLungs(path), FILMS), BOTH)
    stored = onnx.load(tmp_path / "lungs.onnx").graph.initializer
    kinds = {one.data_type for one in stored if np.prod(one.dims) >= 64}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert Lite(tmp_path / "lungs.tflite").numbers()[np.float16] > 0


@pytest.mark.parametrize("target", BOTH, ids=lambda one: one.runtime)
def test_weights_are_float32_if_half_precision_changes_masks(tmp_path, target, monkeypatch):
    path = tmp_path / "lungs.keras"
    lung_network().save(path)
    real = lung_parity.compare

    def strict(file, size, weights, expected, given):
        parity = real(file, size, weights, expected, given)
        return replace(parity, dice=0.9989) if weights == "float16" else parity

    monkeypatch.setattr(lung_parity, "compare", strict)
    (parity,) = write_lungs(tmp_path, ExpectedLungs.on(KerasLungs(path), FILMS), [target])
    assert parity.weights == "float32"
    load_lung_network(tmp_path / parity.file, target.runtime).find(np.zeros((1, 128, 128, 1), "f"))


def test_different_masks_and_a_large_file_are_breaches():
    masks = [two_lungs(), two_lungs(tilt=4)]
    same = compare("lungs.onnx", 1000, "float16", masks, masks)
    assert (same.breaches, same.dice, same.lowest_dice) == ([], 1, 1)
    moved = [two_lungs(), np.roll(two_lungs(), 1, axis=1)]
    other = compare("lungs.onnx", LARGEST + 1, "float16", masks, moved)
    assert other.lowest_dice < other.dice < 0.999
    assert len(other.breaches) == 2
    empty = [np.zeros_like(masks[0])] * 2
    lost = compare("lungs.onnx", 1000, "float16", masks, empty)
    assert (lost.dice, lost.flips) == (0, 2)
    assert len(lost.breaches) == 2


def test_network_that_is_too_large_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "lungs.keras"
    lung_network().save(path)
    expected = ExpectedLungs.on(KerasLungs(path), FILMS[:1])
    monkeypatch.setattr(lung_parity, "LARGEST", 100)
    with pytest.raises(ExportError, match=r"lungs\.onnx: with float16 .* bytes, at most 100 are"):
        write_lungs(tmp_path, expected, BOTH[:1])


def test_model_without_lung_network_returns_none(tmp_path):
    assert original_lungs(tmp_path, make_card()) is None


def test_lung_network_not_named_in_the_card_is_an_error(model):
    with pytest.raises(ExportError, match="has no lung network"):
        original_lungs(model, make_card())


def test_missing_or_different_lung_network_is_an_error(model):
    card = card_of(model)
    with (model / LUNG_WEIGHTS).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ExportError, match="does not have the hash in the card"):
        original_lungs(model, card)
    (model / LUNG_WEIGHTS).unlink()
    with pytest.raises(ExportError, match=r"lungs\.keras is missing"):
        original_lungs(model, card)


def test_file_that_is_not_a_lung_network_is_an_error(tmp_path):
    path = tmp_path / "lungs.keras"
    path.write_bytes(b"nothing")
    with pytest.raises(ExportError, match="cannot be loaded"):
        KerasLungs(path)
    film = keras.layers.Input((64, 64, 1))
    keras.Model(film, keras.layers.Conv2D(1, 1)(film)).save(path)
    with pytest.raises(ExportError, match="has the shape"):
        KerasLungs(path)


def test_export_contains_the_lung_network_and_tests_it(model, tmp_path):
    shape = (64, 64, 1)
    keras.utils.set_random_seed(0)
    build("small", shape).save(model / WEIGHTS)
    preprocessing = replace(PREPROCESSING["small"], rows=64, columns=64)
    card = replace(card_of(model), preprocessing=preprocessing)
    card.with_weights(sha256_of(model / WEIGHTS)).write(model)
    films = tmp_path / "films"
    for seed in range(200):
        write_film(films / f"{seed}.png", seed)
    for number, film in enumerate(FILMS):
        (films / f"lungs{number}.png").write_bytes(encoded((film * 255).astype(np.uint8)))
    said = []
    targets = [TARGETS["onnx"], TARGETS["tflite-float32"]]
    bundle = export(ExportRequest(model, tmp_path / "bundle", targets, films), said.append)
    assert isinstance(bundle, Bundle)
    assert {"lungs.onnx", "lungs.tflite"} <= {path.name for path in bundle.path.iterdir()}
    assert "lungs.onnx" in (bundle.path / "SHA256SUMS").read_text()
    readme = (bundle.path / "README.md").read_text()
    assert "`lungs.onnx`, `lungs.tflite` | the network that finds the lungs" in readme
    figures = bundle.card.exports["lungs"]
    assert {*figures} == {"lungs.onnx", "lungs.tflite"}
    assert min(one["dice"] for one in figures.values()) >= 0.999
    assert bundle.card.lungs == card.lungs
    assert any(line.startswith("lungs.tflite: ") for line in said)
    for target in targets:
        check_selftest(bundle, target)
        reader = load_lungs(bundle.path, bundle.card, target.runtime, ("lungs_small",))
        assert reader is not None
        assert reader.refused == ("lungs_small",)
