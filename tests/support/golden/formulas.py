"""An independent implementation of the PS3.3 rendering in plain NumPy, following the standard."""

from typing import Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.generic]
Grey = npt.NDArray[np.floating]
Region = npt.NDArray[np.bool_]

#: Percentage of the samples beyond each end of the range of a film without a window.
TAIL: Final = 0.5


def linear(x: Values, centre: float, width: float) -> Grey:
    """PS3.3 C.11.2.1.2.1, with y from 0 to 1."""
    x = x.astype(np.float64)
    half = (width - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        y = (x - (centre - 0.5)) / (width - 1) + 0.5
    y = np.where(x <= centre - 0.5 - half, 0.0, y)
    return np.where(x > centre - 0.5 + half, 1.0, y)


def linear_exact(x: Values, centre: float, width: float) -> Grey:
    """PS3.3 C.11.2.1.3.2."""
    y = (x.astype(np.float64) - centre) / width + 0.5
    return np.clip(y, 0, 1)


def sigmoid(x: Values, centre: float, width: float) -> Grey:
    """PS3.3 C.11.2.1.3.1."""
    return 1 / (1 + np.exp(-4 * (x.astype(np.float64) - centre) / width))


def full(x: Values, bits: int) -> Grey:
    """Scale the full range of `bits` to 0..1."""
    return x.astype(np.float64) / (2**bits - 1)


def look_up(x: Values, first: int, table: Values) -> Values:
    """PS3.3 C.11.1.1 and C.11.2.1.1: values outside a table get its first or last entry."""
    return table[np.clip(np.floor(x).astype(np.int64) - first, 0, len(table) - 1)]


def spread(x: Values, region: Region | None = None, method: str = "linear") -> Grey:
    """Scale the middle 99 percent of the samples in `region` to 0..1: the rule without a window."""
    x = x.astype(np.float64)
    counted = x if region is None else x[region]
    low, high = np.percentile(counted, [TAIL, 100 - TAIL], method=method)
    return np.clip((x - low) / (high - low), 0, 1)


def leeway(x: Values, *regions: Region | None) -> float:
    """Return the spread of sensible percentiles: on or between samples; edges in or out."""
    expected = spread(x, regions[0])
    variants = [
        spread(x, region, method) for region in regions for method in ("lower", "higher", "linear")
    ]
    return 1e-5 + max(float(np.abs(variant - expected).max()) for variant in variants)


def range_window(x: Values, region: Region | None = None) -> str:
    """Return options that give dcm2pnm the same range, as the equivalent LINEAR window."""
    low, high = np.percentile(x if region is None else x[region], [TAIL, 100 - TAIL])
    return f"+Ww {(low + high + 1) / 2} {high - low + 1}"
