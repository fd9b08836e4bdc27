"""How often each stored value occurs, and the percentiles that follow from it exactly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from screening.pixels.colour import blocks

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Values in rising order, without repetition, and how many pixels have each."""

    values: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    def quantiles(self, low: float, high: float) -> tuple[float, float]:
        """Two quantiles, interpolated linearly between neighbours in the sorted pixels."""
        last = int(self.counts.sum()) - 1
        places = np.array([low * last, high * last])
        below = np.floor(places).astype(np.int64)
        upto = np.cumsum(self.counts)
        at = self.values[np.searchsorted(upto, below, side="right")]
        after = self.values[np.searchsorted(upto, np.minimum(below + 1, last), side="right")]
        found = at + (after - at) * (places - below)
        return float(found[0]), float(found[1])


def count(stored: npt.NDArray[Any], mask: Mask | None = None) -> Histogram:
    """The histogram of a film's stored values, of those in `mask` if there is one."""
    if stored.dtype.itemsize > 2:
        values, often = np.unique(stored if mask is None else stored[mask], return_counts=True)
        return Histogram(values.astype(np.float64), often.astype(np.int64))
    size = stored.dtype.itemsize
    index = stored.view(f"u{size}")
    counts = np.zeros(1 << 8 * size, np.int64)
    for block in blocks(*stored.shape):
        part = index[block] if mask is None else index[block][mask[block]]
        counts += np.bincount(part.ravel(), minlength=len(counts))
    domain = np.arange(len(counts), dtype=f"u{size}").view(stored.dtype).astype(np.float64)
    order = np.argsort(domain)
    order = order[counts[order] > 0]
    return Histogram(domain[order], counts[order])


def mapped(histogram: Histogram, values: npt.NDArray[np.float64]) -> Histogram:
    """The histogram when each of its values becomes the one at the same place in `values`."""
    found, place = np.unique(values, return_inverse=True)
    counts = np.zeros(len(found), np.int64)
    np.add.at(counts, place, histogram.counts)
    return Histogram(found, counts)
