"""Grey values to the model's input tensor: the same code for training, jobs and edge devices."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from screening.imaging.downscale import resample
from screening.imaging.film import Decoded, Grey

#: Shape (rows, columns, channels), float32.
Tensor = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """How a film is converted to a tensor; stored in the model card, which is therefore sufficient.

    The film is resized to `rows` x `columns` without keeping its aspect ratio, which must not reach
    the model because it correlates with the class in known collections. It is resized with an
    antialiased triangle filter, repeated over `channels`, and mapped from 0..1 by
    ``grey * scale + offset``.
    """

    rows: int = 224
    columns: int = 224
    channels: int = 1
    scale: float = 1.0
    offset: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one tensor."""
        return (self.rows, self.columns, self.channels)

    @property
    def side(self) -> int:
        """Rows and columns of a film beyond which the model's input hardly changes."""
        return 2 * max(self.rows, self.columns)

    def resize(self, grey: Grey) -> Grey:
        """Return the film at the model's size, still 0..1."""
        if grey.shape == (self.rows, self.columns):
            return grey
        image = Image.fromarray(np.ascontiguousarray(grey))
        small = image.resize((self.columns, self.rows), Image.Resampling.BILINEAR)
        return np.asarray(small, dtype=np.float32)

    def shown(self, film: Decoded) -> Grey:
        """Return the model's input as grey values, 0..1: about equal for full and reduced films."""
        if not film.power:
            return self.resize(film.grey)
        size = (self.rows, self.columns)
        return resample(film.grey, (film.rows, film.columns), size, film.power, film.low_pass)

    def normalise(self, grey: Grey) -> Tensor:
        """Scale a film of the model's size, shape (..., rows, columns), to the model's range."""
        scaled = grey * np.float32(self.scale) + np.float32(self.offset)
        return np.repeat(scaled[..., np.newaxis], self.channels, axis=-1)

    def grey(self, tensor: Tensor) -> Grey:
        """Return the grey values of an input tensor, 0..1; the inverse of :meth:`normalise`."""
        grey = (tensor[..., 0] - np.float32(self.offset)) / np.float32(self.scale)
        return np.asarray(np.clip(grey, 0, 1), np.float32)

    def tensor(self, grey: Grey) -> Tensor:
        """Return the input tensor, shape :attr:`shape`, for a full film; see :meth:`resize`."""
        return self.normalise(self.resize(grey))
