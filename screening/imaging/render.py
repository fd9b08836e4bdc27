"""Stored values to display values: modality LUT, VOI LUT or window, grey range, presentation.

A film without a window is displayed over its grey range, measured on a smaller copy, the low pass
of a wavelet. Single-pixel noise, which finer detectors have more of, therefore does not widen the
range, and it is the same whether all or only the low resolutions of JPEG 2000 were decoded.

The pipeline is PS3.4 N.2; its steps PS3.3 C.11.1 (modality), C.11.2 (VOI), C.11.4 and C.11.6
(presentation). Each grey value depends on its stored value alone, so it is computed once for
every stored value that can occur, exactly, and then looked up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from screening.errors import UnreadableFilm
from screening.imaging.attributes import code, items, numbers, whole
from screening.imaging.colour import blocks
from screening.imaging.downscale import Least, averaged, halvings
from screening.imaging.film import Grey
from screening.imaging.luts import TableError, Values, read_table
from screening.imaging.masks import (
    COLLIMATOR,
    SHUTTER,
    Mask,
    Padding,
    opening,
    padding_of,
    within_borders,
)
from screening.results import FilmWarning

#: Percentage of the values that is cut off at each end.
TAIL_PERCENT: Final = 0.5

#: A film is halved while both sides stay at or above this; smaller films are not halved.
_LEAST: Final = 336

#: The low-pass filter of the 5/3 wavelet (ISO/IEC 15444-1, F.4.8.1).
_LOW_PASS: Final = (-1 / 8, 2 / 8, 6 / 8, 2 / 8, -1 / 8)

#: Rows and columns of the smaller film per value from which the range is taken. The first and last
#: block have no value, because they would need pixels beyond the edge.
_BLOCK: Final = 4


@dataclass(frozen=True, eq=False)
class Cells:
    """Stored values of a film, or their low pass.

    Attributes:
        values: shape (rows, columns) divided by 2**power, rounded up; integers, or float32 for a
            low pass.
        rows: rows of the film.
        columns: columns of the film.
        power: how often the film was halved by the wavelet.
    """

    values: npt.NDArray[Any]
    rows: int
    columns: int
    power: int = 0

    @classmethod
    def of(cls, stored: npt.NDArray[Any]) -> Self:
        """Wrap all stored values of a film."""
        return cls(stored, *stored.shape)


def halvings_for_range(rows: int, columns: int) -> int:
    """Return how often a film may be halved before its grey range is measured."""
    return halvings(rows, columns, _LEAST, Least(1, 1))


def grey_range(
    dataset: Dataset, cells: Cells, padding: Padding | None, modality: Callable[[Values], Values]
) -> tuple[float, float] | None:
    """Return both ends of the relevant modality values without tails; None if all values are equal.

    Relevant values lie inside collimator, shutter and burnt-in borders, and are not padding. If
    those are all equal, the whole film except padding is used.

    Args:
        padding: padding of a film with its original stored values; a low pass mixes it with the
            image.
        modality: maps stored values to the values that the range is measured in.
    """
    ends = None
    if min(cells.rows, cells.columns) >= _LEAST:
        ends = _range_of(dataset, cells, padding, modality, smaller=True)
    # The values may all be equal except for a few pixels.
    if ends is None and not cells.power:
        ends = _range_of(dataset, cells, padding, modality, smaller=False)
    return ends


def _range_of(
    dataset: Dataset,
    cells: Cells,
    padding: Padding | None,
    modality: Callable[[Values], Values],
    *,
    smaller: bool,
) -> tuple[float, float] | None:
    """Return the range of the smaller copy of a film, or of its pixels."""
    power = halvings_for_range(cells.rows, cells.columns)
    values = _smooth(cells.values, _taps(power - cells.power)) if smaller else cells.values

    def without_any(mask: Mask) -> Mask:
        """Return a mask of the values that do not depend on any pixel in `mask`."""
        return _smooth(mask, np.ones_like(_taps(power))) == 0 if smaller else ~mask

    image = None if padding is None else without_any(padding.among(cells.values))
    inside = image
    for kind in (COLLIMATOR, SHUTTER):
        mask = opening(dataset, kind, cells.rows, cells.columns)
        if mask is not None:
            inside = without_any(~mask) if inside is None else inside & without_any(~mask)
    box = _inner(values) if smaller else within_borders(values)
    for where, select in ((box, inside), ((slice(None), slice(None)), image)):
        found = values[where] if select is None else values[where][select[where]]
        ends = _ends_of(modality(found.ravel().astype(np.float64)), every=not smaller)
        if ends is not None:
            return ends
    return None


@lru_cache(maxsize=8)
def _taps(power: int) -> npt.NDArray[np.float32]:
    """Return the filter for `power` halvings by the low pass, then the mean of two values."""
    taps = np.ones(1)
    for halving in range(power):
        taps = np.convolve(taps, _upsampled(_LOW_PASS, 1 << halving))
    return np.convolve(taps, _upsampled((0.5, 0.5), 1 << power)).astype(np.float32)


def _upsampled(taps: tuple[float, ...], step: int) -> npt.NDArray[np.float64]:
    spread = np.zeros((len(taps) - 1) * step + 1)
    spread[::step] = taps
    return spread


def _smooth(values: npt.NDArray[Any], taps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Filter a film with :func:`_taps` along both axes: 2 x 2 means of its low pass."""
    # The filter has 5 * factor - 3 taps and starts 2 * factor - 2 before the cell that it is for.
    factor = (len(taps) + 3) // 5
    first, step = 2 * factor + 2, _BLOCK * factor
    for axis in (0, 1):
        values = np.moveaxis(values, axis, 0)
        count = -(-len(values) // factor) // _BLOCK - 1
        total = np.zeros((count, values.shape[1]), np.float32)
        for place, tap in enumerate(taps, start=first):
            total += np.multiply(values[place::step][:count], tap, dtype=np.float32)
        values = np.moveaxis(total, 0, axis)
    return values


def _inner(values: npt.NDArray[Any]) -> tuple[slice, slice]:
    """Return rows and columns inside burnt-in borders that are not affected by the borders."""
    rows, columns = (
        slice(side.start + 1, side.stop - 1) if side.stop - side.start > 2 else side
        for side in within_borders(values)
    )
    return rows, columns


def _ends_of(values: Values, *, every: bool) -> tuple[float, float] | None:
    """Return the range without tails; if `every`, the full range if nearly all are equal."""
    if not len(values):
        return None
    tail = TAIL_PERCENT / 100
    low, high = np.quantile(values, (tail, 1 - tail))
    if low == high and every:
        low, high = values.min(), values.max()
    return (float(low), float(high)) if low < high else None


#: Tolerance for grey values to count as a straight line: half a step of 8 bits.
_LINE_TOLERANCE: Final = 0.002

Step = Callable[[Values], Values]


def render(
    dataset: Dataset, stored: npt.NDArray[Any], *, big_endian: bool = False
) -> tuple[Grey, tuple[FilmWarning, ...]]:
    """Render one frame of a monochrome film to grey values, with warnings.

    Args:
        dataset: attributes of the film; the pixel data are not accessed.
        stored: stored values, integers, shape (rows, columns).
        big_endian: byte order of the data set's words.

    Raises:
        UnreadableFilm: if the modality transformation is invalid.
    """
    signed, cells = stored.dtype.kind == "i", Cells.of(stored)
    grey_of, warnings = _rendering(dataset, signed, cells, big_endian)
    if grey_of is None:  # all values are equal
        return np.zeros(stored.shape, np.float32), warnings
    grey = applied(grey_of, stored)
    shade(dataset, grey)
    return grey, warnings


def is_windowed(dataset: Dataset, *, big_endian: bool = False) -> bool:
    """Return True if the film has a VOI LUT or window, so that its range needs no pixels."""
    return _voi(dataset, False, big_endian)[0] is not None


@dataclass(frozen=True)
class Line:
    """A rendering that is linear between two stored values and constant outside of them.

    Such a film may be averaged before rendering, with the same result.
    """

    low: int
    high: int
    at_low: float
    at_high: float

    def averaged(self, stored: npt.NDArray[Any], power: int) -> Grey:
        """Return the result of :func:`render`, averaged.

        See :func:`~screening.imaging.downscale.averaged`.
        """
        most, (rows, columns) = max(abs(self.low), abs(self.high)), stored.shape
        grey = [
            # Clip before averaging: values outside of the range are fully black or white.
            self._grey(averaged(np.clip(stored[block], self.low, self.high), power, most))
            for block in blocks(rows, columns, 1 << power)
        ]
        return np.concatenate(grey)

    def grey(self, low_pass: npt.NDArray[np.float32]) -> Grey:
        """Render a film that was decoded at a low resolution."""
        return self._grey(np.clip(low_pass, self.low, self.high))

    def _grey(self, within: npt.NDArray[np.float32]) -> Grey:
        """Compute in float64, so that equal films give identical results."""
        grey = np.subtract(within, self.low, dtype=np.float64)
        grey *= (self.at_high - self.at_low) / (self.high - self.low)
        grey += self.at_low
        return grey.astype(np.float32)


def line_of(
    dataset: Dataset,
    kind: np.dtype[Any],
    bits: int,
    cells: Cells | None = None,
    *,
    big_endian: bool = False,
) -> tuple[Line | None, tuple[FilmWarning, ...]]:
    """Return the line by which a monochrome film is rendered, and warnings.

    Args:
        kind: dtype of the stored values, integers of at most 16 bits.
        bits: number of bits used, at most those of `kind`.
        cells: the stored values, or means of them, to measure the range of a film without a window.

    Returns:
        None if the rendering is not a single line, or cannot be determined.
    """
    if f"{SHUTTER}Shape" in dataset:
        return None, ()
    grey_of, warnings = _rendering(dataset, kind.kind == "i", cells, big_endian)
    if grey_of is None:
        return None, warnings
    bits = min(bits, kind.itemsize * 8)
    first = -(1 << bits - 1) if kind.kind == "i" else 0
    grey = grey_of(np.arange(first, first + (1 << bits)).astype(kind))
    rising = np.flatnonzero(np.diff(grey))
    if not len(rising):
        return None, warnings
    low, high = int(rising[0]), int(rising[-1]) + 1
    straight = np.linspace(grey[low], grey[high], high - low + 1)
    if np.abs(grey[low : high + 1] - straight).max() > _LINE_TOLERANCE:
        return None, warnings
    return Line(first + low, first + high, float(grey[low]), float(grey[high])), warnings


def _rendering(
    dataset: Dataset, signed: bool, cells: Cells | None, big_endian: bool
) -> tuple[Callable[[npt.NDArray[Any]], Values] | None, tuple[FilmWarning, ...]]:
    """Return the function from stored values to grey values, and warnings.

    Args:
        cells: used to measure the range of a film without a window; None if it cannot be measured.

    Returns:
        None if all values of the film are equal, or its range cannot be measured.
    """
    padding = padding_of(dataset, signed)
    modality, may_be_negative, warnings = _modality(dataset, signed, big_endian)
    voi, more = _voi(dataset, may_be_negative, big_endian)
    present, still_more = _presentation(dataset, big_endian)
    warnings += more + still_more
    if voi is None:
        ends = None if cells is None else grey_range(dataset, cells, padding, modality)
        if ends is None:
            return None, warnings
        voi = _spread(*ends)
    seen = voi

    def grey_of(values: npt.NDArray[Any]) -> Values:
        grey = np.clip(present(np.clip(seen(modality(values.astype(np.float64))), 0, 1)), 0, 1)
        if padding is not None:
            grey[padding.among(values)] = 0.0
        return grey

    return grey_of, warnings


def shade(dataset: Dataset, grey: Grey) -> None:
    """Make the area covered by a display shutter black, in place (PS3.3 C.7.6.11)."""
    mask = opening(dataset, SHUTTER, *grey.shape)
    if mask is not None:
        grey *= mask


def applied(grey_of: Callable[[npt.NDArray[Any]], Values], stored: npt.NDArray[Any]) -> Grey:
    """Apply `grey_of` to every pixel; for cells up to 16 bits, it is evaluated once per value."""
    size = stored.dtype.itemsize
    grey = np.empty(stored.shape, np.float32)
    if size > 2:
        for block in blocks(*stored.shape):
            grey[block] = grey_of(stored[block].ravel()).reshape(-1, stored.shape[1])
        return grey
    domain = np.arange(1 << 8 * size, dtype=f"u{size}").view(stored.dtype)
    table = grey_of(domain).astype(np.float32)
    index = stored.view(f"u{size}")
    for block in blocks(*stored.shape):
        grey[block] = table[index[block]]
    return grey


def _modality(
    dataset: Dataset, signed: bool, big_endian: bool
) -> tuple[Step, bool, tuple[FilmWarning, ...]]:
    """Return the mapping to modality values, whether these may be negative, and warnings."""
    sequence = items(dataset, "ModalityLUTSequence")
    if sequence:
        try:
            table = read_table(sequence[0], "Modality LUT", signed=signed, big_endian=big_endian)
        except TableError as error:
            raise UnreadableFilm("not_decodable", str(error)) from error
        return table.look_up, False, ()
    slope = (*numbers(dataset, "RescaleSlope"), 1.0)[0]
    intercept = (*numbers(dataset, "RescaleIntercept"), 0.0)[0]
    # A product beyond the range of float64 would be infinite or NaN.
    if not (abs(slope) < 1e200 and abs(intercept) < 1e200):
        raise UnreadableFilm("not_decodable", "the rescale slope or intercept is not finite")
    if slope == 0:
        return lambda values: values, signed, (FilmWarning("header_ignored", "RescaleSlope 0"),)
    bits = whole(dataset, "BitsStored", 16)
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    negative = min(lowest * slope, highest * slope) + intercept < 0
    return lambda values: values * slope + intercept, negative, ()


def _voi(
    dataset: Dataset, signed: bool, big_endian: bool
) -> tuple[Step | None, tuple[FilmWarning, ...]]:
    """Return the mapping from modality values to 0..1: first VOI LUT, or first valid window."""
    warnings = []
    sequence = items(dataset, "VOILUTSequence")
    if sequence:
        try:
            table = read_table(sequence[0], "VOI LUT", signed=signed, big_endian=big_endian)
        except TableError as error:
            warnings.append(FilmWarning("header_ignored", str(error)))
        else:
            return lambda values: table.look_up(values) / table.top, ()
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    function = code(dataset, "VOILUTFunction")
    for centre, width in zip(centres, widths, strict=False):
        least = 0.0 if function in ("LINEAR_EXACT", "SIGMOID") else 1.0
        finite = abs(centre) < 1e200 and width < 1e200
        if finite and width >= least and width > 0:
            return _window(function, centre, width), tuple(warnings)
    if centres and widths:
        warnings.append(FilmWarning("header_ignored", "WindowCenter and WindowWidth"))
    return None, tuple(warnings)


def _window(function: str, centre: float, width: float) -> Step:
    """PS3.3 C.11.2.1.2.1 (linear), C.11.2.1.3.1 (sigmoid), C.11.2.1.3.2 (linear exact)."""
    if function == "SIGMOID":
        # Beyond 700 the exponential overflows, and the sigmoid is 0 or 1 anyway.
        return lambda x: 1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return lambda x: (x - centre) / width + 0.5
    if width == 1:
        return lambda x: (x > centre - 0.5).astype(np.float64)
    return lambda x: (x - (centre - 0.5)) / (width - 1) + 0.5


def _presentation(dataset: Dataset, big_endian: bool) -> tuple[Step, tuple[FilmWarning, ...]]:
    """Return the mapping from 0..1 after VOI to 0 = black .. 1 = white.

    A presentation LUT yields P-values, which need no inversion. Otherwise Presentation LUT Shape
    says whether the lowest value is white; without it, MONOCHROME1 does.
    """
    warnings: tuple[FilmWarning, ...] = ()
    sequence = items(dataset, "PresentationLUTSequence")
    if sequence:
        try:
            table = read_table(sequence[0], "Presentation LUT", signed=False, big_endian=big_endian)
        except TableError as error:
            warnings = (FilmWarning("header_ignored", str(error)),)
        else:
            last = len(table.entries) - 1

            return lambda grey: table.look_up(grey * last + table.first) / table.top, ()
    shape = code(dataset, "PresentationLUTShape")
    if shape not in ("IDENTITY", "INVERSE"):
        low_is_white = code(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        shape = "INVERSE" if low_is_white else "IDENTITY"
    if shape == "INVERSE":
        return lambda grey: 1 - grey, warnings
    return lambda grey: grey, warnings


def _spread(low: float, high: float) -> Step:
    return lambda values: (values - low) / (high - low)
