import re
import struct
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from makers import encoded, grey_film
from screening.errors import UnreadableFilm
from screening.imaging.film import MAX_PIXELS, Header, check_size
from screening.imaging.raster import decode_raster, open_raster
from screening.results import FilmWarning


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey_of(data: bytes) -> np.ndarray:
    grey, warnings = decode_raster(data)
    assert warnings == ()
    assert grey.dtype == np.float32
    return grey


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk (PNG specification, 5.3)."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int) -> bytes:
    """A PNG whose header states this size, with a few bytes of data (PNG specification, 11.2)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def exif(*entries: tuple[int, int, bytes]) -> bytes:
    """Exif data with one value per entry: tag, type, four bytes (TIFF 6.0, section 2)."""
    fields = b"".join(struct.pack("<HHI4s", tag, kind, 1, value) for tag, kind, value in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + fields + bytes(4)


def test_eight_bits_are_scaled_to_0_to_1() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(grey_of(encoded(ramp)), ramp / 255, atol=1e-7)


def test_sixteen_bits_are_scaled_to_0_to_1_without_loss() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    np.testing.assert_allclose(
        grey_of(saved(Image.fromarray(ramp))), ramp.astype(float) / 65535, atol=1e-7
    )


def test_one_bit_gives_black_and_white() -> None:
    board = np.indices((8, 8)).sum(axis=0) % 2 == 1
    np.testing.assert_array_equal(grey_of(saved(Image.fromarray(board))), board)


def test_jpeg_is_read_within_compression_loss() -> None:
    film = grey_film(1)
    np.testing.assert_allclose(grey_of(encoded(film, "JPEG")), film / 255, atol=0.03)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 200, 90)])
def test_colour_is_weighted_by_bt_601(colour: tuple[int, int, int]) -> None:
    red, green, blue = colour
    grey = grey_of(saved(Image.new("RGB", (4, 4), colour)))
    expected = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    np.testing.assert_allclose(grey, expected, atol=1 / 255)


def test_palette_is_applied() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([200, 200, 200, 0, 0, 0, 100, 100, 100])
    np.testing.assert_allclose(grey_of(saved(image)), [[200 / 255, 0, 100 / 255]], atol=1e-6)


@pytest.mark.parametrize(("alpha", "expected"), [(255, 200), (128, 200 * 128 / 255), (0, 0)])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_composited_over_black(mode: str, alpha: int, expected: float) -> None:
    colour = (*[200] * (len(mode) - 1), alpha)
    grey = grey_of(saved(Image.new(mode, (4, 4), colour)))
    np.testing.assert_allclose(grey, expected / 255, atol=1 / 255)


# Exif 2.3, Orientation: 3 is upside down; 6 has the first row at the right side.
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_exif_orientation_is_applied(orientation: int, turns: int) -> None:
    film = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    tags = Image.Exif()
    tags[0x0112] = orientation
    grey = grey_of(saved(Image.fromarray(film), exif=tags))
    np.testing.assert_allclose(grey, np.rot90(film, turns) / 255, atol=1e-7)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_film_is_not_decodable(kind: str, share: float) -> None:
    data = encoded(grey_film(1), kind)
    with pytest.raises(UnreadableFilm) as caught:
        decode_raster(data[: int(share * len(data))])
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\0" * 99])
def test_bytes_without_an_image_are_not_decodable(data: bytes) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        decode_raster(data)
    assert caught.value.code == "not_decodable"
    assert "BytesIO" not in caught.value.detail


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PPM"])
def test_other_formats_are_rejected(kind: str) -> None:
    with pytest.raises(UnreadableFilm):
        decode_raster(saved(Image.fromarray(grey_film(1, side=16)), kind))


# Values that do not fit their tag make Pillow raise struct.error, TypeError, AttributeError.
@pytest.mark.parametrize(
    "entry",
    [(0x0100, 2, b"A\0\0\0"), (0x011A, 2, b"A\0\0\0"), (0x010E, 11, b"A\0\0\0")],
    ids=["width is text", "resolution is text", "description is a number"],
)
def test_film_with_damaged_exif_entry_is_still_read(entry: tuple[int, int, bytes]) -> None:
    film = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    data = saved(Image.fromarray(film), exif=exif((0x0112, 3, b"\x06\0\0\0"), entry))
    np.testing.assert_allclose(grey_of(data), np.rot90(film, -1) / 255, atol=1e-7)


def test_film_over_the_pixel_limit_is_not_decompressed() -> None:
    with pytest.raises(UnreadableFilm) as caught:
        decode_raster(png(60_000, 60_000))
    assert caught.value.code == "too_large"
    assert "60000 x 60000" in caught.value.detail


def test_film_at_the_pixel_limit_is_allowed() -> None:
    check_size(10_000, MAX_PIXELS // 10_000)
    with pytest.raises(UnreadableFilm, match="allowed"):
        check_size(10_000, MAX_PIXELS // 10_000 + 1)


def test_raster_film_has_empty_header_and_is_decoded_on_demand() -> None:
    film = open_raster(b"not an image at all")
    assert film.header == Header()
    with pytest.raises(UnreadableFilm):
        film.decode()


# PNG specification 11.3.1.1: tRNS holds samples of the image's own depth.
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_grey_of_a_png_is_black_at_any_depth(bits: int) -> None:
    top = (1 << bits) - 1
    samples = b"\xff" * max(1, bits // 8)
    header = struct.pack(">IIBBBBB", 1, 1, bits, 0, 0, 0, 0)

    def grey(transparent: int) -> float:
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        data += chunk(b"tRNS", struct.pack(">H", transparent))
        return grey_of(
            data + chunk(b"IDAT", zlib.compress(b"\0" + samples)) + chunk(b"IEND", b"")
        ).item()

    assert grey(top) == 0
    assert grey(top - 1) == 1


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_sixteen_bit_colour_keeps_all_bits(samples: int) -> None:
    rng = np.random.default_rng(samples)
    cells = rng.integers(0, 65536, (5, 7, samples), np.uint16)
    weights = np.array([0.299, 0.587, 0.114]) if samples > 2 else np.array([1.0])
    expected = cells[..., : len(weights)] @ weights / 65535
    if samples != 3:
        expected *= cells[..., -1] / 65535
    np.testing.assert_allclose(grey_of(imagecodecs.png_encode(cells)), expected, atol=1e-6)


def test_grey_stored_as_colour_gives_the_same_grey() -> None:
    film = grey_film(1, side=32)
    colour = np.stack([film] * 3, axis=-1)
    np.testing.assert_array_equal(grey_of(encoded(colour)), grey_of(encoded(film)))


def test_cmyk_is_converted_to_grey() -> None:
    # Pillow writes CMYK as Adobe does: inverted, and marked as such.
    grey = grey_of(saved(Image.new("CMYK", (16, 16), (0, 0, 0, 55)), "JPEG", quality=98))
    np.testing.assert_allclose(grey, 200 / 255, atol=0.02)


def tiff(
    cells: np.ndarray, order: str = "<", photometric: int = 1, sample_format: int = 1
) -> bytes:
    """An uncompressed grey TIFF (TIFF 6.0, sections 2 and 3)."""
    kind = cells.dtype.newbyteorder(order)
    data = cells.astype(kind).tobytes()
    rows, columns = cells.shape
    entries = ((256, columns), (257, rows), (258, 8 * cells.itemsize), (259, 1))
    entries += ((262, photometric), (273, 8), (277, 1), (278, rows), (279, len(data)))
    entries += ((339, sample_format),)
    start = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    fields = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries)
    return start + data + struct.pack(f"{order}H", len(entries)) + fields + bytes(4)


RAMP = np.arange(0, 65536, 273, dtype=np.uint16)[:240].reshape(12, 20)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("cells", [RAMP, (RAMP >> 8).astype(np.uint8)], ids=["16", "8"])
def test_tiff_byte_order_and_photometric_are_respected(
    cells: np.ndarray, order: str, photometric: int
) -> None:
    expected = cells / np.iinfo(cells.dtype).max
    expected = expected if photometric == 1 else 1 - expected
    np.testing.assert_allclose(grey_of(tiff(cells, order, photometric)), expected, atol=1e-6)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_is_read_with_each_compression(compression: str) -> None:
    data = saved(Image.fromarray(RAMP), "TIFF", compression=compression)
    np.testing.assert_allclose(grey_of(data), RAMP / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("cells", "sample_format"),
    [
        (RAMP.astype(np.int16), 2),
        (RAMP.astype(np.float32), 3),
        (RAMP.astype(np.uint32), 1),
    ],
    ids=["signed", "float", "32 bits"],
)
def test_tiff_of_other_number_types_is_unsupported(cells: np.ndarray, sample_format: int) -> None:
    with pytest.raises(UnreadableFilm, match="convert it to") as caught:
        decode_raster(tiff(cells, sample_format=sample_format))
    assert caught.value.code == "unsupported"


def test_first_of_several_pages_is_read_with_a_warning() -> None:
    first, second = Image.fromarray(RAMP), Image.fromarray(RAMP[::-1].copy())
    data = saved(first, "TIFF", save_all=True, append_images=[second])
    grey, warnings = decode_raster(data)
    np.testing.assert_allclose(grey, RAMP / 65535, atol=1e-6)
    assert warnings == (FilmWarning("multi_frame", "first of 2 pages"),)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp_is_read(mode: str) -> None:
    image = Image.fromarray(grey_film(1, side=16)).convert(mode)
    expected = np.asarray(image.convert("L")) / 255
    np.testing.assert_allclose(grey_of(saved(image, "BMP")), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_damage_message_never_quotes_the_file(kind: str) -> None:
    data = encoded(grey_film(1, side=32), kind)
    rng = np.random.default_rng(0)
    said = set()
    for _ in range(300):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, min(len(data), 300), 8)
        damaged[places] = rng.integers(0, 256, len(places))
        try:
            decode_raster(damaged.tobytes()[: rng.integers(20, len(data) + 1)], 1_000_000)
        except UnreadableFilm as error:
            if error.code == "not_decodable":
                said.add(error.detail)
    known = re.compile(r"no image in the file|truncated|damaged stream: \w+|\d+ x \d+ pixels")
    assert said
    assert all(known.fullmatch(detail) for detail in said), said
