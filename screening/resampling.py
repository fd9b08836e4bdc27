"""A film that was halved is brought to the model's size as if it had not been.

A pixel is estimated from the cells around it: as well as it can be, by least squares, of a film whose
power falls with the square of the frequency. The weights that the triangle filter has for the pixels
are gathered into weights for the cells, so the pixels themselves are never made.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.pixels.film import Grey

Weights = npt.NDArray[np.float32]

#: What cells add to the first and the second pixel of a block: the second is the first turned round. Of
#: means only the nearest count, for speed.
_MEANS: Final = ({-1: 0.15, 0: 1.0, 1: -0.15}, {-1: -0.15, 0: 1.0, 1: 0.15})

#: Of the 5/3 wavelet's low pass the first pixel is where the cell is, the second half way to the next.
_LOW_PASS: Final = (
    {-2: 0.0147, 0: 0.9706, 2: 0.0147},
    {-2: 0.0079, -1: -0.0524, 0: 0.5445, 1: 0.5445, 2: -0.0524, 3: 0.0079},
)

#: Cells on each side of the filter that weights may be gathered into.
_MARGIN: Final = 6


def resample(
    cells: Grey, film: tuple[int, int], size: tuple[int, int], power: int, low_pass: bool
) -> Grey:
    """Cells of a film to rows and columns of the model.

    Args:
        cells: of a film that was halved, shape (rows, columns) by 2**power, rounded up.
        film: its rows and columns.
        size: those of the model.
        power: how often it was halved.
        low_pass: by a wavelet, see :mod:`screening.pixels.jpeg_2000`; else by means of blocks.

    Returns:
        Shape `size`, 0..1.
    """
    for length, target in zip(film, size, strict=True):
        first, weights = _weights(length, target, power, low_pass)
        cells = _weighted(np.ascontiguousarray(cells), first, weights).T
    # Where black meets white the slope points a little beyond both.
    return np.clip(np.ascontiguousarray(cells), 0, 1)


def _weighted(cells: Grey, first: npt.NDArray[np.intp], weights: Weights) -> Grey:
    """Weighted sums of rows; in whole arrays, and not by BLAS, so that they are the same everywhere."""
    shape = (len(first), cells.shape[1])
    total, part = np.zeros(shape, np.float32), np.empty(shape, np.float32)
    for tap in range(weights.shape[1]):
        # Beyond its ends a film goes on as it ends.
        np.take(cells, first + tap, axis=0, out=part, mode="clip")
        np.multiply(part, weights[:, tap, np.newaxis], out=part)
        np.add(total, part, out=total)
    return total


@lru_cache(maxsize=256)
def _weights(
    length: int, target: int, power: int, low_pass: bool
) -> tuple[npt.NDArray[np.intp], Weights]:
    """Of `target` places along an axis of `length` pixels: the first cell of each; shape (target, taps)."""
    support = max(1.0, length / target)
    centres = (np.arange(target) + 0.5) * (length / target)
    block = 1 << power
    first = np.floor((centres - support) / block).astype(np.intp) - _MARGIN
    taps = int(np.ceil(2 * support / block)) + 1 + 2 * _MARGIN
    pixels = first[:, np.newaxis] * block + np.arange(taps * block)
    weights = np.clip(1 - np.abs(pixels + 0.5 - centres[:, np.newaxis]) / support, 0, None)
    weights[(pixels < 0) | (pixels >= length)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    for _ in range(power):
        weights = _gathered(weights, _LOW_PASS if low_pass else _MEANS)
    used = np.flatnonzero(weights.any(axis=0))
    kept = slice(used[0], used[-1] + 1)
    return first + used[0], np.ascontiguousarray(weights[:, kept], np.float32)


def _gathered(
    weights: npt.NDArray[Any], estimate: tuple[dict[int, float], dict[int, float]]
) -> npt.NDArray[Any]:
    """Weights for pixels to weights for the cells that these are estimated from."""
    cells = np.zeros((len(weights), weights.shape[1] // 2))
    count = cells.shape[1]
    for pixel, taps in enumerate(estimate):
        for shift, tap in taps.items():
            into = slice(max(0, shift), count + min(0, shift))
            of = slice(max(0, -shift), count + min(0, -shift))
            cells[:, into] += tap * weights[:, pixel::2][:, of]
    return cells
