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
    """About the means of blocks of 2**power by 2**power cells of a lossless code stream.

    What is left of a film by the 5/3 wavelet's low pass (ISO/IEC 15444-1, F.4.8.1) stands for the first
    cells of the blocks. Brought to their middle by linear interpolation, it has the blur of a mean, too:
    the low pass sharpens by as much as this blurs more.

    Args:
        code: with one unsigned component of at most 16 bits.
        power: how often the film is halved.
        precision: bits of a sample; Pillow widens them to 8 or 16.

    Returns:
        Shape (rows, columns), rounded up.

    Raises:
        Exception: whatever Pillow stumbled over.
    """
    with _Halved(BytesIO(code)) as image:
        image.halve(power)
        cells = np.asarray(image)
    widened = 1 << cells.dtype.itemsize * 8 - precision
    means = cells.astype(np.float32) / np.float32(widened)
    offset = np.float32((1 - 1 / (1 << power)) / 2)
    for axis in (0, 1):
        after = np.diff(means, axis=axis, append=np.take(means, [-1], axis))
        means += offset * after
    return means
