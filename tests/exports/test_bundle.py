"""Tests that a bundle opens only if every file matches its sums."""

import errno
import hashlib
import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from exports.bundle import SHIPPED, SUMS, Bundle, seal
from exports.errors import BundleError
from exports.runtimes.load import load
from exports.targets import TARGETS
from gate_makers import make_recogniser
from makers import make_card
from screening.errors import CardError, TransientError
from screening.model.card import sha256_of


@pytest.fixture
def folder(tmp_path):
    """A sealed bundle with a few small files."""
    place = tmp_path / "bundle"
    (place / "selftest").mkdir(parents=True)
    make_card().write(place)
    (place / "model.onnx").write_bytes(bytes(range(256)))
    (place / "größe 1.txt").write_text("two words")
    (place / "empty").touch()
    (place / "selftest" / "answers.json").write_text("{}")
    seal(place)
    return place


FILES = ["card.json", "model.onnx", "größe 1.txt", "empty", "selftest/answers.json"]


def test_sealed_bundle_opens_with_its_card(folder):
    bundle = Bundle.open(folder)
    assert bundle.path == folder
    assert bundle.card == make_card()


def test_bundle_hash_is_the_hash_of_its_sums(folder):
    assert Bundle.open(folder).sha256 == hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()


def test_sums_list_every_file_with_its_hash(folder):
    lines = (folder / SUMS).read_text().splitlines()
    assert {line[66:]: line[:64] for line in lines} == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES
    }


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="this system has no sha256sum")
def test_sums_pass_sha256sum_check(folder):
    done = subprocess.run(
        [shutil.which("sha256sum"), "--check", "--strict", SUMS],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK\n") == len(FILES)


def test_sealing_twice_changes_nothing(folder):
    before = (folder / SUMS).read_bytes()
    seal(folder)
    assert (folder / SUMS).read_bytes() == before


def test_equal_bundles_have_equal_hashes_in_any_folder(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert Bundle.open(tmp_path / "copy").sha256 == Bundle.open(folder).sha256


def test_different_bundles_have_different_hashes(folder):
    before = Bundle.open(folder).sha256
    (folder / "model.onnx").write_bytes(b"another model")
    seal(folder)
    assert Bundle.open(folder).sha256 != before


def test_relative_bundle_path_is_made_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert Bundle.open(folder.relative_to(folder.parent)).path == folder


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"incomplete: {name} is missing"):
        Bundle.open(folder)


@pytest.mark.parametrize("name", FILES)
def test_altered_file_is_refused_by_name(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"altered: {name} does not have the hash"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "name", ["model-float32.tflite", ".hidden", "selftest/x.npy", "new/a", "selftest/SHA256SUMS"]
)
def test_added_file_is_refused_by_name(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=rf"altered: {name} is not in SHA256SUMS"):
        Bundle.open(folder)


def test_swapped_files_are_refused(folder):
    (folder / "empty").rename(folder / "aside")
    (folder / "model.onnx").rename(folder / "empty")
    (folder / "aside").rename(folder / "model.onnx")
    with pytest.raises(BundleError, match="altered: empty"):
        Bundle.open(folder)


def test_renamed_file_is_refused(folder):
    (folder / "model.onnx").rename(folder / "model.bak")
    with pytest.raises(BundleError, match=r"model\.bak is not in|model\.onnx is missing"):
        Bundle.open(folder)


@pytest.mark.parametrize("place", ["nowhere", "films", "file"])
def test_folder_or_file_without_sums_is_refused_by_name(tmp_path, place):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "1.png").touch()
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=f"{place} is not a bundle: SHA256SUMS"):
        Bundle.open(tmp_path / place)


@pytest.mark.parametrize("place", ["share", "share/models/bundle"])
def test_bundle_on_share_that_is_not_mounted_is_transient_error(tmp_path, place):
    (tmp_path / "share").mkdir()
    with pytest.raises(TransientError, match=f"is not a bundle: .+{tmp_path / 'share'} is empty"):
        Bundle.open(tmp_path / place)


def test_file_that_cannot_be_hashed_is_transient_error_with_its_name(folder, monkeypatch):
    def fail(path):
        if path.name == "model.onnx":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return sha256_of(path)

    monkeypatch.setattr("exports.bundle.sha256_of", fail)
    with pytest.raises(TransientError, match=r"model\.onnx cannot be read: Input/output error"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "line", ["", "card.json", "0" * 64, "0" * 64 + " card.json", "0" * 63 + "  card.json"]
)
def test_damaged_sums_are_refused(folder, line):
    with (folder / SUMS).open("a") as sums:
        sums.write(f"{line}\n")
    with pytest.raises(BundleError, match="SHA256SUMS is damaged"):
        Bundle.open(folder)


def test_sums_that_are_not_text_are_refused(folder):
    (folder / SUMS).write_bytes(b"\xff\xfe" + bytes(100))
    with pytest.raises(BundleError, match="SHA256SUMS"):
        Bundle.open(folder)


def test_sums_with_crlf_are_refused_or_change_the_hash(folder):
    sums = folder / SUMS
    sums.write_bytes(sums.read_bytes().replace(b"\n", b"\r\n"))
    try:
        sha256 = Bundle.open(folder).sha256
    except BundleError:
        return
    assert sha256 == hashlib.sha256(sums.read_bytes()).hexdigest()


def test_sums_entry_outside_the_bundle_is_refused(folder):
    (folder.parent / "outside").write_bytes(b"x")
    with (folder / SUMS).open("a") as sums:
        sums.write(f"{hashlib.sha256(b'x').hexdigest()}  ../outside\n")
    with pytest.raises(BundleError, match=r"\.\./outside is missing"):
        Bundle.open(folder)


def test_sealed_bundle_with_damaged_card_is_refused(folder):
    (folder / "card.json").write_text("{}")
    seal(folder)
    with pytest.raises(CardError, match=r"card\.json has format None"):
        Bundle.open(folder)


def test_bundle_with_damaged_gate_is_refused(folder):
    fields = json.loads((folder / "card.json").read_text())
    fields["gate"] = make_recogniser().as_dict() | {"scale": None}
    (folder / "card.json").write_text(json.dumps(fields))
    seal(folder)
    with pytest.raises(CardError, match=r"card\.json is damaged"):
        Bundle.open(folder)


def test_gate_of_shipped_bundle_matches_its_model():
    gate = Bundle.open(SHIPPED).card.gate
    films = np.load(SHIPPED / "selftest" / "films.npy").astype(np.float32) / np.float32(255)
    preprocessing = Bundle.open(SHIPPED).card.preprocessing
    embeddings = load(SHIPPED).predict(preprocessing.normalise(films)).embeddings
    assert embeddings.shape == (len(films), len(gate.mean))
    assert all(0 <= given.frontal <= 1 for given in gate.check_film(embeddings))
    assert gate.fitted_on["own_films"] > 1000
    assert gate.fitted_on["negatives"] > 400


def test_shipped_bundle_opens_and_contains_the_onnx_model():
    bundle = Bundle.open(SHIPPED)
    assert bundle.path == SHIPPED.resolve()
    assert (SHIPPED / TARGETS["onnx"].file).stat().st_size > 1_000_000
    assert "data" not in bundle.card.training
