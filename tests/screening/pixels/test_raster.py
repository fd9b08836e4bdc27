import struct
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from makers import encoded, grey_film
from screening.errors import UnreadableFilm
from screening.pixels.film import Header
from screening.pixels.raster import MAX_PIXELS, check_size, decode_raster, open_raster


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey_of(data: bytes) -> np.ndarray:
    grey, warnings = decode_raster(data)
    assert warnings == ()
    assert grey.dtype == np.float32
    return grey


def png(width: int, height: int) -> bytes:
    """A PNG whose header says this size, with a few bytes of data (PNG specification, 11.2)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def exif(*entries: tuple[int, int, bytes]) -> bytes:
    """Exif with one value an entry: tag, type, four bytes (TIFF 6.0, section 2)."""
    fields = b"".join(struct.pack("<HHI4s", tag, kind, 1, value) for tag, kind, value in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + fields + bytes(4)


def test_eight_bits_become_0_to_1() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(grey_of(encoded(ramp)), ramp / 255, atol=1e-7)


def test_sixteen_bits_become_0_to_1_without_loss() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    np.testing.assert_allclose(
        grey_of(saved(Image.fromarray(ramp))), ramp.astype(float) / 65535, atol=1e-7
    )


def test_one_bit_becomes_black_and_white() -> None:
    board = np.indices((8, 8)).sum(axis=0) % 2 == 1
    np.testing.assert_array_equal(grey_of(saved(Image.fromarray(board))), board)


def test_a_jpeg_is_read_with_the_loss_of_a_jpeg() -> None:
    film = grey_film(1)
    np.testing.assert_allclose(grey_of(encoded(film, "JPEG")), film / 255, atol=0.03)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 200, 90)])
def test_colour_is_weighted_as_bt_601_says(colour: tuple[int, int, int]) -> None:
    red, green, blue = colour
    grey = grey_of(saved(Image.new("RGB", (4, 4), colour)))
    expected = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    np.testing.assert_allclose(grey, expected, atol=1 / 255)


def test_a_palette_is_looked_up() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([200, 200, 200, 0, 0, 0, 100, 100, 100])
    np.testing.assert_allclose(grey_of(saved(image)), [[200 / 255, 0, 100 / 255]], atol=1e-6)


@pytest.mark.parametrize(("alpha", "expected"), [(255, 200), (128, 200 * 128 / 255), (0, 0)])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_lies_over_black(mode: str, alpha: int, expected: float) -> None:
    colour = (*[200] * (len(mode) - 1), alpha)
    grey = grey_of(saved(Image.new(mode, (4, 4), colour)))
    np.testing.assert_allclose(grey, expected / 255, atol=1 / 255)


# Exif 2.3, Orientation: 3 is upside down; 6 has the first row at the right side.
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_an_exif_orientation_is_applied(orientation: int, turns: int) -> None:
    film = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    tags = Image.Exif()
    tags[0x0112] = orientation
    grey = grey_of(saved(Image.fromarray(film), exif=tags))
    np.testing.assert_allclose(grey, np.rot90(film, turns) / 255, atol=1e-7)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_film_that_was_cut_off_does_not_decode(kind: str, share: float) -> None:
    data = encoded(grey_film(1), kind)
    with pytest.raises(UnreadableFilm) as caught:
        decode_raster(data[: int(share * len(data))])
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\0" * 99])
def test_bytes_that_are_no_image_do_not_decode(data: bytes) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        decode_raster(data)
    assert caught.value.code == "not_decodable"
    assert "BytesIO" not in caught.value.detail


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF"])
def test_no_other_format_is_read_by_chance(kind: str) -> None:
    with pytest.raises(UnreadableFilm):
        decode_raster(saved(Image.fromarray(grey_film(1, side=16)), kind))


# exif_transpose writes the other tags anew, and raises struct.error, TypeError or AttributeError
# for values that do not fit their tag.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "entry",
    [(0x0100, 2, b"A\0\0\0"), (0x011A, 2, b"A\0\0\0"), (0x010E, 11, b"A\0\0\0")],
    ids=["width is text", "resolution is text", "description is a number"],
)
def test_damaged_exif_costs_no_more_than_the_film(entry: tuple[int, int, bytes]) -> None:
    film = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    data = saved(Image.fromarray(film), exif=exif((0x0112, 3, b"\x06\0\0\0"), entry))
    # Either answer will do: the film as it was meant, or a named failure.
    with suppress(UnreadableFilm):
        np.testing.assert_allclose(decode_raster(data)[0], np.rot90(film, -1) / 255, atol=1e-7)


def test_a_film_over_the_limit_is_not_unpacked() -> None:
    with pytest.raises(UnreadableFilm) as caught:
        decode_raster(png(60_000, 60_000))
    assert caught.value.code == "too_large"
    assert "60000 x 60000" in caught.value.detail


def test_the_limit_itself_is_allowed() -> None:
    check_size(10_000, MAX_PIXELS // 10_000)
    with pytest.raises(UnreadableFilm, match="allowed"):
        check_size(10_000, MAX_PIXELS // 10_000 + 1)


def test_a_raster_film_says_nothing_about_itself_and_is_decoded_only_when_asked() -> None:
    film = open_raster(b"not an image at all")
    assert film.header == Header()
    with pytest.raises(UnreadableFilm):
        film.decode()
