"""Lung fields that tests make for themselves."""

import numpy as np
import numpy.typing as npt

from screening.model.lungs import SIDE

Mask = npt.NDArray[np.bool_]


def ellipse(
    x: float, y: float, width: float = 0.14, height: float = 0.3, tilt: float = 0.0
) -> Mask:
    """One lung: its middle and half axes as shares of the film, leaning anticlockwise."""
    down, across = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    angle = np.radians(tilt)
    dx, dy = across - x, down - y
    along = dx * np.sin(angle) + dy * np.cos(angle)
    beside = dx * np.cos(angle) - dy * np.sin(angle)
    return np.asarray((beside / width) ** 2 + (along / height) ** 2 <= 1)


def two_lungs(tilt: float = 0.0, width: float = 0.14, height: float = 0.3) -> Mask:
    """Both lungs of a good film, or of one that leans or is small."""
    angle = np.radians(tilt)
    dx, dy = 0.22 * np.cos(angle), 0.22 * np.sin(angle)
    return ellipse(0.5 - dx, 0.5 + dy, width, height, tilt) | ellipse(
        0.5 + dx, 0.5 - dy, width, height, tilt
    )
