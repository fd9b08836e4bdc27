"""PNG and JPEG films, read with Pillow."""

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from screening.errors import UnreadableFilm
from screening.pixels.film import Film, Grey, Header

#: Films larger than this many pixels are not decoded. A 43 cm detector at 100 um has 18 million.
MAX_PIXELS: Final = 100_000_000

# The limit above is checked from the image header; Pillow's own would warn at a lower one.
Image.MAX_IMAGE_PIXELS = None

_SIXTEEN_BIT: Final = ("I;16", "I;16B", "I;16L", "I")


def open_raster(data: bytes) -> Film:
    """A film from the bytes of a PNG or JPEG file; such files have no header to speak of."""
    return Film(Header(), lambda: decode_raster(data))


def decode_raster(data: bytes) -> tuple[Grey, tuple[str, ...]]:
    """Grey values of a PNG or JPEG: the full range of its bit depth becomes 0 to 1.

    Colour is reduced with the weights of ITU-R BT.601, transparency is laid over black,
    and an EXIF orientation is applied.

    Raises:
        UnreadableFilm: if the stream is damaged, truncated or over :data:`MAX_PIXELS`.
    """
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            check_size(image.height, image.width)
            image.load()
            return _grey(ImageOps.exif_transpose(image)), ()
    except UnreadableFilm:
        raise
    # Damaged streams raise whatever the decoder stumbled over (OSError, SyntaxError, struct.error,
    # zlib.error); Pillow names no root for them, and one bad film must never cost the night.
    except Exception as error:
        raise UnreadableFilm("not_decodable", _first_line(error)) from error


def check_size(rows: int, columns: int) -> None:
    """Refuse a decompression bomb before it is unpacked.

    Raises:
        UnreadableFilm: if the film has more than :data:`MAX_PIXELS` pixels.
    """
    if rows * columns > MAX_PIXELS:
        raise UnreadableFilm(
            "too_large", f"{rows} x {columns} pixels, {MAX_PIXELS:,} pixels are allowed"
        )


def _grey(image: Image.Image) -> Grey:
    if image.mode in _SIXTEEN_BIT:
        return np.asarray(image, dtype=np.float32) / np.float32(65535)
    if image.mode == "F":
        raise UnreadableFilm("unsupported", "floating-point pixels")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)


def _first_line(error: BaseException) -> str:
    # Pillow names the in-memory object, which says nothing to a reader.
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "no image in the file" if "cannot identify image file" in text else text
