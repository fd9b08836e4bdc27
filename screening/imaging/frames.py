"""Decode the stored values of the first frame (PS3.5 8.1 and A.4), for any transfer syntax.

Two codecs of imagecodecs are deliberately not used. ``jpegsof3`` crashes on damaged streams;
``jpeg8`` reads lossless JPEG, too. ``htj2k`` ignores its own errors and returns uninitialised
memory; ``jpeg2k`` reads high-throughput streams, too.

Only the first frame is accessed, however many frames the film has.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom.uid as uids
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from screening.errors import UnreadableFilm
from screening.imaging import downscale
from screening.imaging.attributes import ImagePixel
from screening.imaging.film import check_size
from screening.imaging.render import Cells
from screening.imaging.stream_headers import (
    HTJ2K,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    JPEG_XL,
    LOSSLESS_JPEG,
    StreamError,
    StreamHeader,
    read_stream_header,
)

_ITEM: Final = b"\xfe\xff\x00\xe0"
_END: Final = b"\xfe\xff\xdd\xe0"

# First bytes of a JPEG, JPEG-LS or JPEG 2000 stream: a new frame starts there.
_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0c")


def first_frame(
    value: bytes, frames: int, extended_offsets: bytes = b"", *, undivided: bool = False
) -> bytes | memoryview:
    """Return the stream of the first frame, joined from its fragments.

    An offset table, basic or extended (PS3.3 C.7.6.3.1.8), says where the second frame begins.
    Without one, each fragment is a frame if the numbers of fragments and frames are equal;
    otherwise the frame ends where a fragment begins like a new stream.

    Args:
        value: value of Pixel Data: items, the first of them the basic offset table.
        frames: Number of Frames.
        extended_offsets: value of Extended Offset Table, if present.
        undivided: whether the transfer syntax puts every frame into one fragment.

    Raises:
        UnreadableFilm: if an item extends beyond the end, or if there is no frame.
    """
    table, fragments = _items(value)
    if not fragments:
        raise UnreadableFilm("not_decodable", "the pixel data have no frame")
    offsets = np.frombuffer(extended_offsets[: len(extended_offsets) // 8 * 8], "<u8")
    if not len(offsets):
        offsets = np.frombuffer(table[: len(table) // 4 * 4], "<u4")
    last = 1 if undivided and frames > 1 else _fragments_of_one(value, fragments, offsets, frames)
    parts = [memoryview(value)[start:end] for start, end in fragments[:last]]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _items(value: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the basic offset table, and start and end of every fragment."""
    spans: list[tuple[int, int]] = []
    position = 0
    while position + 8 <= len(value) and value[position : position + 4] == _ITEM:
        length = int.from_bytes(value[position + 4 : position + 8], "little")
        start, position = position + 8, position + 8 + length
        if position > len(value):
            raise UnreadableFilm("not_decodable", "the pixel data are cut off")
        spans.append((start, position))
    rest = value[position:]
    if rest.strip(b"\0") and not rest.startswith(_END):
        raise UnreadableFilm("not_decodable", "the pixel data are damaged")
    table = value[slice(*spans[0])] if spans else b""
    return table, spans[1:]


def _fragments_of_one(
    value: bytes,
    fragments: list[tuple[int, int]],
    offsets: npt.NDArray[np.unsignedinteger],
    frames: int,
) -> int:
    """Return how many fragments the first frame has."""
    if len(offsets) > 1:
        # Offsets are counted from the first item after the table, to the item's own tag.
        second = fragments[0][0] - 8 + int(offsets[1])
        starts = [start - 8 for start, _end in fragments]
        if int(offsets[0]) == 0 and second in starts[1:]:
            return starts.index(second)
    if frames <= 1:
        return len(fragments)
    if len(fragments) == frames:
        return 1
    for number, (start, _end) in enumerate(fragments[1:], 1):
        if value[start : start + 4].startswith(_STARTS):
            return number
    return len(fragments)


#: The end marker of JPEG; JPEG 2000 ends its code stream with the same bytes.
_END_OF_IMAGE: Final = b"\xff\xd9"

_JPEG: Final = frozenset({JPEG, LOSSLESS_JPEG})
_JPEG_LS: Final = frozenset({JPEG_LS})
_JPEG_2000: Final = frozenset({JPEG_2000, HTJ2K})
_JPEG_XL: Final = frozenset({JPEG_XL})

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

#: Every kind, for pixel data without a stated transfer syntax.
ANY: Final = _JPEG | _JPEG_LS | _JPEG_2000 | _JPEG_XL


def _jpeg(stream: bytes, header: StreamHeader) -> Any:
    # Do not convert colours in the decoder: the header decides which colours these are.
    raw = "YCBCR" if header.samples == 3 else None
    return imagecodecs.jpeg8_decode(stream, colorspace=raw, outcolorspace=raw)


def _jpeg_2000(stream: bytes, header: StreamHeader) -> Any:
    return imagecodecs.jpeg2k_decode(stream[header.start :])


_DECODERS: Final[dict[str, Callable[[bytes, StreamHeader], Any]]] = {
    JPEG: _jpeg,
    LOSSLESS_JPEG: _jpeg,
    JPEG_LS: lambda stream, _header: imagecodecs.jpegls_decode(stream),
    JPEG_2000: _jpeg_2000,
    HTJ2K: _jpeg_2000,
    JPEG_XL: lambda stream, _header: imagecodecs.jpegxl_decode(stream),
}


def decode(
    stream: bytes, kinds: frozenset[str], pixel: ImagePixel, max_pixels: int
) -> tuple[npt.NDArray[Any], StreamHeader]:
    """Decode one frame to cells, shape (rows, columns) or (rows, columns, 3), and stream header.

    Raises:
        UnreadableFilm: before decoding, if the kind or size of the stream contradicts the data set;
            afterwards, if the stream cannot be decoded.
    """
    try:
        header = read_stream_header(stream)
    except StreamError as error:
        raise UnreadableFilm("not_decodable", str(error)) from error
    _check(header, kinds, pixel, max_pixels)
    # libjpeg makes up the rest of a truncated stream, and CharLS searches for it for seconds. Coded
    # data never contain this marker.
    if header.kind in _JPEG | _JPEG_LS and stream.find(_END_OF_IMAGE, header.start) < 0:
        raise UnreadableFilm("not_decodable", "the stream is cut off")
    cells = np.asarray(_DECODERS[header.kind](stream, header))
    shape = (pixel.rows, pixel.columns) + ((3,) if pixel.samples == 3 else ())
    if cells.shape != shape or cells.dtype.kind not in "iu":
        raise UnreadableFilm(
            "not_decodable", f"the shape of the {header.kind} stream differs from the header"
        )
    return cells.astype(cells.dtype.newbyteorder("="), copy=False), header


def decode_low(
    stream: bytes, kinds: frozenset[str], pixel: ImagePixel, max_pixels: int, power: int
) -> tuple[npt.NDArray[np.float32], int] | None:
    """Decode without the finest wavelets; see :func:`screening.imaging.downscale.decode`.

    Args:
        power: how often the film may be halved.

    Returns:
        Stored values, and how often the film was halved. None unless the stream is grey lossless
        JPEG 2000 without tiles, complete, and consistent with the data set.
    """
    header = read_stream_header(stream)
    _check(header, kinds, pixel, max_pixels)
    power = min(power, header.halvings)
    if header.kind != JPEG_2000 or header.lossy or not power:
        return None
    if header.samples != 1 or header.signed or pixel.signed:
        return None
    if header.precision != pixel.stored or pixel.high != pixel.stored - 1 or pixel.stored > 16:
        return None
    # In a truncated stream, the low resolutions may still be complete.
    if not stream.rstrip(b"\0").endswith(_END_OF_IMAGE):
        return None
    low = downscale.decode(stream[header.start :], power, header.precision)
    shape = tuple(-(-length >> power) for length in (pixel.rows, pixel.columns))
    return (low, power) if low.shape == shape else None


def _check(header: StreamHeader, kinds: frozenset[str], pixel: ImagePixel, max_pixels: int) -> None:
    if header.kind not in kinds:
        raise UnreadableFilm("not_decodable", f"contains a {header.kind} stream")
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
            f"the stream has {header.samples} samples per pixel, the header says {pixel.samples}",
        )
    # A lossless stream with fewer bits may still hold all values, if its cells are wide enough.
    narrow = header.precision < pixel.stored
    if header.precision and narrow and (header.lossy or header.precision <= 8):
        raise UnreadableFilm(
            "not_decodable",
            f"the stream has {header.precision} bits per sample, the header says {pixel.stored}",
        )


ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAME: Final = "1.2.840.10008.1.2.8.1"

_NATIVE: Final = frozenset(
    {
        uids.ImplicitVRLittleEndian,
        uids.ExplicitVRLittleEndian,
        uids.ExplicitVRBigEndian,
        uids.DeflatedExplicitVRLittleEndian,
    }
)
_UNDIVIDED: Final = frozenset({uids.RLELossless, ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAME})

# Transfer syntaxes that pydicom's dictionary does not have yet.
_NAMES: Final = {
    DEFLATED_FRAME: "Deflated Image Frame Compression",
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}

_WELL_FORMED: Final = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        values: stored values, integers, shape (rows, columns) or (rows, columns, 3).
        bits: bits of a value.
        colour: meaning of three samples: RGB, YBR_FULL or YBR_PARTIAL.
    """

    values: npt.NDArray[Any]
    bits: int
    colour: str = ""


def syntax_name(uid: str) -> str:
    """Return the registered name of a transfer syntax, or else the UID if valid (PS3.5 9.1)."""
    if uid in _NAMES:
        return _NAMES[uid]
    if len(uid) > 64 or not _WELL_FORMED.fullmatch(uid):
        return "a transfer syntax that is not a UID"
    return UID(uid).name


def read_frame(dataset: FileDataset, syntax: str, pixel: ImagePixel, max_pixels: int) -> Frame:
    """Read the first frame of a film.

    Raises:
        UnreadableFilm: if the transfer syntax is not supported, or the pixel data contradict it.
    """
    native = syntax in _NATIVE
    if native and not dataset["PixelData"].is_undefined_length:
        element, value = dataset["PixelData"], _value(dataset)
        words = syntax == uids.ExplicitVRBigEndian and (element.VR != "OB" or pixel.allocated > 8)
        return _native(value, pixel, big_endian_words=words)
    if not native and syntax not in _UNDIVIDED and syntax not in STREAMS:
        raise UnreadableFilm(
            "unsupported",
            f"{syntax_name(syntax)}; export the film as Explicit VR Little Endian",
        )
    frame = _fragment(dataset, pixel, syntax)
    if syntax == uids.RLELossless:
        return _to_frame(_run_lengths(frame, pixel), pixel)
    if syntax == ENCAPSULATED_UNCOMPRESSED:
        return _native(frame, pixel)
    if syntax == DEFLATED_FRAME:
        return _native(_inflated(frame, _length(pixel)), pixel)
    kinds = ANY if native else STREAMS[syntax]
    cells, header = decode(bytes(frame), kinds, pixel, max_pixels)
    return _to_frame(cells, pixel, header)


def has_resolutions(syntax: str) -> bool:
    """Return True for a transfer syntax whose films may be decoded at a lower resolution."""
    return JPEG_2000 in STREAMS.get(syntax, frozenset())


def read_low_resolution(
    dataset: FileDataset, syntax: str, pixel: ImagePixel, max_pixels: int, power: int
) -> Cells | None:
    """Read a grey film's stored values at a low resolution; see :func:`decode_low`.

    Args:
        syntax: a transfer syntax for which :func:`has_resolutions` is true.
        power: how often the film may be halved.

    Returns:
        None if the film cannot be read this way.

    Raises:
        UnreadableFilm: as in :func:`read_frame`; errors of the decoder are not caught.
    """
    stream = bytes(_fragment(dataset, pixel, syntax))
    found = decode_low(stream, STREAMS[syntax], pixel, max_pixels, power)
    if found is None:
        return None
    low, power = found
    return Cells(low, pixel.rows, pixel.columns, power)


def _value(dataset: FileDataset) -> bytes:
    value = dataset["PixelData"].value
    if not isinstance(value, bytes):
        raise UnreadableFilm("not_decodable", "the pixel data are not bytes")
    return value


def _fragment(dataset: FileDataset, pixel: ImagePixel, syntax: str) -> bytes | memoryview:
    """Return the encapsulated stream of the first frame (PS3.5 A.4)."""
    table = dataset.get("ExtendedOffsetTable")
    table = table if isinstance(table, bytes) else b""
    value, undivided = _value(dataset), syntax in _UNDIVIDED
    return first_frame(value, pixel.frames, table, undivided=undivided)


def _length(pixel: ImagePixel) -> int:
    """Return the number of bytes of an uncompressed frame."""
    samples = 2 if pixel.subsampled else pixel.samples
    return -(-pixel.rows * pixel.columns * samples * pixel.allocated // 8)


def _native(
    data: bytes | memoryview, pixel: ImagePixel, *, big_endian_words: bool = False
) -> Frame:
    length = _length(pixel)
    if len(data) < length:
        raise UnreadableFilm("not_decodable", f"the pixel data have {len(data)} of {length} bytes")
    # Keep an even length: big endian swaps words of two bytes, and the value is padded to them.
    data = memoryview(data)[: min(len(data), length + length % 2)]
    if big_endian_words:
        data = np.frombuffer(data, np.uint16, len(data) // 2).byteswap().view(np.uint8).data
    if pixel.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, length), bitorder="little")
        return Frame(bits[: pixel.rows * pixel.columns].reshape(pixel.rows, pixel.columns), 1)
    size = pixel.allocated // 8
    cells = np.frombuffer(data, f"<u{size}", length // size)
    cells = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    return _to_frame(_by_pixel(cells, pixel), pixel)


def _by_pixel(cells: npt.NDArray[Any], pixel: ImagePixel) -> npt.NDArray[Any]:
    """Reshape to (rows, columns) or (rows, columns, 3) by Planar Configuration and 4:2:2."""
    rows, columns = pixel.rows, pixel.columns
    if pixel.samples == 1:
        return cells.reshape(rows, columns)
    if pixel.subsampled:
        if columns % 2:
            raise UnreadableFilm(
                "not_decodable", f"{pixel.photometric} with an odd number of columns"
            )
        pairs = cells.reshape(rows, columns // 2, 4)
        luma = pairs[..., :2].reshape(rows, columns)
        blue, red = (pairs[..., i].repeat(2, axis=1) for i in (2, 3))
        return np.stack((luma, blue, red), axis=-1)
    if pixel.planar:
        return cells.reshape(3, rows, columns).transpose(1, 2, 0)
    return cells.reshape(rows, columns, 3)


def _run_lengths(frame: bytes | memoryview, pixel: ImagePixel) -> npt.NDArray[Any]:
    """Decode RLE (PS3.5 annex G): one segment per byte of each sample, the highest byte first."""
    size, area = pixel.allocated // 8, pixel.rows * pixel.columns
    count = pixel.samples * size
    offsets = np.frombuffer(bytes(frame[:64]).ljust(64, b"\0"), "<u4").tolist()
    if len(frame) < 64 or size == 0 or offsets[0] != count:
        raise UnreadableFilm(
            "not_decodable",
            f"{offsets[0] if len(frame) >= 64 else 0} RLE segments, expected {count}",
        )
    ends = [*offsets[2 : count + 1], len(frame)]
    cells = np.empty((pixel.samples, area), f"<u{size}")
    by_byte = cells.view(np.uint8).reshape(pixel.samples, area, size)
    for number, (start, end) in enumerate(zip(offsets[1 : count + 1], ends, strict=True)):
        if not 64 <= start < end <= len(frame):
            raise UnreadableFilm("not_decodable", "the RLE segments are damaged")
        # Leave room for the padding that some encoders add to a segment.
        output = memoryview(bytearray(area + 4096))
        segment = imagecodecs.packbits_decode(bytes(frame[start:end]), out=output)
        if len(segment) < area:
            raise UnreadableFilm("not_decodable", "an RLE segment is too short")
        sample, byte = divmod(number, size)
        by_byte[sample, :, size - 1 - byte] = np.frombuffer(segment, np.uint8, area)
    native = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    planes = native.reshape(pixel.samples, pixel.rows, pixel.columns)
    return planes[0] if pixel.samples == 1 else planes.transpose(1, 2, 0)


def _inflated(frame: bytes | memoryview, length: int) -> bytes:
    """Inflate (RFC 1951), but never more than one frame."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, length)


def _to_frame(
    cells: npt.NDArray[Any], pixel: ImagePixel, header: StreamHeader | None = None
) -> Frame:
    """Extract the stored bits from their cells, and determine the meaning of three samples."""
    precision = (header.precision if header else 0) or pixel.allocated
    stored = min(pixel.stored, precision, cells.dtype.itemsize * 8)
    low = pixel.high + 1 - pixel.stored if precision > pixel.high else 0
    if header and header.lossy and precision > stored and header.signed == pixel.signed:
        # Bits of a lossy stream beyond the stored ones are overshoot, not separate values.
        end = 1 << (stored - 1 if pixel.signed else stored)
        cells = cells.clip(-end if pixel.signed else 0, end - 1)
    values = _bits(cells, low, stored, signed=pixel.signed)
    return Frame(values, pixel.stored, _colour(pixel, header) if pixel.samples == 3 else "")


def _bits(cells: npt.NDArray[Any], low: int, stored: int, *, signed: bool) -> npt.NDArray[Any]:
    """Return bits `low` to `low + stored - 1` as numbers; the other bits are ignored."""
    size = cells.dtype.itemsize
    letter = "i" if signed else "u"
    if low == 0 and stored == size * 8:
        return cells.view(f"{letter}{size}")
    bits = cells.view(f"u{size}")
    if low == 0 and not signed and int(bits.max(initial=0)) >> stored == 0:
        return bits  # the other bits are all zero
    if size == 4 and stored <= 16:
        bits = (bits >> np.uint32(low)).astype(np.uint16)
        low, size = 0, 2
    else:
        bits = bits.copy()
    # Shift left, then right: this drops the bits above, and extends the sign.
    bits <<= bits.dtype.type(size * 8 - stored - low)
    values: npt.NDArray[Any] = bits.view(f"{letter}{size}")
    values >>= values.dtype.type(size * 8 - stored)
    return values


def _colour(pixel: ImagePixel, header: StreamHeader | None) -> str:
    """Return whether three samples are red, green and blue, or luma and chroma (PS3.5 8.2)."""
    stated = pixel.photometric
    if header is not None and header.kind in STREAMS[uids.JPEG2000] | {JPEG_XL}:
        chroma = stated.startswith("YBR_FULL") and not header.transformed
        return "YBR_FULL" if chroma else "RGB"
    if header is not None and header.kind == JPEG and header.colour:
        # Encoders that use libjpeg's default state RGB but write luma and chroma.
        return header.colour
    if stated.startswith("YBR_PARTIAL"):
        return "YBR_PARTIAL"
    if stated.startswith("YBR_FULL"):
        return "YBR_FULL"
    if stated == "RGB":
        return "RGB"
    raise UnreadableFilm("not_decodable", f"{stated} outside JPEG 2000 and JPEG XL")
