"""Detect the kind of a file from its first bytes, and if it may be decoded in this process."""

import struct
from pathlib import PurePath
from typing import Final

DICOM: Final = "DICOM"
PNG: Final = "PNG"
JPEG: Final = "JPEG"
TIFF: Final = "TIFF"
BMP: Final = "BMP"

_MAGIC: Final = (
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"\xff\xd8\xff", JPEG),
    (128, b"DICM", DICOM),
    (0, b"II*\x00", TIFF),
    (0, b"MM\x00*", TIFF),
    (0, b"II+\x00\x08\x00\x00\x00", TIFF),
    (0, b"MM\x00+\x00\x08\x00\x00", TIFF),
    (0, b"GIF8", "GIF"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (8, b"WEBP", "WebP"),
)

SUFFIXES: Final = {
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".jpe": JPEG,
    ".dcm": DICOM,
    ".dicom": DICOM,
    ".dic": DICOM,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".bmp": BMP,
    ".gif": "GIF",
    ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".webp": "WebP",
}

# A DICOM file without the 128-byte preamble begins with a File Meta or an Identifying element:
# group 0002 or 0008, a small element number, then (explicit VR) two capital letters.
_BARE_GROUPS: Final = (b"\x02\x00", b"\x08\x00")

# The same in big endian, which is always explicit VR.
_BIG_ENDIAN_GROUP: Final = b"\x00\x08\x00"


def kind_of(data: bytes, name: str) -> str | None:
    """Return the image format of a file, or None if neither content nor suffix indicate an image.

    Args:
        data: the file's first bytes; 132 are enough.
        name: the file's name, for its suffix.
    """
    for offset, magic, kind in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return kind
    if _is_bare_dicom(data):
        return DICOM
    # Two letters alone are not specific enough; the reserved bytes of a bitmap are zero.
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return BMP
    return SUFFIXES.get(PurePath(name).suffix.lower())


def _is_bare_dicom(data: bytes) -> bool:
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    if data[:3] == _BIG_ENDIAN_GROUP and explicit and len(data) >= 8:
        return data[3] <= 0x18
    if data[:2] not in _BARE_GROUPS or len(data) < 8:
        return False
    element = int.from_bytes(data[2:4], "little")
    implicit = int.from_bytes(data[4:8], "little") <= 256
    return element <= 0x0018 and (explicit or implicit)


#: Bytes that :func:`is_plain` needs. A file whose frame header comes later is not plain.
FIRST_BYTES: Final = 65_536

#: Larger films are decoded in a process with a memory limit.
_MOST_PIXELS: Final = 20_000_000

# ITU-T T.81, table B.1: Huffman-coded sequential frames. A progressive file can make the decoder
# pass over the full image thousands of times.
_SEQUENTIAL: Final = (0xC0, 0xC1)
_SCAN: Final = 0xDA

# Tables, restart intervals, application data and comments.
_OTHER_SEGMENTS: Final = frozenset({0xC4, 0xCC, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})


def is_plain(first: bytes, name: str) -> bool:
    """Return True for PNG and sequential JPEG files of ordinary size, and for non-images.

    Args:
        first: the file's first :data:`FIRST_BYTES` bytes, or all of them.
        name: the file's name, for its suffix.
    """
    kind = kind_of(first, name) if first else None
    if kind == PNG:
        return _png_pixels(first) <= _MOST_PIXELS
    if kind == JPEG:
        return _jpeg_pixels(first) <= _MOST_PIXELS
    return kind is None


def _png_pixels(first: bytes) -> float:
    """Return width x height from IHDR (ISO/IEC 15948, 11.2.2); infinite if it is not plain."""
    if first[12:16] != b"IHDR" or len(first) < 26:
        return float("inf")
    width, height, depth, colour = struct.unpack(">IIBB", first[16:26])
    # Pillow does not read 16-bit colour; the library that does must run in a child process.
    return float("inf") if depth == 16 and colour else float(width * height)


def _jpeg_pixels(first: bytes) -> float:
    """Return lines times samples from the frame header (T.81, B.2.2); infinite if it is not plain.

    Anything that decoders may interpret differently is not plain.
    """
    at, pixels, components = 2, float("inf"), 0
    while at + 10 <= len(first) and first[at] == 0xFF:
        marker = first[at + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            at += 1
            continue
        if marker in _SEQUENTIAL and not components:
            lines, samples, components = struct.unpack(">HHB", first[at + 5 : at + 10])
            pixels = float(lines * samples)
        elif marker == _SCAN:
            # A scan with fewer components is followed by others, each of which covers the full
            # image.
            return pixels if first[at + 4] == components else float("inf")
        elif marker not in _OTHER_SEGMENTS:
            break
        at += 2 + int.from_bytes(first[at + 2 : at + 4])
    return float("inf")
