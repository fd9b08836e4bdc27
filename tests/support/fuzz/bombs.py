"""Make small files that require excessive memory, time or stack depth to decode.

No file is larger than a megabyte. Each is a kind that has defeated a decoder before.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import imagecodecs
import numpy as np
import pydicom.uid as uids

from fuzz.coded import chunk, resized
from fuzz.corpus import COLOUR, GREY8, GREY12, GREY16, corpus, enclosed
from fuzz.elements import (
    COLUMNS,
    ITEM,
    PIXELS,
    ROWS,
    SEQUENCE_END,
    SYNTAX,
    UNDEFINED,
    Dicom,
    Element,
)

_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_ROWS, _COLUMNS = GREY8.shape
_AREA: Final = _ROWS * _COLUMNS


def bombs(*, large: bool) -> dict[str, bytes]:
    """Make all bombs, by file name; always the same.

    Args:
        large: include those that take seconds each: films of 90 million pixels and floods of zeros.
    """
    found: dict[str, bytes] = {}
    makers = (_pngs, _jpegs, _tiffs, _bitmaps, _huge, _data_sets, _tables, _streams)
    for make in makers + ((_floods, _large) if large else ()):
        found |= make()
    return {f"bomb-{name}": data for name, data in found.items()}


def _png(
    width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 0, idat: bytes = b""
) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return _MAGIC + head + b"".join(extra) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def _zeros(count: int) -> bytes:
    """Deflate `count` zeros."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(count >> 20)]
    return b"".join(parts) + packer.compress(bytes(count & 0xFFFFF)) + packer.flush()


def _pngs() -> dict[str, bytes]:
    """Make PNG bombs; plain PNG is decoded without a memory limit, so its chunks matter."""
    film = zlib.compress((b"\0" + GREY8[0].tobytes()) * _ROWS)
    flood = _zeros(64 << 20)
    packed = {
        "ztxt": chunk(b"zTXt", b"Comment\0\0" + flood),
        "itxt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + flood),
        "iccp": chunk(b"iCCP", b"profile\0\0" + flood),
        "texts": chunk(b"zTXt", b"Comment\0\0" + _zeros(1 << 20)) * 300,
        "chunks": chunk(b"tEXt", b"A\0") * 40000,
        "frames": chunk(b"acTL", struct.pack(">II", 0xFFFFFFFF, 0)),
        "exif": chunk(b"eXIf", b"II*\0\x08\0\0\0" + b"\xff" * 60000),
    }
    made = {
        f"{name}.png": _png(_COLUMNS, _ROWS, extra, idat=film) for name, extra in packed.items()
    }
    return made | {
        "empty-idats.png": _png(_COLUMNS, _ROWS, chunk(b"IDAT", b"") * 60000, idat=film),
        "long-idat.png": _png(_COLUMNS, _ROWS, idat=flood),
        "40-gb.png": _png(200_000, 200_000, idat=flood),
        "2-to-the-31.png": _png(0x7FFFFFFF, 0x7FFFFFFF, depth=16, colour=6, idat=b"x"),
    }


def _floods() -> dict[str, bytes]:
    """Make files with as many zeros as the limits allow, or more."""
    deflated = _zeros(1 << 30)
    frame = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    raw = b"".join(frame.compress(bytes(1 << 20)) for _ in range(900)) + frame.flush()
    film = _sound()
    film.put(SYNTAX, "UI", uids.DeflatedExplicitVRLittleEndian.encode())
    film.body = []
    jxl = imagecodecs.jpegxl_encode(np.zeros((9500, 9500), np.uint8), lossless=True)
    return {
        "6000-by-6000.png": _png(6000, 6000, idat=_zeros(6000 * 6001)),
        "6000-by-6000-rgba16.png": _png(6000, 6000, depth=16, colour=6, idat=_zeros(288_006_000)),
        "row.png": _png(39_000_000, 1, depth=16, idat=_zeros(79 << 20)),
        "deflate.tif": _tiff({256: 9000, 257: 9000, 278: 9000, 259: 8, 279: len(deflated)})[:400]
        + deflated,
        "deflated.dcm": film.write() + raw,
        "deflated-frame.dcm": enclosed(GREY8, "1.2.840.10008.1.2.8.1", raw),
        "jxl-zeros.dcm": _sized(enclosed(GREY8, "1.2.840.10008.1.2.4.110", jxl), 9500),
    }


def _jpegs() -> dict[str, bytes]:
    """Make JPEG bombs, many of them with scans that each cover the whole film."""
    baseline = imagecodecs.jpeg8_encode(GREY8, level=90)
    coloured = imagecodecs.jpeg8_encode(COLOUR, level=90)
    start = baseline.index(b"\xff\xda")
    # SOF2 and empty refinement scans (T.81, G.1.1).
    head = baseline[:start].replace(b"\xff\xc0", b"\xff\xc2", 1)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00" + b"\x00"
    return {
        "scans.jpg": head + scan * 20000 + b"\xff\xd9",
        "scans-large.jpg": resized(head, 6000, 6000) + scan * 5000 + b"\xff\xd9",
        "scans-of-baseline.jpg": baseline[:-2] + baseline[start:-2] * 100 + b"\xff\xd9",
        "comments.jpg": b"\xff\xd8" + b"\xff\xfe\x00\x02" * 100_000 + baseline[2:],
        "profiles.jpg": b"\xff\xd8" + b"\xff\xe2\x00\x10ICC_PROFILE\0\1\xff" * 5000 + baseline[2:],
        "fill.jpg": b"\xff\xd8" + b"\xff" * 500_000 + baseline[3:],
        "no-data.jpg": resized(baseline[: start + 10], 6000, 6000) + b"\xff\xd9",
        "no-data-colour.jpg": resized(coloured, 6000, 6600),
        "restarts.jpg": baseline[:-2] + b"\xff\xd0" * 200_000 + b"\xff\xd9",
        "65500.jpg": resized(baseline, 65500, 65500),
        "mpo.jpg": baseline[:2]
        + b"\xff\xe2\x00\x60MPF\0II*\0\x08\0\0\0"
        + b"\xff" * 82
        + baseline[2:],
        "scans.dcm": enclosed(GREY8, uids.JPEGBaseline8Bit, head + scan * 20000 + b"\xff\xd9"),
    }


def _directory(entries: list[tuple[int, int, int, int]], after: int) -> bytes:
    """Encode an image file directory (TIFF 6.0, section 2)."""
    packed = (struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + b"".join(packed) + struct.pack("<I", after)


def _tiff(entries: dict[int, int], rest: bytes = b"", after: int = 0) -> bytes:
    """Make a grey film with additional or changed `entries` of type LONG."""
    size = {256: _COLUMNS, 257: _ROWS, 278: _ROWS, 279: _AREA}
    usual = size | {258: 8, 259: 1, 262: 1, 273: 400, 277: 1}
    long = [(tag, 4, 1, value) for tag, value in (usual | entries).items()]
    head = b"II*\0\x08\0\0\0" + _directory(long, after)
    return head.ljust(400, b"\0") + GREY8.tobytes() + rest


def _tiffs() -> dict[str, bytes]:
    chain = b"".join(
        struct.pack("<HHHIII", 1, 256, 4, 1, 1, 400 + _AREA + 18 * (n + 1)) for n in range(50_000)
    )
    many = struct.pack("<I", 400) * 200_000
    base = _tiff({}, many)
    strips = bytearray(base)
    for at in range(10, 10 + 12 * 9, 12):
        if struct.unpack_from("<H", base, at)[0] in (273, 279):
            struct.pack_into("<II", strips, at + 4, 200_000, 400 + _AREA)
    return {
        "cycle.tif": _tiff({}, after=8),
        "chain.tif": _tiff({}, chain, after=400 + _AREA),
        "strips.tif": bytes(strips),
        "rows-1.tif": _tiff({278: 1}),
        "lzw-6000.tif": _tiff({256: 9000, 257: 9000, 278: 9000, 259: 5}),
        "40-gb.tif": _tiff({256: 200_000, 257: 200_000}),
        "bits.tif": _tiff({258: 0xFFFFFFFF}),
        "samples.tif": _tiff({277: 0xFFFFFFFF}),
        "orientation.tif": _tiff({274: 0xFFFFFFFF}),
        "exif-cycle.tif": _tiff({34665: 8, 330: 8, 34853: 8}),
        "count.tif": b"II*\0\x08\0\0\0\xff\xff"
        + struct.pack("<HHII", 256, 4, UNDEFINED, 8) * 65535,
        "fax.tif": _tiff({256: 60_000, 257: 1600, 278: 1600, 258: 1, 259: 4}),
    }


def _bitmap(width: int, height: int, bits: int, packing: int, data: bytes) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(data), 1, 1, 256, 0)
    offset = 14 + len(info) + 1024
    return struct.pack("<2sIII", b"BM", offset + len(data), 0, offset) + info + bytes(1024) + data


def _bitmaps() -> dict[str, bytes]:
    return {
        "rle.bmp": _bitmap(9000, 9000, 8, 1, b"\xff\0" * 300_000),
        "rle-jumps.bmp": _bitmap(9000, 9000, 8, 1, b"\0\2\xff\xff" * 100_000),
        "rle-ends.bmp": _bitmap(9000, 9000, 8, 1, b"\0\0" * 300_000),
        "rle-nothing.bmp": _bitmap(9000, 9000, 8, 1, b"\0\1"),
        "rle4.bmp": _bitmap(112, 104, 4, 2, b"\xff\x11" * 300_000),
        "40-gb.bmp": _bitmap(200_000, 200_000, 8, 0, b""),
        "negative.bmp": _bitmap(-0x80000000, -0x80000000, 8, 0, b""),
        "no-data.bmp": _bitmap(9000, 9000, 24, 0, b""),
    }


def _huge() -> dict[str, bytes]:
    """Make headers and streams of every DICOM codec that require 8 GB and more."""
    return {f"40-gb-{name}": _sized(data, 65535) for name, data in _each_codec()}


def _large() -> dict[str, bytes]:
    """Make headers and streams of every DICOM codec with the maximum number of pixels."""
    return {f"90-million-{name}": _sized(data, 9500) for name, data in _each_codec()}


def _each_codec() -> Iterator[tuple[str, bytes]]:
    seen = {"no File Meta"}
    for film in corpus():
        if film.name.endswith(".dcm") and film.codec not in seen:
            seen.add(film.codec)
            yield f"{film.codec.lower().replace(' ', '-')}.dcm", film.data


def _sized(data: bytes, side: int) -> bytes:
    film = Dicom.read(data)
    film.put(ROWS, "US", film.word(side))
    film.put(COLUMNS, "US", film.word(side))
    fragments = film.fragments()
    if fragments:
        film.set_fragments([fragments[0], resized(fragments[1], side, side), *fragments[2:]])
    return film.write()


def _sound() -> Dicom:
    return Dicom.read(next(film.data for film in corpus() if film.name == "wide-explicit.dcm"))


def _with(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    film = _sound()
    film.put(tag, vr, value).length = length
    return film.write()


def _data_sets() -> dict[str, bytes]:
    """Make data sets that a parser must not trust."""
    deep = b"\x40\x00\x75\xa7SQ\0\0\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff"
    film = _sound()
    film.body[-1:-1] = [Element(0x00091000 + n, "LO", b"x ") for n in range(60_000)]
    many = film.write()
    charsets = b"\\".join([b"ISO 2022 IR 87"] * 3000)
    return {
        "deep.dcm": _with(0x0040A730, "SQ", ITEM + b"\xff\xff\xff\xff" + deep * 30_000, UNDEFINED),
        "items.dcm": _with(0x00082218, "SQ", (ITEM + bytes(4)) * 100_000),
        "elements.dcm": many,
        "values.dcm": _with(0x00281050, "DS", b"1\\" * 32_000),
        "long-text.dcm": _with(0x00081030, "UT", b"knee " * 180_000),
        "charsets.dcm": _with(0x00080005, "CS", charsets),
        "escapes.dcm": _with(0x00100010, "PN", b"\x1b$B\x1b(J" * 9000),
        "fragments.dcm": _fragments((ITEM + bytes(4)) * 100_000),
        "offsets.dcm": _fragments(ITEM + struct.pack("<I", 800_000) + bytes(800_000)),
        "frames.dcm": _with(0x00280008, "IS", b"999999999999999999999999"),
        "padding.dcm": _with(0x00280120, "US", b"\xff" * 60_000),
    }


def _fragments(items: bytes) -> bytes:
    film = Dicom.read(enclosed(GREY8, uids.JPEGBaseline8Bit, b""))
    value = items + ITEM + b"\2\0\0\0\xff\xd8" + SEQUENCE_END + bytes(4)
    film.put(PIXELS, "OB", value).length = UNDEFINED
    return film.write()


def _tables() -> dict[str, bytes]:
    """Make segmented palettes (PS3.3 C.7.9.2) that refer to themselves."""
    made = {}
    back = struct.pack("<HHH", 0, 1, 7) + struct.pack("<HHHH", 2, 65535, 0, 0) * 8000
    linear = struct.pack("<HHH", 0, 1, 7) + struct.pack("<HHH", 1, 65535, 9) * 9000
    again = struct.pack("<HHH", 0, 0, 0) + struct.pack("<HHHH", 2, 65535, 0, 0) * 8000
    for name, data in (("indirect", back), ("linear", linear), ("empty", again)):
        film = _sound()
        film.put(0x00280004, "CS", b"PALETTE COLOR ")
        for colour in range(3):
            film.put(0x00281101 + colour, "US", struct.pack("<HHH", 0, 0, 16))
            film.put(0x00281221 + colour, "OW", data)
        made[f"palette-{name}.dcm"] = film.write()
    return made


def _streams() -> dict[str, bytes]:
    """Make streams with sizes and numbers that are allowed but nonsensical."""
    j2k = imagecodecs.jpeg2k_encode(GREY12, level=0, codecformat="j2k", bitspersample=12)
    jls = imagecodecs.jpegls_encode(GREY12)
    cod = j2k.index(b"\xff\x52")
    siz = j2k.index(b"\xff\x51")
    changes = {
        "layers": _set(j2k, cod + 6, b"\xff\xff"),
        "levels": _set(j2k, cod + 9, b"\x20"),
        "blocks": _set(j2k, cod + 10, b"\x08\x00"),
        "tiles": _set(j2k, siz + 22, struct.pack(">II", 1, 1)),
        "components": _set(j2k, siz + 38, b"\x40\x00"),
        "offset": _set(j2k, siz + 14, struct.pack(">II", 50, 50)),
        "precision": _set(j2k, siz + 40, b"\x25"),
        "tile-parts": j2k[:-2] + b"\xff\x90\0\x0a\0\0\0\0\0\x0e\0\xff\xff\x93" * 20_000,
    }
    made = {
        f"j2k-{name}.dcm": enclosed(GREY12, uids.JPEG2000Lossless, stream, BitsStored=12)
        for name, stream in changes.items()
    }
    # 22 million tiles; more than 65,535 are not allowed (ISO/IEC 15444-1, B.3).
    tiles = _set(resized(j2k, 9500, 9500), siz + 22, struct.pack(">II", 2, 2))
    made["j2k-small-tiles.dcm"] = _sized(
        enclosed(GREY12, uids.JPEG2000Lossless, tiles, BitsStored=12), 9500
    )
    tiles = _set(resized(j2k, 9500, 9500), siz + 22, struct.pack(">II", 38, 38))
    made["j2k-most-tiles.dcm"] = _sized(
        enclosed(GREY12, uids.JPEG2000Lossless, tiles, BitsStored=12), 9500
    )
    # LSE with the largest MAXVAL and thresholds, SOS with the largest NEAR (ISO/IEC 14495-1, C.2).
    scan = jls.index(b"\xff\xda")
    lse = b"\xff\xf8\0\x0d\1" + struct.pack(">HHHHH", 65535, 65535, 65535, 65535, 65535)
    near = _set(jls, scan + 7, b"\xff")
    for name, stream in (("maxval", jls[:scan] + lse + jls[scan:]), ("near", near)):
        made[f"jls-{name}.dcm"] = enclosed(GREY12, uids.JPEGLSLossless, stream, BitsStored=12)
    lines = jls[:-2] + bytes(500_000) + b"\xff\xd9"
    made["jls-tail.dcm"] = enclosed(GREY12, uids.JPEGLSLossless, lines, BitsStored=12)
    segments = struct.pack("<16I", 2, *range(64, 79)) + b"\x81\0" * 400_000
    made["rle-overlap.dcm"] = enclosed(GREY16, uids.RLELossless, segments)
    return made


def _set(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]
