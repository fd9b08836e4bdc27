"""Which files are so simple that they may be decoded in this very process."""

import struct
from typing import Final

from screening.pixels.signature import JPEG, PNG, kind_of

#: What :func:`is_plain` needs to see; a file that says later how it is coded is not plain.
FIRST_BYTES: Final = 65_536

#: Films above this go to a process with a memory limit.
_MOST_PIXELS: Final = 20_000_000

# ITU-T T.81, table B.1: Huffman-coded sequential frames; a progressive one may ask for its whole
# size to be gone over thousands of times.
_SEQUENTIAL: Final = (0xC0, 0xC1)
_SCAN: Final = 0xDA

# Tables, intervals, application data and comments.
_OTHER_SEGMENTS: Final = frozenset({0xC4, 0xCC, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})


def is_plain(first: bytes, name: str) -> bool:
    """True for PNG and sequential JPEG files of ordinary size, and for what is no image at all.

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
    """Width times height from IHDR (ISO/IEC 15948, 11.2.2), infinite if it is not plain."""
    if first[12:16] != b"IHDR" or len(first) < 26:
        return float("inf")
    width, height, depth, colour = struct.unpack(">IIBB", first[16:26])
    # Pillow does not read 16 bits in colour; what does is for a child process.
    return float("inf") if depth == 16 and colour else float(width * height)


def _jpeg_pixels(first: bytes) -> float:
    """Lines times samples from the frame header (T.81, B.2.2), infinite if it is not plain.

    Anything that decoders may understand otherwise is not plain.
    """
    at, pixels, components = 2, float("inf"), 0
    while at + 10 <= len(first) and first[at] == 0xFF:
        marker = first[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
            continue
        if marker in _SEQUENTIAL and not components:
            lines, samples, components = struct.unpack(">HHB", first[at + 5 : at + 10])
            pixels = float(lines * samples)
        elif marker == _SCAN:
            # A scan of fewer components is followed by others; each goes over the whole film.
            return pixels if first[at + 4] == components else float("inf")
        elif marker not in _OTHER_SEGMENTS:
            break
        at += 2 + int.from_bytes(first[at + 2 : at + 4])
    return float("inf")
