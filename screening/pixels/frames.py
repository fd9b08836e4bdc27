"""The stored values of the first frame (PS3.5 8.1), whatever the transfer syntax.

Only that frame is touched, however many there are.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom.uid as uids
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from screening.errors import UnreadableFilm
from screening.pixels import codecs, streams
from screening.pixels.fragments import first_frame
from screening.pixels.grey_range import Cells
from screening.pixels.image_pixel import ImagePixel
from screening.pixels.streams import StreamHeader

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

# Newer than pydicom's dictionary.
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
        bits: of the values.
        colour: what three samples mean: RGB, YBR_FULL or YBR_PARTIAL.
    """

    values: npt.NDArray[Any]
    bits: int
    colour: str = ""


def syntax_name(uid: str) -> str:
    """The registered name of a transfer syntax, or its UID if that is one (PS3.5 9.1)."""
    if uid in _NAMES:
        return _NAMES[uid]
    if len(uid) > 64 or not _WELL_FORMED.fullmatch(uid):
        return "a transfer syntax that is no UID"
    return UID(uid).name


def read_frame(dataset: FileDataset, syntax: str, pixel: ImagePixel, max_pixels: int) -> Frame:
    """The first frame of a film.

    Raises:
        UnreadableFilm: if the transfer syntax is not read, or the pixel data are not what it says.
    """
    native = syntax in _NATIVE
    if native and not dataset["PixelData"].is_undefined_length:
        element, value = dataset["PixelData"], _value(dataset)
        words = syntax == uids.ExplicitVRBigEndian and (element.VR != "OB" or pixel.allocated > 8)
        return _native(value, pixel, big_endian_words=words)
    if not native and syntax not in _UNDIVIDED and syntax not in codecs.STREAMS:
        raise UnreadableFilm(
            "unsupported",
            f"{syntax_name(syntax)}; export the film as Explicit VR Little Endian",
        )
    frame = _fragment(dataset, pixel, syntax)
    if syntax == uids.RLELossless:
        return _settled(_run_lengths(frame, pixel), pixel)
    if syntax == ENCAPSULATED_UNCOMPRESSED:
        return _native(frame, pixel)
    if syntax == DEFLATED_FRAME:
        return _native(_inflated(frame, _length(pixel)), pixel)
    kinds = codecs.ANY if native else codecs.STREAMS[syntax]
    cells, header = codecs.decode(bytes(frame), kinds, pixel, max_pixels)
    return _settled(cells, pixel, header)


def has_resolutions(syntax: str) -> bool:
    """True for a transfer syntax whose films may be decoded at a lower resolution."""
    return streams.JPEG_2000 in codecs.STREAMS.get(syntax, frozenset())


def read_low_resolution(
    dataset: FileDataset, syntax: str, pixel: ImagePixel, max_pixels: int, power: int
) -> Cells | None:
    """A grey film's stored values at a low resolution; see :func:`codecs.decode_low`.

    Args:
        syntax: one that :func:`has_resolutions`.
        power: how often the film may be halved.

    Returns:
        None if the film cannot be read so.

    Raises:
        UnreadableFilm: like :func:`read_frame`; and the errors of the decoder.
    """
    stream = bytes(_fragment(dataset, pixel, syntax))
    found = codecs.decode_low(stream, codecs.STREAMS[syntax], pixel, max_pixels, power)
    if found is None:
        return None
    low, power = found
    return Cells(low, pixel.rows, pixel.columns, power)


def _value(dataset: FileDataset) -> bytes:
    value = dataset["PixelData"].value
    if not isinstance(value, bytes):
        raise UnreadableFilm("not_decodable", "the pixel data are no bytes")
    return value


def _fragment(dataset: FileDataset, pixel: ImagePixel, syntax: str) -> bytes | memoryview:
    """The first frame as it is encapsulated (PS3.5 A.4)."""
    table = dataset.get("ExtendedOffsetTable")
    table = table if isinstance(table, bytes) else b""
    value, undivided = _value(dataset), syntax in _UNDIVIDED
    return first_frame(value, pixel.frames, table, undivided=undivided)


def _length(pixel: ImagePixel) -> int:
    """Bytes of an uncompressed frame."""
    samples = 2 if pixel.subsampled else pixel.samples
    return -(-pixel.rows * pixel.columns * samples * pixel.allocated // 8)


def _native(
    data: bytes | memoryview, pixel: ImagePixel, *, big_endian_words: bool = False
) -> Frame:
    length = _length(pixel)
    if len(data) < length:
        raise UnreadableFilm("not_decodable", f"the pixel data hold {len(data)} of {length} bytes")
    # Even, because big endian turns words of two bytes round, and the value is padded to them.
    data = memoryview(data)[: min(len(data), length + length % 2)]
    if big_endian_words:
        data = np.frombuffer(data, np.uint16, len(data) // 2).byteswap().view(np.uint8).data
    if pixel.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, length), bitorder="little")
        return Frame(bits[: pixel.rows * pixel.columns].reshape(pixel.rows, pixel.columns), 1)
    size = pixel.allocated // 8
    cells = np.frombuffer(data, f"<u{size}", length // size)
    cells = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    return _settled(_by_pixel(cells, pixel), pixel)


def _by_pixel(cells: npt.NDArray[Any], pixel: ImagePixel) -> npt.NDArray[Any]:
    """Shape (rows, columns) or (rows, columns, 3), as Planar Configuration and 4:2:2 demand."""
    rows, columns = pixel.rows, pixel.columns
    if pixel.samples == 1:
        return cells.reshape(rows, columns)
    if pixel.subsampled:
        if columns % 2:
            raise UnreadableFilm("not_decodable", f"{pixel.photometric} with an odd row")
        pairs = cells.reshape(rows, columns // 2, 4)
        luma = pairs[..., :2].reshape(rows, columns)
        blue, red = (pairs[..., i].repeat(2, axis=1) for i in (2, 3))
        return np.stack((luma, blue, red), axis=-1)
    if pixel.planar:
        return cells.reshape(3, rows, columns).transpose(1, 2, 0)
    return cells.reshape(rows, columns, 3)


def _run_lengths(frame: bytes | memoryview, pixel: ImagePixel) -> npt.NDArray[Any]:
    """RLE (PS3.5 annex G): a segment for each byte of each sample, the highest byte first."""
    size, area = pixel.allocated // 8, pixel.rows * pixel.columns
    count = pixel.samples * size
    offsets = np.frombuffer(bytes(frame[:64]).ljust(64, b"\0"), "<u4").tolist()
    if len(frame) < 64 or size == 0 or offsets[0] != count:
        raise UnreadableFilm(
            "not_decodable", f"RLE of {offsets[0] if len(frame) >= 64 else 0} segments, not {count}"
        )
    ends = [*offsets[2 : count + 1], len(frame)]
    cells = np.empty((pixel.samples, area), f"<u{size}")
    by_byte = cells.view(np.uint8).reshape(pixel.samples, area, size)
    for number, (start, end) in enumerate(zip(offsets[1 : count + 1], ends, strict=True)):
        if not 64 <= start < end <= len(frame):
            raise UnreadableFilm("not_decodable", "the RLE segments are damaged")
        # Room for what some encoders pad a segment with.
        room = memoryview(bytearray(area + 4096))
        segment = imagecodecs.packbits_decode(bytes(frame[start:end]), out=room)
        if len(segment) < area:
            raise UnreadableFilm("not_decodable", "an RLE segment is too short")
        sample, byte = divmod(number, size)
        by_byte[sample, :, size - 1 - byte] = np.frombuffer(segment, np.uint8, area)
    native = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    planes = native.reshape(pixel.samples, pixel.rows, pixel.columns)
    return planes[0] if pixel.samples == 1 else planes.transpose(1, 2, 0)


def _inflated(frame: bytes | memoryview, length: int) -> bytes:
    """RFC 1951, and never more than a frame."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, length)


def _settled(
    cells: npt.NDArray[Any], pixel: ImagePixel, header: StreamHeader | None = None
) -> Frame:
    """Take the stored bits out of their cells, and say what three samples mean."""
    precision = (header.precision if header else 0) or pixel.allocated
    stored = min(pixel.stored, precision, cells.dtype.itemsize * 8)
    low = pixel.high + 1 - pixel.stored if precision > pixel.high else 0
    if header and header.lossy and precision > stored and header.signed == pixel.signed:
        # What a lossy stream has beyond the stored bits is overshoot, and no second value.
        end = 1 << (stored - 1 if pixel.signed else stored)
        cells = cells.clip(-end if pixel.signed else 0, end - 1)
    values = _bits(cells, low, stored, signed=pixel.signed)
    return Frame(values, pixel.stored, _colour(pixel, header) if pixel.samples == 3 else "")


def _bits(cells: npt.NDArray[Any], low: int, stored: int, *, signed: bool) -> npt.NDArray[Any]:
    """Bits `low` to `low + stored - 1` as numbers; what stands in the others is not looked at."""
    size = cells.dtype.itemsize
    letter = "i" if signed else "u"
    if low == 0 and stored == size * 8:
        return cells.view(f"{letter}{size}")
    bits = cells.view(f"u{size}")
    if low == 0 and not signed and int(bits.max(initial=0)) >> stored == 0:
        return bits  # nothing stands in the others
    if size == 4 and stored <= 16:
        bits = (bits >> np.uint32(low)).astype(np.uint16)
        low, size = 0, 2
    else:
        bits = bits.copy()
    # To the top and down again: this drops the bits above, and carries the sign.
    bits <<= bits.dtype.type(size * 8 - stored - low)
    values: npt.NDArray[Any] = bits.view(f"{letter}{size}")
    values >>= values.dtype.type(size * 8 - stored)
    return values


def _colour(pixel: ImagePixel, header: StreamHeader | None) -> str:
    """Whether three samples are red, green and blue, or luma and chroma (PS3.5 8.2)."""
    said = pixel.photometric
    if header is not None and header.kind in codecs.STREAMS[uids.JPEG2000] | {streams.JPEG_XL}:
        chroma = said.startswith("YBR_FULL") and not header.transformed
        return "YBR_FULL" if chroma else "RGB"
    if header is not None and header.kind == streams.JPEG and header.colour:
        # Encoders that take libjpeg's default say RGB and write luma and chroma.
        return header.colour
    if said.startswith("YBR_PARTIAL"):
        return "YBR_PARTIAL"
    if said.startswith("YBR_FULL"):
        return "YBR_FULL"
    if said == "RGB":
        return "RGB"
    raise UnreadableFilm("not_decodable", f"{said} outside JPEG 2000 and JPEG XL")
