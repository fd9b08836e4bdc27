"""The range of a film that does not say which of its values are to be shown: all but the tails.

It is that of a smaller film, as a wavelet leaves it: noise of single pixels, of which finer detectors
have more, does not widen it, and it is the same whether all or only the low resolutions of JPEG 2000
were decoded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from screening.pixels.area import COLLIMATOR, SHUTTER, Mask, Padding, opening, within_borders
from screening.pixels.reduction import Least, halvings
from screening.pixels.tables import Values

#: This share of the values at each end is left out.
TAIL_PERCENT: Final = 0.5

#: A film is halved until it has just more rows or columns; a smaller one is left as it is.
_LEAST: Final = 336

#: The low pass of the 5/3 wavelet (ISO/IEC 15444-1, F.4.8.1).
_LOW_PASS: Final = (-1 / 8, 2 / 8, 6 / 8, 2 / 8, -1 / 8)

#: So many rows and columns of the smaller film make one value, which have the range of all. Those at
#: its ends make none, for they would need pixels beyond.
_STEP: Final = 4


@dataclass(frozen=True, eq=False)
class Cells:
    """Stored values of a film, or the low pass of them.

    Attributes:
        values: shape (rows, columns) by 2**power, rounded up; integers, or float32 of a low pass.
        rows: of the film.
        columns: likewise.
        power: how often it was halved by the wavelet.
    """

    values: npt.NDArray[Any]
    rows: int
    columns: int
    power: int = 0

    @classmethod
    def of(cls, stored: npt.NDArray[Any]) -> Self:
        """All of a film's stored values."""
        return cls(stored, *stored.shape)


def halvings_for_range(rows: int, columns: int) -> int:
    """How often a film may be halved for its range to be told."""
    return halvings(rows, columns, _LEAST, Least(1, 1))


def grey_range(
    dataset: Dataset, cells: Cells, padding: Padding | None, modality: Callable[[Values], Values]
) -> tuple[float, float] | None:
    """Both ends of the modality values that count, tails left out; None if there is but one value.

    What counts is inside collimator and shutter and the burnt-in borders, and no padding; where
    that leaves nothing to tell apart, the whole film counts.

    Args:
        padding: of a film whose stored values are at hand: a low pass mixes it with the image.
        modality: stored values to those that the range is of.
    """
    ends = None
    if min(cells.rows, cells.columns) >= _LEAST:
        ends = _range_of(dataset, cells, padding, modality, smaller=True)
    # A film may be even but for a few pixels.
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
    """That of a film that was made smaller, or of its pixels."""
    power = halvings_for_range(cells.rows, cells.columns)
    values = _smooth(cells.values, _taps(power - cells.power)) if smaller else cells.values

    def apart(mask: Mask) -> Mask:
        """The values that have nothing of what is in `mask`, of pixels."""
        return _smooth(mask, np.ones_like(_taps(power))) == 0 if smaller else ~mask

    image = None if padding is None else apart(padding.among(cells.values))
    inside = image
    for kind in (COLLIMATOR, SHUTTER):
        mask = opening(dataset, kind, cells.rows, cells.columns)
        if mask is not None:
            inside = apart(~mask) if inside is None else inside & apart(~mask)
    box = _inner(values) if smaller else within_borders(values)
    for where, select in ((box, inside), ((slice(None), slice(None)), image)):
        found = values[where] if select is None else values[where][select[where]]
        ends = _ends_of(modality(found.ravel().astype(np.float64)), every=not smaller)
        if ends is not None:
            return ends
    return None


@lru_cache(maxsize=8)
def _taps(power: int) -> npt.NDArray[np.float32]:
    """The low pass, as often as a film is halved, and the mean of two of its values."""
    taps = np.ones(1)
    for halving in range(power):
        taps = np.convolve(taps, _apart(_LOW_PASS, 1 << halving))
    return np.convolve(taps, _apart((0.5, 0.5), 1 << power)).astype(np.float32)


def _apart(taps: tuple[float, ...], step: int) -> npt.NDArray[np.float64]:
    spread = np.zeros((len(taps) - 1) * step + 1)
    spread[::step] = taps
    return spread


def _smooth(values: npt.NDArray[Any], taps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A film by :func:`_taps`, along both axes: means of two by two values of its low pass."""
    # There are 5 * factor - 3 of them; they begin 2 * factor - 2 before the cell that they are for.
    factor = (len(taps) + 3) // 5
    first, step = 2 * factor + 2, _STEP * factor
    for axis in (0, 1):
        values = np.moveaxis(values, axis, 0)
        count = -(-len(values) // factor) // _STEP - 1
        total = np.zeros((count, values.shape[1]), np.float32)
        for place, tap in enumerate(taps, start=first):
            total += np.multiply(values[place::step][:count], tap, dtype=np.float32)
        values = np.moveaxis(total, 0, axis)
    return values


def _inner(values: npt.NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns within burnt-in borders that have nothing of these."""
    rows, columns = (
        slice(side.start + 1, side.stop - 1) if side.stop - side.start > 2 else side
        for side in within_borders(values)
    )
    return rows, columns


def _ends_of(values: Values, *, every: bool) -> tuple[float, float] | None:
    """The tails left out; those of `every` value if nearly all are the same."""
    if not len(values):
        return None
    tail = TAIL_PERCENT / 100
    low, high = np.quantile(values, (tail, 1 - tail))
    if low == high and every:
        low, high = values.min(), values.max()
    return (float(low), float(high)) if low < high else None
