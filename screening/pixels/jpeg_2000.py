"""JPEG 2000 at a lower resolution: the finest wavelet coefficients, most of the work, are left out.

OpenJPEG as it comes with Pillow, because imagecodecs has no such argument.
"""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ImageFile, Jpeg2KImagePlugin


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
