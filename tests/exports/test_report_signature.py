"""Tests of signing and verifying reports."""

import shutil
import subprocess

import pytest

from exports import bundle
from exports.bundle import is_signed_report, sign_report, signer
from exports.errors import SignatureError
from screening.audit import AUDIT, SIGNATURE, Event, read_audit, write_audit
from screening.errors import FileUnavailable
from screening.report.verification import verify

pytest.importorskip("cryptography")

from pem_keys import write_keys


@pytest.fixture
def report(tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    write_audit(folder, [Event("now", "submitted", "job-1")], 0)
    return folder


@pytest.fixture
def head(report):
    return read_audit((report / AUDIT).read_bytes()).head


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "ours")


def test_signed_report_is_verified_with_the_public_key(report, head, keys):
    assert not is_signed_report(report, head, keys[1])
    sign_report(report, head, keys[0])
    assert is_signed_report(report, head, keys[1])
    assert verify(report) == []


def test_every_bit_of_a_signature_matters(report, head, keys):
    sign_report(report, head, keys[0])
    content = (report / SIGNATURE).read_bytes()
    assert len(content) == 64
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            (report / SIGNATURE).write_bytes(changed)
            assert not is_signed_report(report, head, keys[1])


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65])
def test_signature_of_another_length_is_invalid(report, head, keys, content):
    (report / SIGNATURE).write_bytes(content)
    assert not is_signed_report(report, head, keys[1])


def test_rewritten_report_is_no_longer_signed(report, head, keys):
    sign_report(report, head, keys[0])
    write_audit(report, [Event("now", "submitted", "job-2")], 0)
    assert verify(report) == []
    new_head = read_audit((report / AUDIT).read_bytes()).head
    assert not is_signed_report(report, new_head, keys[1])


def test_signature_with_another_key_is_invalid(report, head, keys, tmp_path):
    sign_report(report, head, write_keys(tmp_path, "theirs")[0])
    assert not is_signed_report(report, head, keys[1])


def test_invalid_key_is_refused_before_signing(keys, tmp_path):
    with pytest.raises(SignatureError, match="is not a private key"):
        signer(keys[1])
    with pytest.raises(FileUnavailable, match="nowhere cannot be read: No such file"):
        signer(tmp_path / "nowhere")


def test_unwritable_report_is_named(head, keys, tmp_path):
    with pytest.raises(SignatureError, match="gone cannot be signed: No such file"):
        sign_report(tmp_path / "gone", head, keys[0])


def test_missing_package_error_contains_install_command(report, head, keys, monkeypatch):
    monkeypatch.setattr(bundle, "find_spec", lambda _name: None)
    for call in (lambda: signer(keys[0]), lambda: is_signed_report(report, head, keys[1])):
        with pytest.raises(SignatureError, match=r"pip install 'screening\[sign\]'"):
            call()


@pytest.mark.skipif(not shutil.which("openssl"), reason="this system has no openssl")
def test_documented_openssl_commands_verify_a_report(report, head, keys):
    """Runs the commands of the docstring; the tests of bundles use keys made by OpenSSL."""
    by_hand = bundle.__doc__[bundle.__doc__.index("    tail -c 66") :]
    commands = [line.strip() for line in by_hand.splitlines() if line.startswith("    ")]
    assert len(commands) == 2
    sign_report(report, head, keys[0])
    shutil.copy(keys[1], report / "public.pem")

    def run():
        return subprocess.run(
            ["sh", "-ec", "\n".join(commands)], cwd=report, capture_output=True, check=False
        )

    assert run().returncode == 0
    assert (report / "head").read_text() == head
    audit = (report / AUDIT).read_bytes()
    (report / AUDIT).write_bytes(audit[:-3] + bytes([audit[-3] ^ 1]) + audit[-2:])
    assert run().returncode != 0
