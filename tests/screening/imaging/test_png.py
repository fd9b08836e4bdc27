"""The fast PNG decoder returns the same samples as Pillow, or None."""

import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from screening.imaging import raster
from screening.imaging.raster import decode_quickly, decode_raster, reduce_raster

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (37, 53), np.uint8)
DEEP = RNG.integers(0, 65536, (37, 53), np.uint16)
COLOUR = RNG.integers(0, 256, (37, 53, 3), np.uint8)


def saved(cells, mode=None, **options):
    buffer = BytesIO()
    image = Image.fromarray(cells)
    (image if mode is None else image.convert(mode)).save(buffer, "PNG", **options)
    return buffer.getvalue()


def text(key, value):
    info = PngImagePlugin.PngInfo()
    info.add_text(key, value)
    return info


def with_chunk(data, kind, content):
    """Insert a chunk after the image header."""
    chunk = len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize("level", [0, 1, 6])
@pytest.mark.parametrize("cells", [GREY, DEEP, COLOUR], ids=["grey", "16 bits", "colour"])
def test_samples_equal_those_of_the_file(cells, level):
    found = decode_quickly(saved(cells, compress_level=level))
    assert found.dtype == cells.dtype
    np.testing.assert_array_equal(found, cells)


@pytest.mark.parametrize("cells", [GREY, DEEP, COLOUR], ids=["grey", "16 bits", "colour"])
def test_grey_values_do_not_depend_on_the_decoder(cells, monkeypatch):
    data = saved(cells)
    quick, _warnings = decode_raster(data)
    monkeypatch.setattr(raster, "_quick", None)
    assert decode_quickly(data) is None
    slow, _warnings = decode_raster(data)
    np.testing.assert_array_equal(quick, slow)


def test_chunks_without_effect_on_samples_are_allowed():
    data = saved(
        GREY, dpi=(300, 300), pnginfo=text("Software", "a scanner"), icc_profile=b"x" * 128
    )
    np.testing.assert_array_equal(decode_quickly(data), GREY)


@pytest.mark.parametrize(
    "data",
    [
        saved(GREY, "P"),
        saved(GREY, "1"),
        saved(GREY, "LA"),
        saved(COLOUR, "RGBA"),
        saved(GREY, transparency=7),
        saved(GREY, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        saved(GREY, pnginfo=text("Raw profile type exif", "turned")),
        with_chunk(saved(GREY), b"teSt", b"of tomorrow"),
        b"\x89PNG\r\n\x1a\n",
        b"",
        b"GIF89a",
    ],
    ids=[
        *("palette", "one bit", "grey and opacity", "colour and opacity", "transparent", "Exif"),
        *("Exif as text", "unknown chunk", "signature alone", "empty", "another format"),
    ],
)
def test_other_kinds_of_png_are_left_to_pillow(data):
    assert decode_quickly(data) is None


def test_file_with_any_wrong_byte_is_left_to_pillow():
    data = saved(GREY[:9, :9])
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        assert decode_quickly(bytes(damaged)) is None, place


def test_truncated_or_extended_file_is_left_to_pillow():
    data = saved(GREY[:9, :9])
    assert all(decode_quickly(data[:length]) is None for length in range(len(data)))
    assert decode_quickly(data + b"\0") is None


def test_file_with_missing_rows_is_left_to_pillow():
    # The chunks are complete but hold half of the rows, which only decompression reveals.
    half, full = saved(GREY[:18]), saved(GREY)
    assert decode_quickly(full[:33] + half[33:]) is None


@pytest.mark.parametrize("cells", [GREY, DEEP, COLOUR], ids=["grey", "16 bits", "colour"])
def test_film_is_averaged_without_the_fast_decoder_too(cells, monkeypatch):
    data = saved(np.tile(cells, (4, 4, 1) if cells.ndim == 3 else (4, 4)))
    quick = reduce_raster(data, 64)
    monkeypatch.setattr(raster, "_quick", None)
    slow = reduce_raster(data, 64)
    assert quick.decoding == slow.decoding == "mean/2"
    np.testing.assert_array_equal(quick.grey, slow.grey)
