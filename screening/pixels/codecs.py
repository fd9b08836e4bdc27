"""Compressed frames to cells, with imagecodecs.

Two of its codecs are left out on purpose. ``jpegsof3`` crashes on damaged streams, and ``jpeg8``
reads lossless JPEG as well. ``htj2k`` swallows its own errors and gives whatever the memory held;
``jpeg2k`` reads high-throughput streams as well.
"""

from collections.abc import Callable
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom.uid as uids

from screening.errors import UnreadableFilm
from screening.pixels import jpeg_2000, streams
from screening.pixels.image_pixel import ImagePixel
from screening.pixels.limits import check_size
from screening.pixels.streams import StreamError, StreamHeader, read_stream_header

#: JPEG's marker; JPEG 2000 ends its code stream with the same.
_END_OF_IMAGE: Final = b"\xff\xd9"

_JPEG: Final = frozenset({streams.JPEG, streams.LOSSLESS_JPEG})
_JPEG_LS: Final = frozenset({streams.JPEG_LS})
_JPEG_2000: Final = frozenset({streams.JPEG_2000, streams.HTJ2K})
_JPEG_XL: Final = frozenset({streams.JPEG_XL})

#: Transfer syntaxes (PS3.5 annex A.4), and the kinds of stream that each may hold.
STREAMS: Final[dict[str, frozenset[str]]] = {
    uids.JPEGBaseline8Bit: _JPEG,
    uids.JPEGExtended12Bit: _JPEG,
    uids.JPEGLossless: _JPEG,
    uids.JPEGLosslessSV1: _JPEG,
    uids.JPEGLSLossless: _JPEG_LS,
    uids.JPEGLSNearLossless: _JPEG_LS,
    uids.JPEG2000Lossless: _JPEG_2000,
    uids.JPEG2000: _JPEG_2000,
    uids.JPEG2000MCLossless: _JPEG_2000,
    uids.JPEG2000MC: _JPEG_2000,
    uids.HTJ2KLossless: _JPEG_2000,
    uids.HTJ2KLosslessRPCL: _JPEG_2000,
    uids.HTJ2K: _JPEG_2000,
    "1.2.840.10008.1.2.4.110": _JPEG_XL,
    "1.2.840.10008.1.2.4.111": _JPEG_XL,
    "1.2.840.10008.1.2.4.112": _JPEG_XL,
}

#: Every kind, for pixel data whose transfer syntax nobody states.
ANY: Final = _JPEG | _JPEG_LS | _JPEG_2000 | _JPEG_XL


def _jpeg(stream: bytes, header: StreamHeader) -> Any:
    # As it stands in the stream: which colours these are, is for the header to say.
    raw = "YCBCR" if header.samples == 3 else None
    return imagecodecs.jpeg8_decode(stream, colorspace=raw, outcolorspace=raw)


def _jpeg_2000(stream: bytes, header: StreamHeader) -> Any:
    return imagecodecs.jpeg2k_decode(stream[header.start :])


_DECODERS: Final[dict[str, Callable[[bytes, StreamHeader], Any]]] = {
    streams.JPEG: _jpeg,
    streams.LOSSLESS_JPEG: _jpeg,
    streams.JPEG_LS: lambda stream, _header: imagecodecs.jpegls_decode(stream),
    streams.JPEG_2000: _jpeg_2000,
    streams.HTJ2K: _jpeg_2000,
    streams.JPEG_XL: lambda stream, _header: imagecodecs.jpegxl_decode(stream),
}


def decode(
    stream: bytes, kinds: frozenset[str], pixel: ImagePixel, max_pixels: int
) -> tuple[npt.NDArray[Any], StreamHeader]:
    """Cells of one frame, shape (rows, columns) or (rows, columns, 3), and its stream's header.

    Raises:
        UnreadableFilm: before anything is unpacked, if the stream is of another kind or size
            than the data set says; afterwards, if it does not decode.
    """
    try:
        header = read_stream_header(stream)
    except StreamError as error:
        raise UnreadableFilm("not_decodable", str(error)) from error
    _check(header, kinds, pixel, max_pixels)
    # libjpeg makes up the rest of a stream that is cut off, and CharLS looks for it for seconds.
    # Coded data never hold this marker.
    if header.kind in _JPEG | _JPEG_LS and stream.find(_END_OF_IMAGE, header.start) < 0:
        raise UnreadableFilm("not_decodable", "the stream is cut off")
    cells = np.asarray(_DECODERS[header.kind](stream, header))
    shape = (pixel.rows, pixel.columns) + ((3,) if pixel.samples == 3 else ())
    if cells.shape != shape or cells.dtype.kind not in "iu":
        raise UnreadableFilm("not_decodable", f"{header.kind} stream of another shape")
    return cells.astype(cells.dtype.newbyteorder("="), copy=False), header


def decode_low(
    stream: bytes, kinds: frozenset[str], pixel: ImagePixel, max_pixels: int, power: int
) -> tuple[npt.NDArray[np.float32], int] | None:
    """A film without its finest wavelet coefficients; see :func:`screening.pixels.jpeg_2000.decode`.

    Args:
        power: how often it may be halved.

    Returns:
        Stored values, and how often it was halved. None for what is not grey lossless JPEG 2000, in
        one piece, whole, and as the data set says.
    """
    header = read_stream_header(stream)
    _check(header, kinds, pixel, max_pixels)
    power = min(power, header.halvings)
    if header.kind != streams.JPEG_2000 or header.lossy or not power:
        return None
    if header.samples != 1 or header.signed or pixel.signed:
        return None
    if header.precision != pixel.stored or pixel.high != pixel.stored - 1 or pixel.stored > 16:
        return None
    # Of a stream that is cut off the low resolutions may be whole.
    if not stream.rstrip(b"\0").endswith(_END_OF_IMAGE):
        return None
    low = jpeg_2000.decode(stream[header.start :], power, header.precision)
    shape = tuple(-(-length >> power) for length in (pixel.rows, pixel.columns))
    return (low, power) if low.shape == shape else None


def _check(header: StreamHeader, kinds: frozenset[str], pixel: ImagePixel, max_pixels: int) -> None:
    if header.kind not in kinds:
        raise UnreadableFilm("not_decodable", f"holds a {header.kind} stream")
    check_size(header.rows, header.columns, max_pixels)
    if (header.rows, header.columns) != (pixel.rows, pixel.columns):
        raise UnreadableFilm(
            "not_decodable",
            f"the stream has {header.rows} x {header.columns} pixels, "
            f"the header says {pixel.rows} x {pixel.columns}",
        )
    if header.samples and header.samples != pixel.samples:
        raise UnreadableFilm(
            "not_decodable",
            f"the stream has {header.samples} samples a pixel, the header says {pixel.samples}",
        )
    # A lossless stream of fewer bits may hold the values themselves, if its cells are as wide.
    narrow = header.precision < pixel.stored
    if header.precision and narrow and (header.lossy or header.precision <= 8):
        raise UnreadableFilm(
            "not_decodable",
            f"the stream has {header.precision} bits a sample, the header says {pixel.stored}",
        )
