"""Make lung fields for tests."""

import numpy as np
import numpy.typing as npt

from screening.model.lungs import SIDE

Mask = npt.NDArray[np.bool_]


def ellipse(
    x: float, y: float, width: float = 0.14, height: float = 0.3, tilt: float = 0.0
) -> Mask:
    """Draw one lung: its centre and half axes are shares of the film; it leans anticlockwise."""
    down, across = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    angle = np.radians(tilt)
    dx, dy = across - x, down - y
    along = dx * np.sin(angle) + dy * np.cos(angle)
    beside = dx * np.cos(angle) - dy * np.sin(angle)
    return np.asarray((beside / width) ** 2 + (along / height) ** 2 <= 1)


def two_lungs(tilt: float = 0.0, width: float = 0.14, height: float = 0.3) -> Mask:
    """Draw both lungs of a good film, or of one that is tilted or small."""
    angle = np.radians(tilt)
    dx, dy = 0.22 * np.cos(angle), 0.22 * np.sin(angle)
    return ellipse(0.5 - dx, 0.5 + dy, width, height, tilt) | ellipse(
        0.5 + dx, 0.5 - dy, width, height, tilt
    )


class DarkLungs:
    """A substitute for the lung network: everything darker than the film's mean is lung.

    Args:
        sign: 1 to take what is brighter instead.
    """

    def __init__(self, sign: float = -1.0) -> None:
        self.sign = sign
        self.asked: list[int] = []

    def find(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.asked.append(len(inputs))
        return np.asarray(1 / (1 + np.exp(-8 * self.sign * inputs[..., 0])), np.float32)


def lung_film(mask: Mask, lungs: float = 0.2, beside: float = 0.8) -> npt.NDArray[np.uint8]:
    """Make a film of 256 x 256 with grey values `lungs` and, elsewhere, `beside`, both 0..1."""
    grey = np.where(np.kron(mask, np.ones((2, 2), np.bool_)), lungs, beside)
    return np.asarray(np.rint(grey * 255), np.uint8)
