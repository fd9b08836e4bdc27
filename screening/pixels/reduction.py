"""Films that are far larger than a model's input, averaged before anything costly is done.

Averaging commutes with whatever is a straight line, so a film may be averaged before it is rendered
and brought to the model's size. By how much the answer may change is held by a test.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.pixels.film import Grey

#: Decoders halve a film at most three times (T.81 has blocks of eight).
_MOST: Final = 3


def halvings(rows: int, columns: int, side: int) -> int:
    """How often a film may be halved, 0 to 3.

    Blocks of two by two cells blur a film that is twice as large as the model's input by a tenth
    as much as its triangle filter does. Larger blocks blur more, so more has to be left of it.

    Args:
        side: rows and columns that are left at least, by half as much again after more than one.
    """
    power = 0
    while power < _MOST and min(rows, columns) >> (power + 1) >= (side * 3 // 2 if power else side):
        power += 1
    return power


def averaged(cells: npt.NDArray[Any], power: int, most: int | None = None) -> Grey:
    """Means of blocks of 2**power by 2**power cells; what is left over at the ends is a block, too.

    Args:
        cells: integers of at most 16 bits, shape (rows, columns, ...).
        most: none is larger, nor smaller than its negative; by default what the cells can hold.

    Returns:
        Shape (rows', columns', ...), float32: exact but for a last bit.
    """
    # As narrow as sums may be: adding is quickest where nothing has to be widened.
    most = (most or 1 << 8 * cells.dtype.itemsize) << 2 * power
    kind = cells.dtype.kind
    wide = np.dtype(f"{kind}{2 if most < 1 << (16 if kind == 'u' else 15) else 4}")
    sums = _sums(_sums(cells, power, wide).swapaxes(0, 1), power, wide).swapaxes(0, 1)
    means: Grey = np.multiply(sums, 1 / (1 << 2 * power), dtype=np.float32)
    return means


def _sums(cells: npt.NDArray[Any], power: int, wide: npt.DTypeLike) -> npt.NDArray[Any]:
    """Sums of 2**power rows each; of fewer at the end, as much as of so many."""
    factor = 1 << power
    full = len(cells) // factor * factor
    sums: npt.NDArray[Any] = np.add(cells[:full:factor], cells[1:full:factor], dtype=wide)
    for further in range(2, factor):
        sums += cells[further:full:factor]
    if full == len(cells):
        return sums
    rest = cells[full:].mean(axis=0, keepdims=True) * factor
    return np.concatenate([sums, np.rint(rest).astype(wide)])
