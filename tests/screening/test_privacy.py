import errno
import hashlib
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from screening.errors import FileUnavailable, KeyFileError
from screening.privacy import PatientKey


def rfc_2104(secret: bytes, message: bytes) -> str:
    """HMAC-SHA256 as defined in RFC 2104 section 2."""
    padded = secret.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).hexdigest()


def test_hash_is_the_start_of_hmac_sha256(key: PatientKey) -> None:
    assert key.hash("patient", "Müller") == rfc_2104(b"k" * 32, "patient\0Müller".encode())[:16]


def test_equal_patients_have_equal_hashes(key: PatientKey) -> None:
    assert key.hash("patient", "1") == key.hash("patient", "1")
    assert key.hash("patient", "1") != key.hash("patient", "2")


def test_hash_depends_on_the_kind(key: PatientKey) -> None:
    assert key.hash("patient", "1.2.3") != key.hash("study", "1.2.3")


def test_hash_depends_on_the_key(key: PatientKey) -> None:
    assert key.hash("patient", "1") != PatientKey(b"K" * 32).hash("patient", "1")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("ward 2/Mustermann.png", ".png"),
        ("Mustermann.DCM", ".dcm"),
        ("Mustermann.erika", ""),
        ("Mustermann", ""),
        (".png", ""),
        ("a.png.Mustermann", ""),
    ],
)
def test_hashed_film_name_keeps_only_a_known_suffix(
    key: PatientKey, name: str, suffix: str
) -> None:
    assert key.film(name) == key.hash("film", name) + suffix


def test_surrogates_have_distinct_hashes(key: PatientKey) -> None:
    assert len({key.hash("patient", value) for value in ("\ud800", "\ud801", "?")}) == 3


def test_hash_of_an_empty_value_is_empty(key: PatientKey) -> None:
    assert key.hash("patient", "") == ""


def test_repr_hides_the_secret() -> None:
    assert "hush" not in repr(PatientKey(b"hush" * 8))


def test_new_key_file_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "state" / "screening" / "key"
    made = PatientKey.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert bytes.fromhex(path.read_text(encoding="ascii")) == made.secret
    assert len(made.secret) == 32


def test_new_key_is_synced_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "key", []

    def fsync(handle: int) -> None:
        status = os.fstat(handle)
        synced.append((status.st_ino, status.st_size if stat.S_ISREG(status.st_mode) else None))

    monkeypatch.setattr(os, "fsync", fsync)
    PatientKey.load_or_create(path)
    assert synced == [(path.stat().st_ino, 65), (tmp_path.stat().st_ino, None)]
    assert list(tmp_path.iterdir()) == [path]


def test_concurrent_workers_share_one_key(tmp_path: Path) -> None:
    workers = 8
    barrier = threading.Barrier(workers)

    def begin(place: Path) -> PatientKey:
        barrier.wait()
        return PatientKey.load_or_create(place / "key")

    with ThreadPoolExecutor(workers) as pool:
        for number in range(20):
            keys = list(pool.map(begin, [tmp_path / str(number)] * workers))
            assert len(set(keys)) == 1


def test_key_file_is_never_visible_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    seen = []
    monkeypatch.setattr(
        os, "fsync", lambda _handle: seen.append(path.exists() and path.read_text())
    )
    made = PatientKey.load_or_create(path)
    assert seen == [False, made.secret.hex() + "\n"]


def test_crash_during_key_creation_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def crash(_handle: int) -> None:
        raise Crash

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(Crash):
        PatientKey.load_or_create(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


def test_key_is_created_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    made = PatientKey.load_or_create(tmp_path / "key")
    assert PatientKey.load_or_create(tmp_path / "key") == made
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_fingerprint_identifies_a_key_without_revealing_it(key: PatientKey) -> None:
    assert key.fingerprint == PatientKey(bytes(key.secret)).fingerprint
    assert key.fingerprint != PatientKey(b"K" * 32).fingerprint
    assert len(key.fingerprint) == 16
    assert key.fingerprint not in key.secret.hex()


def test_fingerprint_differs_from_patient_hashes(key: PatientKey) -> None:
    assert key.hash("patient", "patient key") != key.fingerprint


def test_existing_key_is_reused(tmp_path: Path) -> None:
    first = PatientKey.load_or_create(tmp_path / "key")
    assert PatientKey.load_or_create(tmp_path / "key") == first


def test_new_keys_differ(tmp_path: Path) -> None:
    assert PatientKey.load_or_create(tmp_path / "a") != PatientKey.load_or_create(tmp_path / "b")


@pytest.mark.parametrize(
    "content",
    [b"", b"not hex", b"ab" * 31, b"ab" * 33, "ü".encode() * 32],
    ids=["empty", "words", "short", "long", "umlauts"],
)
def test_error_names_an_invalid_key_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=r"site\.key"):
        PatientKey.load_or_create(path)
    assert path.read_bytes() == content


def test_error_names_an_unusable_key_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileUnavailable, match="file"):
        PatientKey.load_or_create(tmp_path / "file" / "key")
    with pytest.raises(FileUnavailable, match=tmp_path.name):
        PatientKey.load_or_create(tmp_path)
