"""Films that are far larger than a model's input, averaged before anything costly is done.

Averaging commutes with whatever is a straight line, so a film may be averaged before it is rendered
and brought to the model's size. By how much the answer may change is held by a test.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.pixels.film import Grey

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
        side: twice the model's; see :attr:`~screening.preprocess.Preprocessing.side`.
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
