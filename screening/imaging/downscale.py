"""Decode or average large films at a fraction of their size.

JPEG 2000 is decoded with the OpenJPEG in Pillow, because imagecodecs has no argument for a reduced
resolution.

Averaging commutes with any linear mapping, so a film may be averaged before it is rendered and
resized for the model. A test limits how much this may change the model's output.

A pixel is estimated from the surrounding cells: by least squares, for a film whose power falls
with the square of the frequency. The triangle filter's weights for the pixels are combined into
weights for the cells, so the pixels themselves are never computed.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ImageFile, Jpeg2KImagePlugin

from screening.imaging.film import Grey


class _ReducedJpeg2K(Jpeg2KImagePlugin.Jpeg2KImageFile):
    """JPEG 2000 that rounds reduced sizes up (ISO/IEC 15444-1, B-15); Pillow misses rows."""

    def halve(self, power: int) -> None:
        """Decode at the size divided by 2**power."""
        columns, rows = self.size
        self._size = -(-columns >> power), -(-rows >> power)
        # Codec, reduction, layers, file and its length.
        (tile,) = self.tile
        options: Any = tile.args
        options = (options[0], power, *options[2:])
        self.tile = [tile._replace(extents=(0, 0, *self._size), args=options)]
        ImageFile.ImageFile.load(self)


def decode(code: bytes, power: int, precision: int) -> npt.NDArray[np.float32]:
    """Decode a film without its finest wavelet coefficients: its low pass, one cell per block.

    The low pass is that of the 5/3 wavelet (ISO/IEC 15444-1, F.4.8.1), which sharpens slightly.
    Each cell is located at the first pixel of its block, not at the block's centre.

    Args:
        code: code stream with one unsigned component of at most 16 bits, lossless.
        power: how often the film is halved.
        precision: bits of a sample; Pillow widens them to 8 or 16.

    Returns:
        Stored values, shape (rows, columns) divided by 2**power, rounded up.

    Raises:
        Exception: any error from Pillow.
    """
    with _ReducedJpeg2K(BytesIO(code)) as image:
        image.halve(power)
        cells = np.asarray(image)
    widened = 1 << cells.dtype.itemsize * 8 - precision
    low = cells.astype(np.float32) / np.float32(widened)
    # Each halving rounds up by half a step in total, a quarter along each axis.
    return low - np.float32(power / 2)


#: Decoders halve a film at most three times (T.81 has 8 x 8 blocks).
_MAX_HALVINGS: Final = 3


@dataclass(frozen=True)
class Least:
    """Minimum size of a reduced film, in multiples of twice the model's side.

    Attributes:
        once: if it is halved once.
        again: if it is halved more often.
    """

    once: float
    again: float


#: Block means; larger blocks blur more.
MEANS: Final = Least(1, 3 / 2)
#: A JPEG decoder also takes means, but of rounded values.
JPEG: Final = Least(9 / 8, 3 / 2)
#: The low pass of a wavelet is sharper than means, and a film with enough pixels to be halved twice
#: is itself less sharp per pixel.
LOW_PASS: Final = Least(7 / 8, 3 / 4)


def halvings(rows: int, columns: int, side: int, least: Least) -> int:
    """Return how often a film may be halved, 0 to 3.

    Args:
        side: twice the model's side; see :attr:`~screening.model.preprocess.Preprocessing.side`.
    """
    power = 0
    while power < _MAX_HALVINGS and min(rows, columns) >> (power + 1) >= side * (
        least.again if power else least.once
    ):
        power += 1
    return power


def averaged(cells: npt.NDArray[Any], power: int, most: int | None = None) -> Grey:
    """Return means of blocks of 2**power by 2**power cells, also of partial blocks at the ends.

    Args:
        cells: integers of at most 16 bits, or float32, shape (rows, columns, ...).
        most: upper limit of the cells' absolute values; by default the limit of their dtype.

    Returns:
        Shape (rows', columns', ...), float32: exact except for the last bit.
    """
    wide = _wide(cells.dtype, (most or 1 << 8 * cells.dtype.itemsize) << 2 * power)
    sums = _sums(_sums(cells, power, wide).swapaxes(0, 1), power, wide).swapaxes(0, 1)
    means: Grey = np.multiply(sums, 1 / (1 << 2 * power), dtype=np.float32)
    return means


def _wide(cells: np.dtype[Any], most: int) -> np.dtype[Any]:
    """Return the narrowest dtype for sums up to `most`: adding is fastest without widening."""
    if cells.kind == "f":
        return cells
    return np.dtype(f"{cells.kind}{2 if most < 1 << (16 if cells.kind == 'u' else 15) else 4}")


def _sums(cells: npt.NDArray[Any], power: int, wide: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return sums of 2**power rows each; an incomplete last block is scaled to as many rows."""
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

#: Weights of the cells for the first and the second pixel of a block; the second are the first ones
#: mirrored. For means, only the nearest cells are used, for speed.
_MEANS: Final = ({-1: 0.15, 0: 1.0, 1: -0.15}, {-1: -0.15, 0: 1.0, 1: 0.15})

#: In the 5/3 low pass, the first pixel is at the cell, the second one half way to the next cell.
_LOW_PASS: Final = (
    {-2: 0.0147, 0: 0.9706, 2: 0.0147},
    {-2: 0.0079, -1: -0.0524, 0: 0.5445, 1: 0.5445, 2: -0.0524, 3: 0.0079},
)

#: Cells on each side of the filter that may receive weights.
_MARGIN: Final = 6


def resample(
    cells: Grey, film: tuple[int, int], size: tuple[int, int], power: int, low_pass: bool
) -> Grey:
    """Resize the cells of a reduced film to the model's input size.

    Args:
        cells: cells of a film that was halved, shape (rows, columns) divided by 2**power, rounded
            up.
        film: rows and columns of the film.
        size: rows and columns of the model's input.
        power: how often the film was halved.
        low_pass: True if by a wavelet, see :mod:`screening.imaging.downscale`; False if by block
            means.

    Returns:
        Shape `size`, 0..1.
    """
    for length, target in zip(film, size, strict=True):
        first, weights = _weights(length, target, power, low_pass)
        cells = _weighted(np.ascontiguousarray(cells), first, weights).T
    # The estimate overshoots slightly at edges between black and white.
    return np.clip(np.ascontiguousarray(cells), 0, 1)


def _weighted(cells: Grey, first: npt.NDArray[np.intp], weights: Weights) -> Grey:
    """Return weighted sums of rows; without BLAS, so that they are the same on any machine."""
    shape = (len(first), cells.shape[1])
    total, part = np.zeros(shape, np.float32), np.empty(shape, np.float32)
    for tap in range(weights.shape[1]):
        # Beyond its ends, a film continues with its first or last row.
        np.take(cells, first + tap, axis=0, out=part, mode="clip")
        np.multiply(part, weights[:, tap, np.newaxis], out=part)
        np.add(total, part, out=total)
    return total


@lru_cache(maxsize=256)
def _weights(
    length: int, target: int, power: int, low_pass: bool
) -> tuple[npt.NDArray[np.intp], Weights]:
    """Return first cell and weights, shape (target, taps), for each of `target` places."""
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
        weights = _to_cells(weights, _LOW_PASS if low_pass else _MEANS)
    used = np.flatnonzero(weights.any(axis=0))
    kept = slice(used[0], used[-1] + 1)
    return first + used[0], np.ascontiguousarray(weights[:, kept], np.float32)


def _to_cells(
    weights: npt.NDArray[Any], estimate: tuple[dict[int, float], dict[int, float]]
) -> npt.NDArray[Any]:
    """Convert weights for pixels to weights for the cells that they are estimated from."""
    cells = np.zeros((len(weights), weights.shape[1] // 2))
    count = cells.shape[1]
    for pixel, taps in enumerate(estimate):
        for shift, tap in taps.items():
            into = slice(max(0, shift), count + min(0, shift))
            of = slice(max(0, -shift), count + min(0, -shift))
            cells[:, into] += tap * weights[:, pixel::2][:, of]
    return cells
