"""How the values of a feature map are spread, and the range that its 8 bits should hold.

A range that holds the largest value ever seen gives every value coarse steps; a narrower one cuts
the largest off. What is best differs from network to network, and is chosen for each feature map:
the least squared error (Nagel et al., arXiv:2106.08295, section 3.1).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.preprocess import Preprocessing

Tensors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

#: Feature maps of a batch of films, by name.
Watch = Callable[[Tensors], dict[str, Any]]

_BATCH: Final = 4
_STEPS: Final = 255
_BINS: Final = 4096

#: Shares of the widest range at which an end may lie.
_ENDS: Final = np.arange(4, 65) / 64


@dataclass(frozen=True)
class Range:
    """Smallest and largest value; 0 lies between them, so that it has a step of its own."""

    low: float
    high: float

    @classmethod
    def of(cls, low: float, high: float) -> "Range":
        """From `low` to `high`, widened to 0; what is 0 on every film gets some range, too."""
        return cls(min(0.0, low), max(0.0, high) if low or high else 1.0)


def range_of_film(preprocessing: Preprocessing) -> Range:
    """From black to white, whatever films show."""
    return Range.of(preprocessing.offset, preprocessing.offset + preprocessing.scale)


def ranges_of(watch: Watch, films: Tensors) -> dict[str, Range]:
    """The best range of each feature map that `watch` gives.

    Args:
        films: input tensors, shape (n, rows, columns, channels).
    """
    widest: dict[str, Range] = {}
    for name, values in _watched(watch, films):
        before = widest.get(name, Range(0.0, 0.0))
        low, high = float(values.min(initial=before.low)), float(values.max(initial=before.high))
        widest[name] = Range(low, high)
    counts = {name: np.zeros(_BINS) for name in widest}
    for name, values in _watched(watch, films):
        limits = (widest[name].low, widest[name].high)
        if any(limits):
            counts[name] += np.histogram(values, _BINS, limits)[0]
    return {name: best_range(counts[name], limits) for name, limits in widest.items()}


def best_range(counts: Floats, widest: Range) -> Range:
    """The range whose steps are the least squared error away from the values.

    Args:
        counts: how many values lie in each bin of `widest`, shape (bins,); without those that are 0,
            which have a step of their own.
    """
    if not counts.any():
        return Range.of(widest.low, widest.high)
    edges = np.linspace(widest.low, widest.high, len(counts) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    lows, highs = widest.low * _ENDS, widest.high * _ENDS
    beyond = _beyond(-middles, counts, -lows)[:, None] + _beyond(middles, counts, highs)[None, :]
    # Evenly spread between two steps, values are a twelfth of a squared step away.
    step = (highs[None, :] - lows[:, None]) / _STEPS
    low, high = np.unravel_index(np.argmin(beyond + counts.sum() * step**2 / 12), step.shape)
    return Range.of(float(lows[low]), float(highs[high]))


def _beyond(values: Floats, counts: Floats, ends: Floats) -> Floats:
    """Squared error of the values that are cut off at each end."""
    return np.array([(counts * np.maximum(values - end, 0) ** 2).sum() for end in ends])


def _watched(watch: Watch, films: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Values other than 0 of each feature map of each batch."""
    for start in range(0, len(films), _BATCH):
        for name, given in watch(films[start : start + _BATCH]).items():
            values = np.asarray(given).reshape(-1)
            yield name, values[values != 0]
