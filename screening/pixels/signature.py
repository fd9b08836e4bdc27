"""What kind of file this is, from its first bytes and, failing these, its suffix."""

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

# The same in big endian, which is always explicit.
_BIG_ENDIAN_GROUP: Final = b"\x00\x08\x00"


def kind_of(data: bytes, name: str) -> str | None:
    """The image format of a file, or None if neither bytes nor suffix say that it is one.

    Args:
        data: the file's first bytes; 132 are enough.
        name: the file's name, for its suffix.
    """
    for offset, magic, kind in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return kind
    if _is_bare_dicom(data):
        return DICOM
    # Two letters alone are too few; a bitmap's reserved bytes are zero.
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
