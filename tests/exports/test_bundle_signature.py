"""Tests of signing and verifying bundles."""

import shutil
import subprocess

import pytest

from exports import bundle as bundle_module
from exports.bundle import SIGNATURE, SUMS, Bundle, seal, sign
from exports.errors import BundleError, SignatureError
from screening.errors import FileUnavailable
from tiny_model import write_bundle

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as other_kind

from pem_keys import write_keys


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle").path


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "ours")


def test_signed_bundle_opens_with_and_without_key_and_keeps_hash(bundle, keys):
    private, public = keys
    before = Bundle.open(bundle).sha256
    sign(bundle, private)
    assert Bundle.open(bundle, public).sha256 == before
    assert Bundle.open(bundle).sha256 == before


def test_unsigned_bundle_is_refused_if_a_key_is_given(bundle, keys):
    with pytest.raises(BundleError, match=r"is not signed .*`screening sign` makes one"):
        Bundle.open(bundle, keys[1])


def test_signature_with_another_key_is_refused(bundle, keys, tmp_path):
    sign(bundle, write_keys(tmp_path, "theirs")[0])
    with pytest.raises(
        BundleError, match=r"signature of .* does not match the public key .*ours.pub"
    ):
        Bundle.open(bundle, keys[1])


@pytest.mark.parametrize("damage", [b"", b"x", bytes(64)])
def test_damaged_signature_is_refused(bundle, keys, damage):
    sign(bundle, keys[0])
    (bundle / SIGNATURE).write_bytes(damage)
    with pytest.raises(BundleError, match="does not match the public key"):
        Bundle.open(bundle, keys[1])


def test_altered_and_resealed_bundle_is_refused(bundle, keys):
    sign(bundle, keys[0])
    kept = (bundle / SIGNATURE).read_bytes()
    with (bundle / "card.json").open("a") as card:
        card.write("\n")
    seal(bundle)
    assert not (bundle / SIGNATURE).exists()
    (bundle / SIGNATURE).write_bytes(kept)
    Bundle.open(bundle)
    with pytest.raises(BundleError, match="does not match the public key"):
        Bundle.open(bundle, keys[1])


def test_altered_file_with_valid_signature_is_refused(bundle, keys):
    sign(bundle, keys[0])
    with (bundle / "model.onnx").open("ab") as model:
        model.write(b"\0")
    with pytest.raises(BundleError, match=r"altered: model\.onnx"):
        Bundle.open(bundle, keys[1])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no key", b"\xff" * 100])
def test_file_that_is_not_a_key_is_named(bundle, keys, which, content):
    sign(bundle, keys[0])
    keys[which].write_bytes(content)
    with pytest.raises(SignatureError, match=f"{keys[which].name} is not a .* key"):
        (sign if which == 0 else Bundle.open)(bundle, keys[which])


def test_other_key_types_and_passwords_are_refused(bundle, tmp_path):
    private, public = write_keys(tmp_path, "curve", other_kind(SECP256R1()))
    with pytest.raises(SignatureError, match="is not an Ed25519 key"):
        sign(bundle, private)
    sign(bundle, write_keys(tmp_path, "ours")[0])
    with pytest.raises(SignatureError, match="is not an Ed25519 key"):
        Bundle.open(bundle, public)
    with pytest.raises(SignatureError, match="without a password"):
        sign(bundle, write_keys(tmp_path, "locked", password=b"secret")[0])


def test_swapped_private_and_public_key_are_refused(bundle, keys):
    with pytest.raises(SignatureError, match="is not a private key"):
        sign(bundle, keys[1])
    with pytest.raises(SignatureError, match="is not a public key"):
        Bundle.open(bundle, keys[0])


def test_missing_key_is_named(bundle, tmp_path):
    with pytest.raises(FileUnavailable, match="nowhere cannot be read: No such file"):
        sign(bundle, tmp_path / "nowhere")


def test_missing_package_error_contains_install_command(bundle, keys, monkeypatch):
    monkeypatch.setattr(bundle_module, "find_spec", lambda _name: None)
    for call in (lambda: sign(bundle, keys[0]), lambda: Bundle.open(bundle, keys[1])):
        with pytest.raises(SignatureError, match=r"pip install 'screening\[sign\]'"):
            call()


def test_link_in_a_bundle_is_refused(bundle):
    (bundle / "model.onnx").rename(bundle.parent / "model.onnx")
    (bundle / "model.onnx").symlink_to(bundle.parent / "model.onnx")
    with pytest.raises(BundleError, match=r"contains a link, model\.onnx"):
        Bundle.open(bundle)


@pytest.mark.skipif(not shutil.which("openssl"), reason="this system has no openssl")
def test_openssl_keys_work_and_openssl_verifies_signature(bundle, tmp_path):
    def openssl(*words):
        return subprocess.run(
            ["openssl", *map(str, words)], cwd=bundle, capture_output=True, check=False
        )

    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    assert openssl("genpkey", "-algorithm", "ed25519", "-out", private).returncode == 0
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    sign(bundle, private)
    Bundle.open(bundle, public)
    verify = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", SUMS]
    verify += ["-sigfile", SIGNATURE]
    assert openssl(*verify).returncode == 0
    with (bundle / SUMS).open("a") as sums:
        sums.write("x")
    assert openssl(*verify).returncode != 0
