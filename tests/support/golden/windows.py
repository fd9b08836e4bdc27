"""Modality LUT, windows, VOI LUT, polarity: PS3.3 C.11.1, C.11.2 and C.11.6."""

from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from golden.case import Case, Grey
from golden.films import as_bytes, dicom
from golden.formulas import Values, full, linear, linear_exact, look_up, sigmoid
from golden.phantom import phantom

X: Final = phantom(12).astype(np.uint16)
SIGNED: Final = (phantom(12) - 2048).astype(np.int16)
BYTES: Final = phantom(8).astype(np.uint8)
DEEP: Final = phantom(16).astype(np.uint16)
#: A window that excludes both ends of `X`.
WINDOW: Final = {"WindowCenter": 1500, "WindowWidth": 1800}
SEEN: Final = linear(X, 1500, 1800)
TWELVE: Final = {"BitsStored": 12}


def case(
    proves: str,
    stored: Values,
    expected: Grey,
    rule: dict[str, object],
    without: Grey | None = None,
    witness: str | None = "+Wi 1",
    **common: object,
) -> Case:
    """A film with `common` attributes and those of the `rule`; its counterpart lacks the rule's."""
    bits = {} if stored.dtype == np.uint8 or "BitsStored" in common else TWELVE
    common = bits | common
    return Case(
        proves,
        lambda: as_bytes(dicom(stored, **common, **rule)),
        expected,
        without if without is not None else lambda: as_bytes(dicom(stored, **common)),
        witness=witness,
        # dcm2pnm maps an entry of b bits to entry / 2^b, not / (2^b - 1).
        quantum=1 / 256 if witness == "+Wl 1" else 2 / 65535,
    )


def lut(first: int, entries: Values, bits: int, count: int | None = None) -> Sequence:
    """A LUT sequence with entries as words, whatever `bits` says."""
    table = Dataset()
    signed = "SS" if first < 0 else "US"
    size = len(entries) if count is None else count
    table.add_new("LUTDescriptor", signed, [size, first, bits])
    table.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([table])


def curve(count: int, bits: int) -> Values:
    """A table that is not a straight line: a square root."""
    top = 2**bits - 1
    return np.round(top * np.sqrt(np.arange(count) / (count - 1))).astype(np.int64)


def packed(first: int, entries: Values) -> Sequence:
    """A LUT with two bytes per word, the first in the lower half: 8 bits allocated (C.11.1.1.1)."""
    sequence = lut(first, entries, 8)
    sequence[0].LUTData = entries.astype(np.uint8).tobytes()
    return sequence


def numbers(first: int, entries: Values, bits: int) -> Sequence:
    """A LUT sequence whose entries have the VR US."""
    sequence = lut(first, entries, bits)
    sequence[0].add_new("LUTData", "US", entries.tolist())
    return sequence


WINDOWS: Final = (
    case(
        "LINEAR takes a half off the centre and one off the width",
        BYTES,
        linear(BYTES, 100, 9),
        {"WindowCenter": 100, "WindowWidth": 9},
        without=linear_exact(BYTES, 100, 9),
    ),
    case(
        "LINEAR of width 1 is a threshold below the centre by a half",
        BYTES,
        (BYTES > 99.5).astype(float),
        {"WindowCenter": 100, "WindowWidth": 1},
    ),
    case(
        "at the threshold of width 1 itself it is black",
        BYTES,
        (BYTES > 100).astype(float),
        {"WindowCenter": "100.5", "WindowWidth": 1},
        without=(BYTES >= 100).astype(float),
    ),
    case(
        "a fractional centre and width are not rounded",
        BYTES,
        linear(BYTES, 100.75, 8.5),
        {"WindowCenter": "100.75", "WindowWidth": "8.5"},
        without=linear(BYTES, 101, 8),
    ),
    # dcm2pnm 3.6.7 does not support LINEAR_EXACT, and shows LINEAR.
    case(
        "LINEAR_EXACT takes nothing off",
        BYTES,
        linear_exact(BYTES, 100, 9),
        {"VOILUTFunction": "LINEAR_EXACT"},
        WindowCenter=100,
        WindowWidth=9,
        witness=None,
    ),
    # dcm2pnm 3.6.7 does not support LINEAR_EXACT, and shows LINEAR.
    case(
        "LINEAR_EXACT may be narrower than 1",
        BYTES,
        linear_exact(BYTES / 256, 0.4, 0.5),
        {"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": "0.4", "WindowWidth": "0.5"},
        RescaleSlope="0.00390625",
        RescaleIntercept="0",
        witness=None,
    ),
    case(
        "SIGMOID is the logistic curve",
        X,
        sigmoid(X, 1500, 900),
        {"VOILUTFunction": "SIGMOID"},
        WindowCenter=1500,
        WindowWidth=900,
    ),
    case(
        "SIGMOID does not end at the window's edges",
        X,
        sigmoid(X, 2048, 400),
        {"VOILUTFunction": "SIGMOID", "WindowCenter": 2048, "WindowWidth": 400},
        without=linear(X, 2048, 400),
    ),
    case(
        "of several windows the first is used",
        X,
        SEEN,
        {"WindowCenter": [1500, 3000], "WindowWidth": [1800, 600]},
        without=linear(X, 3000, 600),
    ),
    case(
        "a window of signed samples may lie below zero",
        SIGNED,
        linear(SIGNED, -500, 900),
        {"WindowCenter": -500, "WindowWidth": 900},
    ),
)

RESCALED: Final = X * 0.5 - 100
EIGHT: Final = curve(256, 8)
MODALITY_TABLE: Final = 2000 + curve(1024, 11)

MODALITY: Final = (
    # dcm2pnm rounds to integers between rescale and window; PS3.3 C.11.1 does not.
    case(
        "a window is in units after the rescale",
        X,
        linear(RESCALED, 700, 900),
        {"RescaleSlope": "0.5", "RescaleIntercept": "-100"},
        WindowCenter=700,
        WindowWidth=900,
        witness=None,
    ),
    case(
        "an intercept alone moves the samples",
        X,
        linear(X - 1024.0, 500, 1800),
        {"RescaleSlope": "1", "RescaleIntercept": "-1024"},
        WindowCenter=500,
        WindowWidth=1800,
    ),
    case(
        "a negative slope turns the film over",
        X,
        linear(4095.0 - X, 2600, 1800),
        {"RescaleSlope": "-1", "RescaleIntercept": "4095"},
        WindowCenter=2600,
        WindowWidth=1800,
    ),
    case(
        "a negative slope and MONOCHROME1 are two turns",
        X,
        1 - linear(4095.0 - X, 2600, 1800),
        {"PhotometricInterpretation": "MONOCHROME1"},
        RescaleSlope="-1",
        RescaleIntercept="4095",
        WindowCenter=2600,
        WindowWidth=1800,
    ),
    # dcm2pnm rounds here, too.
    case(
        "a fraction of the rescale is not cut off before the window",
        X,
        linear(X / 256, 6, 9),
        {"RescaleSlope": "0.00390625", "RescaleIntercept": "0"},
        without=linear(X // 256, 6, 9),
        WindowCenter=6,
        WindowWidth=9,
        witness=None,
    ),
    case(
        "a Modality LUT comes before the window",
        X,
        linear(look_up(X, 1200, MODALITY_TABLE), 3000, 2000),
        {"ModalityLUTSequence": lut(1200, MODALITY_TABLE, 16)},
        WindowCenter=3000,
        WindowWidth=2000,
    ),
    case(
        "beyond a Modality LUT its first and last entries hold",
        X,
        linear(look_up(X, 1200, MODALITY_TABLE[::-1]), 3000, 2200),
        {"ModalityLUTSequence": lut(1200, MODALITY_TABLE[::-1], 16)},
        without=np.where(
            (X >= 1200) & (X < 2224),
            linear(look_up(X, 1200, MODALITY_TABLE[::-1]), 3000, 2200),
            linear(X, 3000, 2200),
        ),
        WindowCenter=3000,
        WindowWidth=2200,
    ),
    case(
        "a Modality LUT of signed samples may begin below zero",
        SIGNED,
        linear(look_up(SIGNED, -512, MODALITY_TABLE), 3000, 2200),
        {"ModalityLUTSequence": lut(-512, MODALITY_TABLE, 16)},
        WindowCenter=3000,
        WindowWidth=2200,
    ),
    case(
        "Modality LUT entries of 8 bits may share words",
        X,
        linear(look_up(X, 1800, EIGHT), 128, 200),
        {"ModalityLUTSequence": packed(1800, EIGHT)},
        WindowCenter=128,
        WindowWidth=200,
    ),
)

TWELVE_BITS: Final = curve(4096, 12)
SHORT: Final = curve(1024, 10)[::-1] // 2 + 200
ALL: Final = curve(65536, 16)

VOI_LUT: Final = (
    case(
        "VOI LUT entries of 8 bits in words end at 255",
        BYTES,
        full(look_up(BYTES, 0, EIGHT), 8),
        {"VOILUTSequence": lut(0, EIGHT, 8)},
        witness="+Wl 1",
    ),
    case(
        "VOI LUT entries of 8 bits may share words",
        BYTES,
        full(look_up(BYTES, 0, EIGHT), 8),
        {"VOILUTSequence": packed(0, EIGHT)},
        witness="+Wl 1",
    ),
    case(
        "VOI LUT entries of 12 bits end at 4095",
        X,
        full(look_up(X, 0, TWELVE_BITS), 12),
        {"VOILUTSequence": lut(0, TWELVE_BITS, 12)},
        without=full(look_up(X, 0, TWELVE_BITS), 16),
        witness="+Wl 1",
    ),
    case(
        "VOI LUT entries may be numbers (US), not words (OW)",
        X,
        full(look_up(X, 0, TWELVE_BITS), 12),
        {"VOILUTSequence": numbers(0, TWELVE_BITS, 12)},
        witness="+Wl 1",
    ),
    case(
        "VOI LUT entries are bits of the descriptor, not the largest entry",
        X,
        full(look_up(X, 0, TWELVE_BITS // 2), 12),
        {"VOILUTSequence": lut(0, TWELVE_BITS // 2, 12)},
        without=full(look_up(X, 0, TWELVE_BITS), 12),
        witness="+Wl 1",
    ),
    case(
        "beyond a VOI LUT its first and last entries hold",
        X,
        full(look_up(X, 1500, SHORT), 10),
        {"VOILUTSequence": lut(1500, SHORT, 10)},
        without=np.where((X >= 1500) & (X < 2524), full(look_up(X, 1500, SHORT), 10), 0),
        witness="+Wl 1",
    ),
    case(
        "0 entries of a VOI LUT mean 65536",
        DEEP,
        full(look_up(DEEP, 0, ALL), 16),
        {"VOILUTSequence": lut(0, ALL, 16, count=0)},
        witness="+Wl 1",
        BitsStored=16,
    ),
    case(
        "a VOI LUT comes after the rescale, and may begin below zero",
        X,
        full(look_up(X - 1024.0, -1024, TWELVE_BITS), 12),
        {"VOILUTSequence": lut(-1024, TWELVE_BITS, 12)},
        without=full(look_up(X, -1024, TWELVE_BITS), 12),
        witness="+Wl 1",
        RescaleSlope="1",
        RescaleIntercept="-1024",
    ),
    case(
        "of several VOI LUTs the first is used",
        X,
        full(look_up(X, 0, TWELVE_BITS), 12),
        {"VOILUTSequence": Sequence([*lut(0, TWELVE_BITS, 12), *lut(0, TWELVE_BITS[::-1], 12)])},
        without=full(look_up(X, 0, TWELVE_BITS[::-1]), 12),
        witness="+Wl 1",
    ),
)

ONE: Final = {"PhotometricInterpretation": "MONOCHROME1"}

POLARITY: Final = (
    case("MONOCHROME1 is turned over after the window", X, 1 - SEEN, ONE, **WINDOW),
    case(
        "MONOCHROME1 is turned over after the VOI LUT",
        X,
        1 - full(look_up(X, 0, TWELVE_BITS), 12),
        ONE,
        witness="+Wl 1",
        VOILUTSequence=lut(0, TWELVE_BITS, 12),
    ),
    case(
        "MONOCHROME1 is turned over after the SIGMOID",
        X,
        1 - sigmoid(X, 1500, 900),
        ONE,
        VOILUTFunction="SIGMOID",
        WindowCenter=1500,
        WindowWidth=900,
    ),
    case(
        "MONOCHROME1 with shape INVERSE is turned over once",
        X,
        1 - SEEN,
        ONE | {"PresentationLUTShape": "INVERSE"},
        without=SEEN,
        **WINDOW,
    ),
    case(
        "MONOCHROME2 with shape IDENTITY is not turned over",
        X,
        SEEN,
        {"PresentationLUTShape": "IDENTITY"},
        without=1 - SEEN,
        **WINDOW,
    ),
    case(
        "MONOCHROME2 with shape INVERSE is turned over",
        X,
        1 - SEEN,
        {"PresentationLUTShape": "INVERSE"},
        **WINDOW,
    ),
)

CASES: Final = (*WINDOWS, *MODALITY, *VOI_LUT, *POLARITY)

#: Small films that make_golden.py writes in other byte orders, by name.
_CORNER: Final = (slice(0, 16), slice(8, 24))
SMALL: Final = {
    "voilut": as_bytes(
        dicom(X[_CORNER] // 16, BitsStored=12, VOILUTSequence=lut(50, curve(100, 12), 12))
    ),
    "voilut8": as_bytes(dicom(BYTES[_CORNER], VOILUTSequence=packed(0, EIGHT))),
    "modality": as_bytes(
        dicom(
            SIGNED[_CORNER] // 16,
            BitsStored=12,
            ModalityLUTSequence=lut(-40, curve(80, 10), 16),
            WindowCenter=500,
            WindowWidth=900,
        )
    ),
}
