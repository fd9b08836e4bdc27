"""Decode or average large films at a part of their size.

OpenJPEG as it comes with Pillow, because imagecodecs has no such argument.

Averaging commutes with whatever is a straight line, so a film may be averaged before it is rendered
and brought to the model's size. By how much the answer may change is held by a test.

A pixel is estimated from the cells around it: as well as it can be, by least squares, of a film whose
power falls with the square of the frequency. The weights that the triangle filter has for the pixels
are gathered into weights for the cells, so the pixels themselves are never made.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ImageFile, Jpeg2KImagePlugin

from screening.imaging.film import Grey


class _Halved(Jpeg2KImagePlugin.Jpeg2KImageFile):
    """Pillow rounds where the standard rounds up (ISO/IEC 15444-1, B-15), and then sees too few rows."""

    def halve(self, power: int) -> None:
        """Decode at the size by 2**power."""
        columns, rows = self.size
        self._size = -(-columns >> power), -(-rows >> power)
        # Coder, halvings, layers, file and its length.
        (tile,) = self.tile
        options: Any = tile.args
        options = (options[0], power, *options[2:])
        self.tile = [tile._replace(extents=(0, 0, *self._size), args=options)]
        ImageFile.ImageFile.load(self)


def decode(code: bytes, power: int, precision: int) -> npt.NDArray[np.float32]:
    """A film without its finest wavelet coefficients: the low pass, of every 2**power-th cell.

    That is the 5/3 wavelet's (ISO/IEC 15444-1, F.4.8.1), which sharpens a little. The cells are the
    first ones of blocks, not their means.

    Args:
        code: with one unsigned component of at most 16 bits, lossless.
        power: how often the film is halved.
        precision: bits of a sample; Pillow widens them to 8 or 16.

    Returns:
        Stored values, shape (rows, columns) by 2**power, rounded up.

    Raises:
        Exception: whatever Pillow stumbled over.
    """
    with _Halved(BytesIO(code)) as image:
        image.halve(power)
        cells = np.asarray(image)
    widened = 1 << cells.dtype.itemsize * 8 - precision
    low = cells.astype(np.float32) / np.float32(widened)
    # Each halving rounds up by half a step on the whole, a quarter along either axis.
    return low - np.float32(power / 2)


#: Decoders halve a film at most three times (T.81 has blocks of eight).
_MOST: Final = 3


@dataclass(frozen=True)
class Least:
    """What has to be left of a film, in multiples of twice the model's side.

    Attributes:
        once: when it is halved.
        again: when it is halved more often.
    """

    once: float
    again: float


#: Means of blocks, of which larger ones blur more.
MEANS: Final = Least(1, 3 / 2)
#: A JPEG's decoder takes means, too, of what it has rounded.
JPEG: Final = Least(9 / 8, 3 / 2)
#: The low pass of a wavelet is sharper than means; and the pixels of a film that has so many of them
#: that it may be halved twice are less so.
LOW_PASS: Final = Least(7 / 8, 3 / 4)


def halvings(rows: int, columns: int, side: int, least: Least) -> int:
    """How often a film may be halved, 0 to 3.

    Args:
        side: twice the model's; see :attr:`~screening.model.preprocess.Preprocessing.side`.
    """
    power = 0
    while power < _MOST and min(rows, columns) >> (power + 1) >= side * (
        least.again if power else least.once
    ):
        power += 1
    return power


def averaged(cells: npt.NDArray[Any], power: int, most: int | None = None) -> Grey:
    """Means of blocks of 2**power by 2**power cells; what is left over at the ends is a block, too.

    Args:
        cells: integers of at most 16 bits, or float32, shape (rows, columns, ...).
        most: none is larger, nor smaller than its negative; by default what the cells can hold.

    Returns:
        Shape (rows', columns', ...), float32: exact but for a last bit.
    """
    wide = _wide(cells.dtype, (most or 1 << 8 * cells.dtype.itemsize) << 2 * power)
    sums = _sums(_sums(cells, power, wide).swapaxes(0, 1), power, wide).swapaxes(0, 1)
    means: Grey = np.multiply(sums, 1 / (1 << 2 * power), dtype=np.float32)
    return means


def _wide(cells: np.dtype[Any], most: int) -> np.dtype[Any]:
    """As narrow as sums up to `most` may be: adding is quickest where nothing has to be widened."""
    if cells.kind == "f":
        return cells
    return np.dtype(f"{cells.kind}{2 if most < 1 << (16 if cells.kind == 'u' else 15) else 4}")


def _sums(cells: npt.NDArray[Any], power: int, wide: np.dtype[Any]) -> npt.NDArray[Any]:
    """Sums of 2**power rows each; of fewer at the end, as much as of so many."""
    factor = 1 << power
    full = len(cells) // factor * factor
    sums: npt.NDArray[Any] = np.add(cells[:full:factor], cells[1:full:factor], dtype=wide)
    for further in range(2, factor):
        sums += cells[further:full:factor]
    if full == len(cells):
        return sums
    rest = cells[full:].mean(axis=0, keepdims=True) * factor
    rest = rest if wide.kind == "f" else np.rint(rest)
    return np.concatenate([sums, rest.astype(wide)])


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
        low_pass: by a wavelet, see :mod:`screening.imaging.downscale`; else by means of blocks.

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
