"""Films without a window: the range spans 99 percent of the image pixels.

The standard leaves the range to the viewer. The rule here: cut off 0.5 percent of the samples on
each side, of those that show the patient. Padding (PS3.3 C.7.5.1.1.2), the area outside a
collimator (C.8.11.6) or a shutter (C.7.6.11), and an empty border are excluded. Percentiles may
lie on a sample or between two: :func:`golden.formulas.leeway`.
"""

from typing import Final

import numpy as np

from golden.case import Case, Grey
from golden.films import as_bytes, dicom
from golden.formulas import Region, Values, leeway, linear, range_window, spread
from golden.phantom import noise, phantom

SHAPE: Final = (60, 80)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
#: Tissue, 1000..3047 of 4095.
FILM: Final = (1000 + phantom(11, SHAPE)).astype(np.uint16)
#: 1-based lines; the film is between them.
LEFT, RIGHT, UPPER, LOWER = 13, 68, 9, 52


def case(
    proves: str,
    stored: Values,
    expected: Grey,
    rule: dict[str, object],
    region: Region | None = None,
    *,
    outer: Region | None = None,
    without: Grey | None = None,
    witness: str | None = None,
    values: Values | None = None,
    counts: Region | None = None,
    **common: object,
) -> Case:
    """`region` is in the range, `outer` may be, too; `values` are the rescaled samples."""
    common = {"BitsStored": 12} | common
    return Case(
        proves,
        lambda: as_bytes(dicom(stored, **common, **rule)),
        expected,
        without if without is not None else lambda: as_bytes(dicom(stored, **common)),
        tolerance=leeway(
            stored if values is None else values, region, region if outer is None else outer
        ),
        witness=witness,
        counts=counts,
    )


def inside(lines: int = 0) -> Region:
    """The area between the edges, extended by `lines` lines."""
    wide = (LEFT - lines <= X + 1) & (RIGHT + lines >= X + 1)
    return wide & (UPPER - lines <= Y + 1) & (LOWER + lines >= Y + 1)


def covered(lines: int = 2) -> Values:
    """The film, and black with noise more than `lines` lines outside the edges."""
    return np.where(inside(lines), FILM, noise(SHAPE, 9) % 600).astype(np.uint16)


#: The edges themselves may be inside or outside.
BEAM: Final = inside(-1)
EDGE_FREE: Final = inside(-2) | ~inside(2)

_WITH_MARKER: Final = FILM.copy()
_WITH_MARKER[4:6, 60:66] = 4095

PLAIN: Final = (
    case(
        "half a percent of either end is beyond the range",
        _WITH_MARKER,
        spread(_WITH_MARKER),
        {},
        without=(_WITH_MARKER - 1000.0) / 3095,
        witness=range_window(_WITH_MARKER),
    ),
    case(
        "the range is of the samples, not of their bits",
        FILM,
        spread(FILM),
        {},
        without=FILM / 4095,
        witness=range_window(FILM),
    ),
    case(
        "MONOCHROME1 without a window is turned over once, within its range",
        FILM,
        1 - spread(FILM),
        {"PhotometricInterpretation": "MONOCHROME1"},
        witness=range_window(FILM),
    ),
    case(
        "the range is taken after a negative slope",
        FILM,
        spread(4095.0 - FILM),
        {"RescaleSlope": "-1", "RescaleIntercept": "4095"},
        witness=range_window(4095.0 - FILM),
    ),
    case(
        "a range of signed samples may lie below zero",
        (FILM - 2048).astype(np.int16),
        spread(FILM),
        {},
        without=spread((FILM - 2048) & 4095),
        witness=range_window(FILM - 2048.0),
    ),
)

_HOLE: Final = (X - 40) ** 2 + (Y - 30) ** 2 > 27**2
_LOW: Final = np.where(_HOLE, 0, FILM).astype(np.uint16)
_HIGH: Final = np.where(_HOLE, 4095, FILM).astype(np.uint16)
_MINUS: Final = np.where(_HOLE, -2000, FILM.astype(int) - 1500).astype(np.int16)
_BAND: Final = np.where(_HOLE, 3900 + noise(SHAPE, 5) % 150, FILM).astype(np.uint16)
_SEEN: Final = ~_HOLE
ONE: Final = {"PhotometricInterpretation": "MONOCHROME1"}


def black(grey: Grey, where: Region) -> Grey:
    """Replace the area outside the film by black."""
    return np.where(where, 0.0, grey)


PADDING: Final = (
    case(
        "padding is left out of the range, and black",
        _LOW,
        black(spread(_LOW, _SEEN), _HOLE),
        {"PixelPaddingValue": 0},
        _SEEN,
    ),
    case(
        "high padding is black as well",
        _HIGH,
        black(spread(_HIGH, _SEEN), _HOLE),
        {"PixelPaddingValue": 4095},
        _SEEN,
    ),
    case(
        "padding of MONOCHROME1 is black, not white",
        _LOW,
        black(1 - spread(_LOW, _SEEN), _HOLE),
        {"PixelPaddingValue": 0},
        _SEEN,
        **ONE,
    ),
    case(
        "high padding of MONOCHROME1 is black",
        _HIGH,
        black(1 - spread(_HIGH, _SEEN), _HOLE),
        {"PixelPaddingValue": 4095},
        _SEEN,
        **ONE,
    ),
    case(
        "padding of signed samples is signed",
        _MINUS,
        black(spread(_MINUS, _SEEN), _HOLE),
        {"PixelPaddingValue": -2000},
        _SEEN,
    ),
    case(
        "padding up to a limit is a range of values",
        _BAND,
        black(spread(_BAND, _SEEN), _HOLE),
        {"PixelPaddingValue": 3900, "PixelPaddingRangeLimit": 4095},
        _SEEN,
    ),
    case(
        "the limit of padding may be below its value",
        _BAND,
        black(spread(_BAND, _SEEN), _HOLE),
        {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 3900},
        _SEEN,
    ),
    case(
        "padding is a stored value, from before the rescale",
        _LOW,
        black(spread(4095.0 - _LOW, _SEEN), _HOLE),
        {"PixelPaddingValue": 0},
        _SEEN,
        values=4095.0 - _LOW,
        RescaleSlope="-1",
        RescaleIntercept="4095",
    ),
    case(
        "padding is black beside a window, too",
        _LOW,
        black(1 - linear(_LOW, 2000, 1500), _HOLE),
        {"PixelPaddingValue": 0},
        _SEEN,
        **ONE,
        WindowCenter=2000,
        WindowWidth=1500,
    ),
)

_RECTANGLE: Final = {
    "LeftVerticalEdge": LEFT,
    "RightVerticalEdge": RIGHT,
    "UpperHorizontalEdge": UPPER,
    "LowerHorizontalEdge": LOWER,
}
_COLLIMATOR: Final = {"CollimatorShape": "RECTANGULAR"} | {
    "Collimator" + k: v for k, v in _RECTANGLE.items()
}
_SHUTTER: Final = {"ShutterShape": "RECTANGULAR"} | {
    "Shutter" + k: v for k, v in _RECTANGLE.items()
}
_COVERED: Final = covered()
_RADIUS: Final = 26
_ROUND: Final = np.hypot(X + 1 - 40, Y + 1 - 30)
_IN_ROUND: Final = _ROUND <= _RADIUS - 1
_DISC: Final = np.where(_ROUND <= _RADIUS + 2, FILM, 4000 + noise(SHAPE, 7) % 90).astype(np.uint16)
#: A rhombus: |dx| / 38 + |dy| / 28 <= 1.
_RHOMB: Final = np.abs(X + 1 - 40) / 38 + np.abs(Y + 1 - 30) / 28
_KITE: Final = np.where(_RHOMB <= 1.1, FILM, 4000 + noise(SHAPE, 7) % 90).astype(np.uint16)

BLOCKED: Final = (
    case(
        "beyond a rectangular collimator nothing counts for the range",
        _COVERED,
        spread(_COVERED, BEAM),
        _COLLIMATOR,
        BEAM,
        outer=inside(1),
    ),
    case(
        "a collimator leaves MONOCHROME1 its one turn",
        _COVERED,
        1 - spread(_COVERED, BEAM),
        _COLLIMATOR,
        BEAM,
        outer=inside(1),
        **ONE,
    ),
    case(
        "beyond a rectangular shutter nothing counts, and all is black",
        _COVERED,
        black(spread(_COVERED, BEAM), ~inside()),
        _SHUTTER,
        BEAM,
        outer=inside(1),
        counts=EDGE_FREE,
    ),
    case(
        "a shutter is black in MONOCHROME1 too",
        _COVERED,
        black(1 - spread(_COVERED, BEAM), ~inside()),
        _SHUTTER,
        BEAM,
        outer=inside(1),
        counts=EDGE_FREE,
        **ONE,
    ),
    case(
        "a circular shutter is black outside its circle",
        _DISC,
        black(spread(_DISC, _IN_ROUND), _ROUND > _RADIUS),
        {
            "ShutterShape": "CIRCULAR",
            "CenterOfCircularShutter": [30, 40],
            "RadiusOfCircularShutter": _RADIUS,
        },
        _IN_ROUND,
        outer=_ROUND <= _RADIUS + 1,
        counts=np.abs(_ROUND - _RADIUS) > 1.5,
    ),
    case(
        "a polygonal shutter is black outside its polygon",
        _KITE,
        black(spread(_KITE, _RHOMB <= 0.97), _RHOMB > 1),
        {
            "ShutterShape": "POLYGONAL",
            "VerticesOfThePolygonalShutter": [2, 40, 30, 78, 58, 40, 30, 2],
        },
        _RHOMB <= 0.97,
        outer=_RHOMB <= 1.03,
        counts=np.abs(_RHOMB - 1) > 0.06,
    ),
)

_FRAME: Final = (X < 7) | (X >= 73) | (Y < 5) | (Y >= 55)
_WHITE_BORDER: Final = np.where(_FRAME, 4095, FILM).astype(np.uint16)
_BLACK_BORDER: Final = np.where(_FRAME, 0, FILM).astype(np.uint16)

BORDER: Final = (
    case(
        "a white border is left out of the range",
        _WHITE_BORDER,
        spread(_WHITE_BORDER, ~_FRAME),
        {},
        ~_FRAME,
        without=spread(_WHITE_BORDER),
    ),
    case(
        "a black border is left out of the range",
        _BLACK_BORDER,
        spread(_BLACK_BORDER, ~_FRAME),
        {},
        ~_FRAME,
        without=spread(_BLACK_BORDER),
    ),
    case(
        "a border of MONOCHROME1 is left out of the range",
        _BLACK_BORDER,
        1 - spread(_BLACK_BORDER, ~_FRAME),
        ONE,
        ~_FRAME,
        without=1 - spread(_BLACK_BORDER),
    ),
)

CASES: Final = (*PLAIN, *PADDING, *BLOCKED, *BORDER)
