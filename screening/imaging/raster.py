"""Read PNG, JPEG, TIFF and BMP films with Pillow or a faster PNG decoder.

kornia-rs decodes a large PNG film in less than half the time, but holds the GIL meanwhile. It is
only given complete files of the simplest kind.
"""

import zlib
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from screening.errors import UnreadableFilm
from screening.imaging.colour import grey_of_colour
from screening.imaging.downscale import JPEG, MEANS, averaged, halvings
from screening.imaging.film import MAX_PIXELS, Decoded, Film, Grey, Header, check_size, silence
from screening.results import FilmWarning

try:
    from kornia_rs import io as _quick
except ImportError:  # not installed on small devices
    _quick = None  # type: ignore[assignment]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

#: Chunks that do not change the samples (PNG specification, 11.2 and 11.3).
_PLAIN: Final = frozenset(
    b"IHDR IDAT IEND gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs tIME tEXt".split()
)

#: First bytes of a text chunk that holds Exif, which may rotate the film.
_EXIF: Final = b"Raw profile"

#: Bit depth and colour type (11.2.2), and their names in the decoder.
_KINDS: Final = {(8, 0): ("u8", "mono"), (8, 2): ("u8", "rgb"), (16, 0): ("u16", "mono")}


def is_installed() -> bool:
    """Return True if the fast decoder is installed."""
    return _quick is not None


def decode_quickly(data: bytes) -> npt.NDArray[Any] | None:
    """Decode a PNG to samples, shape (rows, columns) or (rows, columns, 3), uint8 or uint16.

    Returns:
        None if the decoder is not installed, or for a file that is damaged, interlaced, or holds
        anything other than 8-bit grey, 8-bit colour or 16-bit grey.
    """
    if not is_installed() or not _is_plain(data):
        return None
    columns, rows = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    depth, mode = _KINDS[data[24], data[25]]
    decode = getattr(_quick, f"decode_image_png_{depth}")
    try:
        cells = np.asarray(decode(data, (rows, columns), mode))
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    # A panic in Rust is not an Exception. On any error, the other decoder reports the reason.
    except BaseException:  # noqa: BLE001
        return None
    return cells[..., 0] if mode == "mono" else cells


def _is_plain(data: bytes) -> bool:
    """Return True for a complete, undamaged file of a kind that the decoder reads."""
    if not data.startswith(_SIGNATURE) or len(data) < 33:
        return False
    if (data[24], data[25]) not in _KINDS or data[28]:
        return False
    view, at, kind = memoryview(data), len(_SIGNATURE), b""
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 8 + length
        stated = int.from_bytes(data[end : end + 4])
        if kind not in _PLAIN or data.startswith(_EXIF, at + 8):
            return False
        if end + 4 > len(data) or zlib.crc32(view[at + 4 : end]) != stated:
            return False
        at = end + 4
    return kind == b"IEND" and at == len(data)


# The limit is checked from the image header; Pillow's own limit is lower and would warn.
Image.MAX_IMAGE_PIXELS = None

# A layout that Pillow does not open by itself: 16 bits, big endian, white is zero.
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))

_FORMATS: Final = (
    (b"II", ("TIFF",)),
    (b"MM", ("TIFF",)),
    (b"BM", ("BMP",)),
    (b"", ("PNG", "JPEG")),
)

_SIXTEEN_BIT: Final = ("I;16", "I;16B", "I;16L")
_ORIENTATION: Final = 0x0112

# TIFF 6.0.
_BITS_PER_SAMPLE: Final = 258
_PHOTOMETRIC: Final = 262
_SAMPLE_FORMAT: Final = 339


def open_raster(data: bytes, max_pixels: int = MAX_PIXELS) -> Film:
    """Open a film from the bytes of an image file; such files have an empty header."""
    return Film(
        Header(),
        lambda: decode_raster(data, max_pixels),
        lambda side: reduce_raster(data, side, max_pixels),
    )


def decode_raster(
    data: bytes, max_pixels: int = MAX_PIXELS
) -> tuple[Grey, tuple[FilmWarning, ...]]:
    """Return the grey values of an image file: the full range of its bit depth becomes 0 to 1.

    Colour is reduced with the weights of ITU-R BT.601, transparency is composited over black,
    and the Exif orientation is applied. If the file has several pages, the first is read, with a
    warning.

    Raises:
        UnreadableFilm: if the stream is damaged or truncated, has more than `max_pixels`, or
            holds signed or floating-point values.
    """
    silence()
    formats = next(formats for magic, formats in _FORMATS if data.startswith(magic))
    try:
        with Image.open(BytesIO(data), formats=formats) as image:
            check_size(image.height, image.width, max_pixels)
            warnings = _check_tiff(image) if image.format == "TIFF" else ()
            if (cells := decode_quickly(data)) is not None:
                return _grey_of_plain(cells), ()
            image.load()
            grey = _turned(_grey(image, data), _orientation(image))
            return np.ascontiguousarray(grey), warnings
    except (MemoryError, UnreadableFilm):
        raise
    # Damaged streams raise arbitrary exceptions (OSError, SyntaxError, struct.error, zlib.error);
    # Pillow has no common base class for them, and one bad film must never fail the job.
    except Exception as error:
        raise UnreadableFilm("not_decodable", _describe(error)) from error


def reduce_raster(data: bytes, side: int, max_pixels: int = MAX_PIXELS) -> Decoded | None:
    """Return the grey values of a PNG or JPEG at a half, quarter or eighth of its size.

    A JPEG is decoded at that size (T.81, A.3.3: from fewer coefficients of each block); a PNG is
    averaged before its samples are converted to floats.

    Args:
        side: see :func:`~screening.imaging.downscale.halvings`.

    Returns:
        None for a film that is too small, is transparent, is rotated, or cannot be decoded.
    """
    silence()
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            columns, rows = image.size
            packed = image.format == "JPEG"
            power = halvings(rows, columns, side, JPEG if packed else MEANS)
            if not power or rows * columns > max_pixels:
                return None
            if packed:
                kind, grey = "jpeg", _small_jpeg(image, data, power)
            else:
                kind, grey = "mean", _averaged_png(image, data, power)
    except MemoryError:
        raise
    # Decoding in full will report the reason.
    except Exception:  # noqa: BLE001
        return None
    if grey is None or grey.shape != (-(-rows >> power), -(-columns >> power)):
        return None
    return Decoded(grey, (), rows, columns, f"{kind}/{1 << power}", power)


def _small_jpeg(image: Image.Image, data: bytes, power: int) -> Grey | None:
    if _orientation(image) != 1:
        return None
    image.draft(None, (image.width >> power, image.height >> power))
    image.load()
    return _grey(image, data)


def _averaged_png(image: Image.Image, data: bytes, power: int) -> Grey | None:
    cells = decode_quickly(data)
    if cells is None:
        modes = _SIXTEEN_BIT if data[24] == 16 else ("L", "RGB")
        if image.mode not in modes or image.has_transparency_data:
            return None
        image.load()
        if _orientation(image) != 1:
            return None
        cells = np.asarray(image)
    means = averaged(cells, power)
    if cells.ndim == 3:
        return grey_of_colour(means, 8)
    return means / np.float32(np.iinfo(cells.dtype).max)


def _grey_of_plain(cells: npt.NDArray[Any]) -> Grey:
    """Return the grey values of 8- or 16-bit grey, or 8-bit colour."""
    return (
        grey_of_colour(cells, 8) if cells.ndim == 3 else _scaled(cells, np.iinfo(cells.dtype).max)
    )


def _describe(error: Exception) -> str:
    """Describe the error in fixed words: messages from Pillow may quote the file."""
    if isinstance(error, UnidentifiedImageError):
        return "no image in the file"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "truncated"
    return f"damaged stream: {type(error).__name__}"


def _grey(image: Image.Image, data: bytes) -> Grey:
    if image.mode in _SIXTEEN_BIT:
        return _sixteen_bit_grey(image)
    if image.mode in ("I", "F"):
        raise UnreadableFilm("unsupported", "32-bit pixels; convert it to 16-bit PNG or DICOM")
    # Byte 24 of a PNG is its bit depth, 25 its colour type (PNG specification, 11.2.2).
    if image.format == "PNG" and data[24] == 16:
        return _sixteen_bit_colour(image, data)
    transparent = image.info.get("transparency")
    if image.mode in ("1", "L"):
        cells = np.asarray(image.convert("L"))
        depth = data[24] if image.format == "PNG" else 8
        # Pillow widens samples of 2 and 4 bits to 8, but not the transparent value.
        if isinstance(transparent, int) and image.mode == "L":
            transparent = transparent * 255 // ((1 << min(depth, 8)) - 1)
        return _scaled(cells, 255, transparent if isinstance(transparent, int) else None)
    if image.has_transparency_data:
        return grey_of_colour(np.asarray(image.convert("RGBA")), 8, alpha=True)
    return grey_of_colour(np.asarray(image.convert("RGB")), 8)


def _scaled(cells: npt.NDArray[Any], top: int, transparent: int | None = None) -> Grey:
    grey: Grey = cells.astype(np.float32)
    grey /= np.float32(top)
    if transparent is not None:
        grey[cells == transparent] = 0
    return grey


def _sixteen_bit_grey(image: Image.Image) -> Grey:
    cells = np.asarray(image)
    transparent = image.info.get("transparency")
    if image.format != "TIFF":
        return _scaled(cells, 65535, transparent if isinstance(transparent, int) else None)
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    top = (1 << int(tags.get(_BITS_PER_SAMPLE, (16,))[0])) - 1
    grey = _scaled(cells, top)
    # Pillow inverts white-is-zero only for up to 8 bits.
    return np.subtract(1, grey, out=grey) if tags.get(_PHOTOMETRIC) == 0 else grey


def _sixteen_bit_colour(image: Image.Image, data: bytes) -> Grey:
    """Decode a 16-bit PNG with colour or opacity, of which Pillow would keep only 8 bits."""
    import imagecodecs

    cells = np.asarray(imagecodecs.png_decode(data))
    if cells.dtype != np.uint16 or cells.ndim != 3 or cells.shape[:2] != image.size[::-1]:
        raise UnreadableFilm("not_decodable", "damaged stream: its shape differs from the header")
    grey = grey_of_colour(cells, 16, alpha=cells.shape[2] in (2, 4))
    transparent = image.info.get("transparency")
    if cells.shape[2] == 3 and isinstance(transparent, tuple):
        grey[(cells == np.array(transparent, np.uint16)).all(axis=2)] = 0
    return grey


def _check_tiff(image: Image.Image) -> tuple[FilmWarning, ...]:
    """Reject anything but plain unsigned images; warn if the file has more pages."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    kinds = tags.get(_SAMPLE_FORMAT, (1,))
    for kind, name in ((2, "signed"), (3, "floating-point"), (5, "complex"), (6, "complex")):
        if kind in kinds:
            raise UnreadableFilm("unsupported", f"{name} pixels; convert it to PNG or DICOM")
    try:
        pages = int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    # A damaged second page does not matter: the first one is read.
    except Exception:  # noqa: BLE001
        pages = 1
    image.seek(0)
    return (FilmWarning("multi_frame", f"first of {pages} pages"),) if pages > 1 else ()


def _orientation(image: Image.Image) -> int:
    """Return Exif orientation 1 to 8; 1 if absent or invalid, or for TIFF, which Pillow rotates."""
    if image.format == "TIFF":
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except MemoryError:
        raise
    # Invalid Exif raises arbitrary exceptions; the film itself is intact.
    except Exception:  # noqa: BLE001
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(grey: Grey, orientation: int) -> Grey:
    """Apply an Exif 2.3 Orientation: which side of the scene the first row and column are."""
    if orientation >= 5:  # rows become columns
        grey = grey.T
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return grey
