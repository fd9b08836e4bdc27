"""PNG with a quicker decoder than Pillow's, where it is installed; the samples are the same.

kornia-rs undoes the filters of a large film in less than half the time, but keeps the interpreter lock
meanwhile. It is shown nothing but whole files of the plainest kind.
"""

import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

try:
    from kornia_rs import io as _quick
except ImportError:  # left out on small devices
    _quick = None  # type: ignore[assignment]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

#: Chunks that leave the samples as they are (PNG specification, 11.2 and 11.3).
_PLAIN: Final = frozenset(
    b"IHDR IDAT IEND gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs tIME tEXt".split()
)

#: How a text begins that is Exif, which may turn the film.
_EXIF: Final = b"Raw profile"

#: Bit depth and colour type (11.2.2), and what the decoder calls them.
_KINDS: Final = {(8, 0): ("u8", "mono"), (8, 2): ("u8", "rgb"), (16, 0): ("u16", "mono")}


def is_installed() -> bool:
    """True if the quick decoder is there."""
    return _quick is not None


def decode_quickly(data: bytes) -> npt.NDArray[Any] | None:
    """The samples of a PNG, shape (rows, columns) or (rows, columns, 3), uint8 or uint16.

    Returns:
        None if the decoder is not installed, or for a file that is damaged, interlaced, or holds more
        than grey or colour of 8 bits or grey of 16.
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
    # A panic in Rust is no Exception. Whatever is wrong, the other decoder says so.
    except BaseException:  # noqa: BLE001
        return None
    return cells[..., 0] if mode == "mono" else cells


def _is_plain(data: bytes) -> bool:
    """True for a whole file without a wrong byte, of a kind that the decoder reads."""
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
