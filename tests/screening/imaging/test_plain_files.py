"""Only files whose decoding cost is bounded by their size are decoded in this process."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from makers import dicom_bytes, dicom_film, encoded, grey_film
from screening.imaging.sniff import FIRST_BYTES, is_plain

JPEG = encoded(grey_film(1), "JPEG")


def saved(film: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    film.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode: str = "L") -> Image.Image:
    return Image.fromarray(grey_film(1)).convert(mode)


def segment(marker: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def frame(marker: int, lines: int = 100, samples: int = 100, components: int = 1) -> bytes:
    """A frame header (T.81, B.2.2)."""
    parts = b"".join(bytes((number, 0x11, 0)) for number in range(1, components + 1))
    return segment(marker, struct.pack(">BHHB", 8, lines, samples, components) + parts)


def scan(components: int = 1) -> bytes:
    """A scan header (T.81, B.2.3)."""
    parts = b"".join(bytes((number, 0)) for number in range(1, components + 1))
    return segment(0xDA, bytes((components,)) + parts + b"\0\x3f\0")


def jpeg(*parts: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(parts) + bytes(100)


@pytest.mark.parametrize(
    "data",
    [
        encoded(grey_film(1)),
        JPEG,
        saved(picture("RGB"), "JPEG"),
        saved(picture("RGB"), "JPEG", subsampling="4:2:0", exif=b"Exif\0\0" + bytes(100)),
        saved(picture("CMYK"), "JPEG"),
        saved(picture("RGBA"), "PNG"),
        saved(Image.fromarray(grey_film(1).astype(np.uint16) * 256), "PNG"),
        jpeg(frame(0xC0), scan()),
        jpeg(frame(0xC1, components=3), scan(3)),
        jpeg(segment(0xE0, b"JFIF\0" + bytes(9)), segment(0xFE, b"made by"), frame(0xC0), scan()),
        jpeg(segment(0xDB, bytes(65)), b"\xff\xff\xff", frame(0xC0), segment(0xC4), scan()),
    ],
)
def test_png_and_sequential_jpeg_of_ordinary_size_are_plain(data: bytes) -> None:
    assert is_plain(data[:FIRST_BYTES], "film")


@pytest.mark.parametrize(
    "data",
    [
        dicom_bytes(dicom_film(grey_film(1))),
        saved(picture(), "TIFF"),
        saved(picture(), "BMP"),
        saved(picture(), "JPEG", progressive=True),
        *(jpeg(frame(marker), scan()) for marker in (0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCF)),
    ],
)
def test_other_formats_and_other_jpeg_processes_are_not_plain(data: bytes) -> None:
    assert not is_plain(data[:FIRST_BYTES], "film")


@pytest.mark.parametrize("name", ["notes.txt", "README", ""])
def test_non_image_is_plain(name: str) -> None:
    assert is_plain(b"hello", name)


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.jpg", "a"])
def test_empty_file_is_plain(name: str) -> None:
    assert is_plain(b"", name)


@pytest.mark.parametrize("name", ["a.dcm", "a.tif", "a.jpg"])
def test_suffix_decides_if_content_is_unknown(name: str) -> None:
    assert not is_plain(b"hello", name)


def png(width: int, height: int, first_chunk: bytes = b"IHDR") -> bytes:
    size = struct.pack(">II", width, height)
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\r" + first_chunk + size + b"\x08\0\0\0\0" + bytes(4)


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2**31 - 1, 1), (40_001, 1000)])
def test_very_large_png_is_not_plain(width: int, height: int) -> None:
    assert not is_plain(png(width, height), "a.png")


def test_png_without_leading_ihdr_is_not_plain() -> None:
    assert is_plain(png(100, 100), "a.png")
    assert not is_plain(png(100, 100, b"tEXt"), "a.png")
    assert not is_plain(png(100, 100)[:20], "a.png")


@pytest.mark.parametrize(("lines", "samples"), [(60_000, 60_000), (65_535, 611), (611, 65_535)])
def test_very_large_jpeg_is_not_plain(lines: int, samples: int) -> None:
    assert not is_plain(jpeg(frame(0xC0, lines, samples), scan()), "a.jpg")


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff",
        jpeg(),
        jpeg(scan()),
        jpeg(frame(0xC0))[:20],
        JPEG[:60],
        jpeg(segment(0xE0, bytes(65_000)), segment(0xE1, bytes(2000)), frame(0xC0), scan()),
    ],
)
def test_jpeg_without_an_early_frame_header_is_not_plain(data: bytes) -> None:
    assert not is_plain(data[:FIRST_BYTES], "a.jpg")


def test_non_interleaved_jpeg_is_not_plain() -> None:
    # Each scan covers the full image, and their number is not limited.
    assert not is_plain(jpeg(frame(0xC0, components=3), scan(1)), "a.jpg")
    assert not is_plain(jpeg(frame(0xC0, components=3), scan(2)), "a.jpg")


@pytest.mark.parametrize(
    "between", [b"\xff\xd0", b"\xff\x00", b"\xff\x01", b"\xff\xd8", b"\0\0", b"\xff\xbf"]
)
def test_ambiguous_jpeg_is_not_plain(between: bytes) -> None:
    # For a reader that takes these bytes for a segment, the progressive frame would be its body.
    hidden = frame(0xC2)
    length = int.from_bytes(hidden[:2])
    data = b"\xff\xd8" + between + hidden
    data = data.ljust(2 + len(between) + length, b"\0")[: FIRST_BYTES - 100] + frame(0xC0) + scan()
    assert not is_plain(data, "a.jpg")


def test_jpeg_with_a_second_frame_is_not_plain() -> None:
    assert not is_plain(jpeg(frame(0xC0), frame(0xC2), scan()), "a.jpg")


def test_16_bit_colour_png_is_not_plain() -> None:
    start = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 100, 100)
    rest = b"\0\0\0" + b"crc!"
    assert is_plain(start + b"\x10\x00" + rest, "a.png")
    assert is_plain(start + b"\x08\x02" + rest, "a.png")
    assert not is_plain(start + b"\x10\x02" + rest, "a.png")
