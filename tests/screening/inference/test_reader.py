"""Reading a file gives a tensor, or the reason why it has none."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from makers import dicom_bytes, dicom_film, encoded, grey_film, make_card, write_film
from screening.errors import NotAFilm, UnreadableFilm
from screening.files import Found, discover
from screening.imaging.film import DecodeLimits
from screening.inference.reader import Reader, ReadFilm, hash_of, read_file
from screening.privacy import PatientKey
from screening.results import Status

PREPROCESSING = make_card().preprocessing


def read(folder: Path, name: str = "a.dcm", **limits: int) -> ReadFilm:
    return Reader(folder, PREPROCESSING, DecodeLimits(**limits)).read(Found(name, 1))


def test_film_is_read_to_a_tensor_of_the_model_shape(folder: Path) -> None:
    data = write_film(folder / "a.png", 1).read_bytes()
    film = read(folder, "a.png")
    assert film.tensor is not None
    assert film.tensor.shape == PREPROCESSING.shape
    assert film.tensor_sha256 == hashlib.sha256(film.tensor.tobytes()).hexdigest()
    assert film.sha256 == hashlib.sha256(data).hexdigest()
    assert (film.film, film.status, film.reason, film.warnings) == ("a.png", "scored", None, ())
    assert (film.rows, film.columns) == (128, 128)
    assert film.seconds > 0


def test_film_reports_its_original_size(folder: Path) -> None:
    stored = grey_film(1, side=200)[:120]
    (folder / "a.dcm").write_bytes(dicom_bytes(dicom_film(stored)))
    film = read(folder)
    assert (film.status, film.rows, film.columns) == (Status.SCORED, 120, 200)


def test_film_that_was_not_decoded_has_no_size(folder: Path) -> None:
    (folder / "a.dcm").write_bytes(dicom_bytes(dicom_film(grey_film(1), Modality="CT")))
    film = read(folder)
    assert (film.status, film.rows, film.columns) == (Status.REFUSED, 0, 0)


def test_burned_in_annotation_is_read(folder: Path) -> None:
    dataset = dicom_film(grey_film(1), BurnedInAnnotation="YES")
    (folder / "a.dcm").write_bytes(dicom_bytes(dataset))
    assert read(folder).header.burned_in_annotation == "YES"


@pytest.mark.parametrize("name", ["a.png", "a.dcm"])
def test_film_over_the_pixel_limit_is_not_decoded(folder: Path, name: str) -> None:
    data = encoded(grey_film(1)) if name == "a.png" else dicom_bytes(dicom_film(grey_film(1)))
    (folder / name).write_bytes(data)
    pixels = 128 * 128
    assert read(folder, name, pixels=pixels).status is Status.SCORED
    film = read(folder, name, pixels=pixels - 1)
    assert str(film.reason).startswith(
        "too_large: The film is larger than the limit (128 x 128 pixels"
    )
    assert film.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("attributes", "status"),
    [({}, "scored"), ({"BodyPartExamined": "HAND"}, "refused"), ({"Rows": 120}, "scored")],
)
def test_free_text_of_the_header_is_dropped(
    folder: Path, attributes: dict[str, object], status: str
) -> None:
    texts = {
        "StudyDescription": "Thorax Mustermann",
        "SeriesDescription": "Mustermann",
        "ProtocolName": "Mustermann",
        "PatientID": "4711",
    }
    dataset = dicom_film(grey_film(1), **texts | attributes)
    (folder / "a.dcm").write_bytes(dicom_bytes(dataset))
    film = read(folder)
    assert film.status == status
    assert film.header.patient_id == "4711"
    assert "Mustermann" not in str(vars(film.header))


def test_failed_film_keeps_its_header(folder: Path) -> None:
    dataset = dicom_film(grey_film(1), PatientID="4711", PhotometricInterpretation="MAGENTA")
    (folder / "a.dcm").write_bytes(dicom_bytes(dataset))
    film = read(folder)
    assert film.status is Status.FAILED
    assert (film.header.patient_id, film.header.modality) == ("4711", "CR")


@pytest.mark.parametrize(
    ("standard", "charset", "patient"),
    [
        ("ISO_IR 100", b"utf_7     ", b"+2AA-+2A"),
        ("ISO 2022 IR 13", b"unicode_escape", b"\\ud800  "),
    ],
)
def test_identifier_with_surrogates_has_a_hash(
    folder: Path, key: PatientKey, standard: str, charset: bytes, patient: bytes
) -> None:
    # A character set that DICOM does not define may be known to Python.
    dataset = dicom_film(grey_film(1), PatientID="P" * 8, SpecificCharacterSet=standard)
    data = dicom_bytes(dataset).replace(b"P" * 8, patient).replace(standard.encode(), charset)
    (folder / "a.dcm").write_bytes(data)
    film = read(folder)
    assert "\ud800" in film.header.patient_id
    assert len(key.hash("patient", film.header.patient_id)) == 16


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a device"])
def test_special_file_is_refused(
    folder: Path, kind: str, special: Callable[[Path, str], None]
) -> None:
    special(folder / "a.png", kind)
    (found,) = discover(folder)
    film = Reader(folder, PREPROCESSING).read(found)
    assert (film.status, film.reason.code) == ("refused", "not_followed")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a device"])
def test_special_file_in_place_of_a_film_is_not_read(
    tmp_path: Path, kind: str, special: Callable[[Path, str], None]
) -> None:
    special(tmp_path / "a", kind)
    for most in (None, 100):
        with pytest.raises(NotAFilm):
            read_file(tmp_path / "a", most)
    assert hash_of(tmp_path / "a") == ""


def test_missing_and_unreadable_files_have_different_codes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, code in (("gone", "vanished"), ("folder", "unreadable")):
        with pytest.raises(UnreadableFilm) as caught:
            read_file(tmp_path / name)
        assert caught.value.code == code
        assert hash_of(tmp_path / name) == ""


def test_start_of_a_file_over_the_limit_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screening.inference.reader.MAX_BYTES", 9)
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    assert read_file(path, 4) == b"0123"
    assert read_file(path, 100) == b"0123456789"
    with pytest.raises(UnreadableFilm, match="10 bytes"):
        read_file(path)
    assert hash_of(path) == hashlib.sha256(b"0123456789").hexdigest()


def test_reading_closes_its_files(folder: Path) -> None:
    write_film(folder / "a.png", 1)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # counted, not walked
    for name in ("a.png", "gone.png"):
        read(folder, name)
        hash_of(folder / name)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_link_in_place_of_a_film_is_not_followed(folder: Path, tmp_path: Path) -> None:
    write_film(folder / "a.png", 1)
    (found,) = discover(folder)
    (folder / "a.png").rename(tmp_path / "elsewhere.png")
    (folder / "a.png").symlink_to(tmp_path / "elsewhere.png")
    film = Reader(folder, make_card().preprocessing).read(found)
    assert film.status is Status.REFUSED
    assert film.reason.code == "not_followed"
    assert film.sha256 == ""
