"""Mutations of compressed streams and image files at the level of their headers.

Checksums and segment lengths, which a decoder checks first, are corrected, so that decoding
continues.
"""

import struct
import zlib
from random import Random
from typing import Final

from fuzz.blunt import BLUNT, NUMBERS, number

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SOI, _SOC = b"\xff\xd8", b"\xff\x4f"
#: Markers before the coded data: SOS of JPEG, SOT of JPEG 2000.
_DATA: Final = {_SOI: 0xDA, _SOC: 0x90}
_SIZES: Final = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_SIZ: Final = 0x51

#: Sizes for headers, most of them small enough to be decoded.
_SIDES: Final = (0, 1, 2, 7, 31, 33, 97, 255, 256, 257, 1000, 3000, 9999, 32768, 65500, 65535)


def recode(rng: Random, data: bytes) -> bytes:
    """Mutate a stream according to its kind; streams of unknown kinds are mutated bytewise."""
    change = next((made for magic, made in _KINDS if data.startswith(magic)), None)
    try:
        changed = change(rng, data) if change else b""
    except (IndexError, ValueError, struct.error, zlib.error):
        changed = b""  # an earlier mutation broke the structure
    return changed or rng.choice(BLUNT)(rng, data)


def resized(stream: bytes, rows: int, columns: int) -> bytes:
    """Set another size in a JPEG, JPEG-LS or JPEG 2000 stream; others are not changed."""
    head = _head(stream)
    if not head:
        return stream
    segments, rest = head
    for segment in segments:
        if segment[0] in _SIZES and stream[:2] == _SOI:
            segment[1][1:5] = struct.pack(">HH", rows & 0xFFFF, columns & 0xFFFF)
        if segment[0] == _SIZ and stream[:2] == _SOC:
            segment[1][2:18] = struct.pack(">IIII", columns, rows, 0, 0)
            segment[1][18:26] = struct.pack(">II", columns, rows)
    return _joined(stream[:2], segments, rest)


def side(rng: Random) -> int:
    """Choose a number of rows or columns."""
    return rng.choice(_SIDES) if rng.random() < 0.8 else rng.randrange(65536)


def _head(stream: bytes) -> tuple[list[tuple[int, bytearray]], bytes] | None:
    """Split a stream into the marker segments up to the coded data, and the rest."""
    last = _DATA.get(stream[:2])
    if last is None:
        return None
    segments, position = [], 2
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        length = int.from_bytes(stream[position + 2 : position + 4], "big")
        segments.append((marker, bytearray(stream[position + 4 : position + 2 + length])))
        position += 2 + length
        if marker == last:
            break
    return segments, stream[position:]


def _joined(start: bytes, segments: list[tuple[int, bytearray]], rest: bytes) -> bytes:
    parts = (
        bytes((0xFF, marker)) + struct.pack(">H", (len(body) + 2) & 0xFFFF) + body
        for marker, body in segments
    )
    return start + b"".join(parts) + rest


def _markers(rng: Random, stream: bytes) -> bytes:
    """Mutate fields, order or presence of segments of JPEG, JPEG-LS and JPEG 2000."""
    head = _head(stream)
    if head is None or not head[0]:
        return b""
    segments, rest = head
    number_of = rng.randrange(len(segments))
    marker, body = segments[number_of]
    way = rng.randrange(8)
    if way == 0:
        segments.insert(rng.randrange(len(segments) + 1), (marker, bytearray(body)))
    elif way == 1:
        del segments[number_of]
    elif way == 2:
        rng.shuffle(segments)
    elif way == 3:
        segments[number_of] = (rng.choice((*_SIZES, 0xDD, 0xC4, 0x52, 0x5C, 0xF8, 0x53)), body)
    elif way == 4:
        segments[number_of] = (marker, bytearray(rng.choice(BLUNT)(rng, bytes(body) or b"\0")))
    elif way == 5:  # only the coded data
        rest = rng.choice(BLUNT)(rng, rest or b"\0")
    else:
        sized = [one for one in segments if one[0] in (*_SIZES, _SIZ, 0xDA, 0x52, 0xF8, 0x50)]
        _edit(rng, rng.choice(sized or segments)[1])
    return _joined(stream[:2], segments, rest)


def _edit(rng: Random, body: bytearray) -> None:
    """Set one to three fields of one, two or four bytes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        if body:
            size = rng.choice((1, 1, 2, 4))
            start = rng.randrange(len(body))
            body[start : start + size] = number(rng, size)[: len(body) - start]


def _png(rng: Random, data: bytes) -> bytes:
    """Mutate chunks of a PNG, with correct checksums, or the data compressed in them."""
    chunks, position = [], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        start = position + 8
        chunks.append((data[position + 4 : start], bytearray(data[start : start + length])))
        position = start + length + 4
    which = rng.randrange(len(chunks))
    name, body = chunks[which]
    way = rng.randrange(7)
    if way == 0:
        chunks.insert(rng.randrange(len(chunks) + 1), (name, bytearray(body)))
    elif way == 1:
        del chunks[which]
    elif way == 2:
        rng.shuffle(chunks)
    elif way == 3:
        kinds = (b"tRNS", b"PLTE", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"fdAT", b"gAMA")
        extra = bytearray(rng.randbytes(rng.choice((0, 1, 2, 6, 256, 768, 3000))))
        chunks.insert(rng.randrange(1, len(chunks) + 1), (rng.choice(kinds), extra))
    elif way == 4:
        packed = bytearray().join(body for name, body in chunks if name == b"IDAT")
        plain = rng.choice(BLUNT)(rng, zlib.decompress(packed))
        rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
        chunks = [*rest[:-1], (b"IDAT", bytearray(zlib.compress(plain))), rest[-1]]
    elif way == 5:
        _edit(rng, body)
    else:
        _edit(rng, chunks[0][1])
    return _PNG + b"".join(chunk(name, bytes(body)) for name, body in chunks)


def chunk(name: bytes, body: bytes) -> bytes:
    """Make a PNG chunk (ISO/IEC 15948, 5.3)."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _tiff(rng: Random, data: bytes) -> bytes:
    """Mutate an entry of the first directory, or the next offset (TIFF 6.0, section 2)."""
    order = "<" if data[:2] == b"II" else ">"
    changed = bytearray(data)
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    if not 0 < count < 100:  # BigTIFF or already mutated
        return b""
    entry = start + 2 + 12 * rng.randrange(count)
    value = rng.choice(NUMBERS) & 0xFFFFFFFF
    way = rng.randrange(6)
    if way == 0:
        struct.pack_into(f"{order}H", changed, entry, rng.choice((*range(254, 300), 322, 34675)))
    elif way == 1:
        struct.pack_into(f"{order}H", changed, entry + 2, rng.randrange(19))
    elif way == 2:
        struct.pack_into(f"{order}I", changed, entry + 4, value)
    elif way == 3:
        struct.pack_into(
            f"{order}I", changed, start + 2 + 12 * count, rng.choice((8, start, value))
        )
    elif way == 4:
        struct.pack_into(f"{order}H", changed, entry + 8, rng.choice((*range(9), value & 0xFFFF)))
    else:
        struct.pack_into(f"{order}I", changed, entry + 8, value)
    return bytes(changed)


def _bmp(rng: Random, data: bytes) -> bytes:
    """Mutate a field of the two headers of a BMP."""
    changed = bytearray(data)
    fields = [(at, "<I") for at in (2, 10, 14, 18, 22, 30, 34, 46, 50)]
    offset, form = rng.choice([*fields, (26, "<H"), (28, "<H")])
    value = rng.choice((*NUMBERS[:-4], *_SIDES, -1, -35))
    wrapped = value & (1 << 8 * struct.calcsize(form)) - 1
    struct.pack_into(form, changed, offset, wrapped)
    return bytes(changed)


def _run_lengths(rng: Random, data: bytes) -> bytes:
    """Mutate the table of RLE segments (PS3.5 G.5)."""
    changed = bytearray(data)
    value = rng.choice((*NUMBERS, len(data), len(data) - 1, 63, 64)) & 0xFFFFFFFF
    struct.pack_into("<I", changed, 4 * rng.choice((0, 0, 1, 2, 3, 15)), value)
    return bytes(changed)


def _first_bits(rng: Random, data: bytes) -> bytes:
    """Flip bits in the headers of a JPEG XL stream."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        changed[rng.randrange(2, min(40, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(changed)


_KINDS: Final = (
    (_PNG, _png),
    (_SOI, _markers),
    (_SOC, _markers),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"BM", _bmp),
    (b"\x01\0\0\0", _run_lengths),
    (b"\x02\0\0\0", _run_lengths),
    (b"\x03\0\0\0", _run_lengths),
    (b"\xff\x0a", _first_bits),
)
