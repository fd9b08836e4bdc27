"""The lung fields of a film: what the lung network is given, and what is made of its answer."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from screening.pixels.film import Grey

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Rows and columns of the lung network's input and of its answer.
SIDE: Final = 128

#: A film whose grey values spread less than this has no contrast to stretch.
_LEAST_SPREAD: Final = 1e-3


def lung_input(grey: Grey) -> Floats:
    """What the lung network is given: the film at its size, with mean 0 and deviation 1.

    Args:
        grey: a film, shape (rows, columns), 0..1.

    Returns:
        Shape (128, 128, 1), float32.
    """
    image = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    spread = max(float(small.std()), _LEAST_SPREAD)
    return np.asarray((small - small.mean()) / spread, np.float32)[..., np.newaxis]
