"""PALETTE COLOR: PS3.3 C.7.6.3.1.5 and C.7.9. A palette becomes grey by the luma of its colours."""

from typing import Final

import numpy as np

from golden.case import Case, Grey
from golden.films import as_bytes, dicom
from golden.formulas import Values, look_up
from golden.phantom import luma, phantom

_INDEX: Final = phantom(8).astype(np.uint8)
_WIDE: Final = phantom(12).astype(np.uint16)
_STEP: Final = np.arange(256)
#: Red rises, green bends, blue rises and falls: no channel equals the grey. (256, 3), 0..255.
TABLE: Final = np.stack([_STEP, _STEP**2 // 255, np.abs(255 - 2 * _STEP)], axis=-1)
FINE: Final = TABLE * 257 - (TABLE * 7919 % 251)
COLOURS: Final = ("Red", "Green", "Blue")


def palette(index: Values, table: Values, first: int, bits: int, *, shared: bool = False) -> bytes:
    """A film with one sample per pixel and three tables; 8-bit entries share words if `shared`."""
    dataset = dicom(
        index, PhotometricInterpretation="PALETTE COLOR", BitsStored=12 if index.itemsize > 1 else 8
    )
    signed = "SS" if index.dtype.kind == "i" else "US"
    for channel, name in enumerate(COLOURS):
        entries = table[:, channel]
        descriptor = f"{name}PaletteColorLookupTableDescriptor"
        setattr(dataset, descriptor, [len(table), first, bits])
        dataset[descriptor].VR = signed
        kind = "u1" if shared else "<u2"
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries.astype(kind).tobytes())
    return as_bytes(dataset)


def case(
    proves: str, film: bytes, colours: Values, top: int, without: Grey, witness: str | None = "+G"
) -> Case:
    """`colours`: (rows, columns, 3), 0..top."""
    return Case(
        proves,
        lambda: film,
        luma(colours, top),
        without,
        tolerance=2e-5,
        witness=witness,
        quantum=2 / top,
    )


#: Segments of PS3.3 C.7.9.2: discrete (0), linear (1), indirect (2).
SEGMENTS: Final = (
    (0, 2, 0, 1000, 1, 62, 63000, 2, 2, 0, 0, 0, 2, 63000, 500, 1, 126, 20000),
    (0, 1, 65535, 1, 127, 0, 1, 128, 40000),
    (0, 1, 30000, 1, 255, 300),
)


def line(start: int, count: int, end: int) -> Values:
    """A linear segment, from the previous entry to its own last one."""
    return np.round(start + (end - start) * np.arange(1, count + 1) / count)


def expanded() -> Values:
    """:data:`SEGMENTS` expanded by hand, (256, 3)."""
    first = np.concatenate([[0, 1000], line(1000, 62, 63000)])
    second = np.concatenate([[63000, 500], line(500, 126, 20000)])
    red = np.concatenate([first, first, second])
    green = np.concatenate([[65535], line(65535, 127, 0), line(0, 128, 40000)])
    blue = np.concatenate([[30000], line(30000, 255, 300)])
    return np.stack([red, green, blue], axis=-1)


def segmented() -> bytes:
    """A film whose three tables are segmented."""
    dataset = dicom(_INDEX, PhotometricInterpretation="PALETTE COLOR")
    for name, words in zip(COLOURS, SEGMENTS, strict=True):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        data = np.array(words, "<u2").tobytes()
        setattr(dataset, f"Segmented{name}PaletteColorLookupTableData", data)
    return as_bytes(dataset)


_GREY_INDEX: Final = _INDEX / 255
#: 1024 entries for 12 bits: a quarter of the values, from 1500.
_RAMP: Final = np.arange(1024)
_PART: Final = np.stack([500 + 63 * _RAMP, 64000 - 61 * _RAMP, 20 * _RAMP], axis=-1)
_SIGNED: Final = (_WIDE.astype(int) - 2048).astype(np.int16)
_PART_SEEN: Final = look_up(_WIDE, 1500, _PART)
_SIGNED_SEEN: Final = look_up(_SIGNED, -512, _PART)
_WRAPPED: Final = luma(_PART[np.clip(_SIGNED.view(np.uint16).astype(int) - 65024, 0, 1023)], 65535)

CASES: Final = (
    case(
        "8-bit entries of a palette share words",
        palette(_INDEX, TABLE, 0, 8, shared=True),
        TABLE[_INDEX],
        255,
        _GREY_INDEX,
    ),
    case(
        "8-bit entries of a palette may lie in words",
        palette(_INDEX, TABLE, 0, 8),
        TABLE[_INDEX],
        255,
        _GREY_INDEX,
    ),
    case(
        "16-bit entries of a palette keep their lower half",
        palette(_INDEX, FINE, 0, 16),
        FINE[_INDEX],
        65535,
        luma(FINE[_INDEX] // 256),
    ),
    case(
        "beyond a palette its first and last colours hold",
        palette(_WIDE, _PART, 1500, 16),
        _PART_SEEN,
        65535,
        np.where((_WIDE >= 1500) & (_WIDE < 2524), luma(_PART_SEEN, 65535), 0),
    ),
    case(
        "a palette of signed samples may begin below zero",
        palette(_SIGNED, _PART, -512, 16),
        _SIGNED_SEEN,
        65535,
        _WRAPPED,
    ),
    case(
        "a palette may be segments: discrete, linear, indirect",
        segmented(),
        expanded()[_INDEX],
        65535,
        _GREY_INDEX,
        None,
    ),
)

#: Small films that make_golden.py writes in other byte orders, by name.
_CORNER: Final = (slice(0, 16), slice(8, 24))
SMALL: Final = {
    "palette": palette(_WIDE[_CORNER] // 16, _PART[::16], 70, 16),
    "palette8": palette(_INDEX[_CORNER] // 8, TABLE[::8], 0, 8, shared=True),
    "segments": segmented(),
}
