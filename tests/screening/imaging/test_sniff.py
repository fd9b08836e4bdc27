from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from makers import dicom_bytes, dicom_film, grey_film
from screening.imaging.sniff import kind_of


def saved(kind: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(grey_film(1, side=16)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("encoder", "kind"),
    [
        ("PNG", "PNG"),
        ("JPEG", "JPEG"),
        ("TIFF", "TIFF"),
        ("BMP", "BMP"),
        ("GIF", "GIF"),
        ("WEBP", "WebP"),
        ("JPEG2000", "JPEG 2000"),
    ],
)
def test_image_is_recognised_by_its_first_bytes(encoder: str, kind: str) -> None:
    assert kind_of(saved(encoder)[:132], "film") == kind


@pytest.mark.parametrize("start", [b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"])
def test_bigtiff_is_recognised_by_its_first_bytes(start: bytes) -> None:
    assert kind_of(start + bytes(8), "film") == "TIFF"


def test_content_takes_precedence_over_the_suffix() -> None:
    assert kind_of(saved("PNG"), "film.jpg") == "PNG"
    assert kind_of(saved("JPEG"), "film.dcm") == "JPEG"


def test_dicom_is_recognised_by_its_prefix() -> None:
    data = dicom_bytes(dicom_film(np.zeros((4, 4), np.uint16)))
    assert kind_of(data[:132], "IM0001") == "DICOM"


# PS3.5 7.1: tag (group, element), then in explicit VR two letters; in implicit VR a 32-bit length.
@pytest.mark.parametrize(
    "start",
    [
        b"\x02\x00\x00\x00UL\x04\x00",
        b"\x08\x00\x05\x00CS\x0a\x00",
        b"\x08\x00\x16\x00UI\x1a\x00",
        b"\x08\x00\x05\x00\x0a\x00\x00\x00",
        b"\x08\x00\x16\x00\x1a\x00\x00\x00",
        b"\x00\x08\x00\x05CS\x00\x0a",
    ],
)
def test_dicom_without_preamble_is_recognised(start: bytes) -> None:
    assert kind_of(start + b"ISO_IR 100", "IM0001") == "DICOM"


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00",
        b"\x08\x00\x05\x00",
        b"\x08\x00\x05\x00\xff\xff\xff\xff",
        b"\x08\x00\x00\x01UI\x1a\x00",
        b"\x03\x00\x05\x00CS\x0a\x00",
        b"\x00\x08\x00\x05cs\x00\x0a",
        b"\x00\x08\x01\x00CS\x00\x0a",
    ],
)
def test_other_content_is_not_taken_for_dicom(data: bytes) -> None:
    assert kind_of(data, "data.bin") is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("film.png", "PNG"),
        ("FILM.PNG", "PNG"),
        ("film.jpg", "JPEG"),
        ("film.Jpeg", "JPEG"),
        ("film.dcm", "DICOM"),
        ("film.DICOM", "DICOM"),
        ("a/b.c/film.tiff", "TIFF"),
        ("film.bmp", "BMP"),
        ("film.gif", "GIF"),
        ("film.jp2", "JPEG 2000"),
        ("film.webp", "WebP"),
    ],
)
def test_suffix_decides_if_content_is_unknown(name: str, kind: str) -> None:
    assert kind_of(b"", name) == kind
    assert kind_of(b"hello", name) == kind


@pytest.mark.parametrize("name", ["notes.txt", "README", "film.png.bak", "png", ".png", "a.png/b"])
def test_unknown_content_and_suffix_is_not_an_image(name: str) -> None:
    assert kind_of(b"hello", name) is None


def test_text_that_starts_with_bm_is_not_a_bitmap() -> None:
    assert kind_of(b"BMI;age;sex\n22;45;F\n", "cohort.csv") is None
