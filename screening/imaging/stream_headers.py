"""Read the header of a compressed image stream from its first bytes, without decoding it.

JPEG (ISO/IEC 10918-1, B.2), JPEG-LS (14495-1, C.2), JPEG 2000 (15444-1, A.4 to A.6),
high-throughput JPEG 2000 (15444-15) and JPEG XL (18181-1, size header; 18181-2, boxes).
"""

from dataclasses import dataclass, replace
from typing import Final

JPEG: Final = "JPEG"
LOSSLESS_JPEG: Final = "lossless JPEG"
JPEG_LS: Final = "JPEG-LS"
JPEG_2000: Final = "JPEG 2000"
HTJ2K: Final = "high-throughput JPEG 2000"
JPEG_XL: Final = "JPEG XL"

_SOC_SIZ: Final = b"\xff\x4f\xff\x51"
_JXL_BOX: Final = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_JP2_BOX: Final = b"\x00\x00\x00\x0cjP  \r\n\x87\n"

# Start-of-frame markers; C4, C8 and CC are not frame markers.
_SOF: Final = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})

_ASPECTS: Final = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class StreamError(ValueError):
    """The bytes are not a stream of a known kind, or end within its header."""


@dataclass(frozen=True)
class StreamHeader:
    """The header of a stream; 0 samples or bits mean that they were not read.

    Attributes:
        start: offset of the code stream after the boxes of a file format; for a JPEG, offset of its
            frame header.
        colour: ``RGB`` or ``YBR_FULL`` if the stream states the meaning of its three components.
        transformed: whether the decoder itself undoes a colour transform.
        halvings: number of wavelet decomposition levels (JPEG 2000); 0 if the film is coded in
            tiles.
        lossy: whether values may differ from those that were encoded.
    """

    kind: str
    rows: int
    columns: int
    samples: int = 0
    precision: int = 0
    signed: bool = False
    lossy: bool = False
    colour: str = ""
    transformed: bool = False
    halvings: int = 0
    start: int = 0


def read_stream_header(stream: bytes) -> StreamHeader:
    """Read the header of a compressed image.

    Raises:
        StreamError: if this is not a stream of a known kind, or too short to hold a header.
    """
    try:
        if stream[:2] == b"\xff\xd8":
            return _jpeg(stream)
        if stream[:4] == _SOC_SIZ:
            return _jpeg_2000(stream, 0)
        if stream[:12] == _JP2_BOX:
            return _jpeg_2000(stream, stream.index(_SOC_SIZ))
        if stream[:2] == b"\xff\x0a" or stream[:12] == _JXL_BOX:
            return _jpeg_xl(_jpeg_xl_code(stream))
    except (IndexError, ValueError) as error:
        raise StreamError("the stream's header is damaged") from error
    raise StreamError("not an image stream")


def _jpeg(stream: bytes) -> StreamHeader:
    """Walk the marker segments up to the frame header."""
    position, colour = 2, ""
    while True:
        if stream[position] != 0xFF:
            raise StreamError("no marker")
        marker = stream[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        length = _number(stream, position + 2, 2)
        body = stream[position + 4 : position + 2 + length]
        if marker in _SOF:
            return replace(_frame_header(marker, body, colour), start=position)
        if marker in (0xD9, 0xDA) or length < 2:
            raise StreamError("no frame header")
        # Adobe's marker is more precise than JFIF's, which only says that the colour is not RGB.
        if marker == 0xEE and body[:5] == b"Adobe":
            colour = {b"\0": "RGB", b"\1": "YBR_FULL"}.get(body[11:12], colour)
        elif marker == 0xE0 and body[:5] == b"JFIF\0":
            colour = colour or "YBR_FULL"
        position += 2 + length


def _frame_header(marker: int, body: bytes, colour: str) -> StreamHeader:
    samples = body[5]
    if len(body) < 6 + 3 * samples:
        raise StreamError("the frame header is cut off")
    ids = bytes(body[6 + 3 * i] for i in range(samples))
    factors = {body[7 + 3 * i] for i in range(samples)}
    if ids in (b"RGB", b"rgb"):
        colour = "RGB"
    elif len(factors) > 1:  # only chroma is ever subsampled
        colour = colour or "YBR_FULL"
    lossless = marker in (0xC3, 0xC7, 0xCB, 0xCF)
    kind = JPEG_LS if marker == 0xF7 else LOSSLESS_JPEG if lossless else JPEG
    return StreamHeader(
        kind=kind,
        rows=_number(body, 1, 2),
        columns=_number(body, 3, 2),
        samples=samples,
        precision=body[0],
        lossy=kind == JPEG,
        colour=colour,
    )


def _jpeg_2000(stream: bytes, start: int) -> StreamHeader:
    """Read the SIZ segment, and from COD the colour transform and the wavelet."""
    siz = start + 4
    size = [_number(stream, siz + 4 + 4 * i, 4) for i in range(8)]
    (width, height, left, top), (across, down, *corner) = size[:4], size[4:]
    whole = across >= width and down >= height and not (left or top or any(corner))
    samples = _number(stream, siz + 36, 2)
    depth = stream[siz + 38]
    if any(
        stream[siz + 38 + 3 * i : siz + 41 + 3 * i] != bytes((depth, 1, 1)) for i in range(samples)
    ):
        raise StreamError("components of different sizes")
    kind, transformed, lossy, halvings = JPEG_2000, False, True, 0
    position = siz + _number(stream, siz, 2)
    while stream[position] == 0xFF and stream[position + 1] not in (0x90, 0x93, 0xD9):
        if stream[position + 1] == 0x50:
            kind = HTJ2K
        if stream[position + 1] == 0x52:
            transformed = stream[position + 8] == 1
            halvings = stream[position + 9] if whole else 0
            lossy = stream[position + 13] != 1
        position += 2 + max(2, _number(stream, position + 2, 2))
    return StreamHeader(
        kind=kind,
        rows=height - top,
        columns=width - left,
        samples=samples,
        precision=(depth & 0x7F) + 1,
        signed=depth >= 0x80,
        lossy=lossy,
        transformed=transformed,
        halvings=halvings,
        start=start,
    )


def _jpeg_xl_code(stream: bytes) -> bytes:
    """Return the first bytes of the code stream, which may be inside a box."""
    if stream[:2] == b"\xff\x0a":
        return stream[:16]
    position = 0
    while position + 8 <= len(stream):
        length, name = _number(stream, position, 4), stream[position + 4 : position + 8]
        begin = position + (16 if length == 1 else 8)
        if length == 1:
            length = _number(stream, position + 8, 8)
        if name in (b"jxlc", b"jxlp"):
            begin += 4 if name == b"jxlp" else 0
            return stream[begin : begin + 16]
        if length < 8:
            break
        position += length
    raise StreamError("no code stream")


def _jpeg_xl(code: bytes) -> StreamHeader:
    """Read the size header: bits count from the lowest of the first byte after the signature."""
    if code[:2] != b"\xff\x0a" or len(code) < 12:
        raise StreamError("no code stream")
    bits, position = int.from_bytes(code[2:], "little"), 0

    def take(count: int) -> int:
        nonlocal position
        value = bits >> position & (1 << count) - 1
        position += count
        return value

    def length(small: int) -> int:
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    rows = length(small)
    aspect = take(3)
    wide, high = _ASPECTS[aspect]
    columns = rows * wide // high if aspect else length(small)
    return StreamHeader(kind=JPEG_XL, rows=rows, columns=columns, transformed=True)


def _number(stream: bytes, position: int, size: int) -> int:
    if position + size > len(stream):
        raise StreamError("the header is cut off")
    return int.from_bytes(stream[position : position + size], "big")
