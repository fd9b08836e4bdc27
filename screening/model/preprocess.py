"""Grey values to the model's input tensor: one code path for training, nights and the edge."""

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
    """How a film becomes a tensor; stored in the model card, so that a card alone says it all.

    The film is squashed to `rows` x `columns` (its shape betrays the class in known collections,
    so it must not reach the model) with an antialiased triangle filter, repeated over
    `channels`, and mapped from 0..1 by ``grey * scale + offset``.
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
        """Rows and columns of a film beyond which the model's input hardly changes any more."""
        return 2 * max(self.rows, self.columns)

    def resize(self, grey: Grey) -> Grey:
        """The film at the model's size, still 0..1."""
        if grey.shape == (self.rows, self.columns):
            return grey
        image = Image.fromarray(np.ascontiguousarray(grey))
        small = image.resize((self.columns, self.rows), Image.Resampling.BILINEAR)
        return np.asarray(small, dtype=np.float32)

    def shown(self, film: Decoded) -> Grey:
        """What the model is shown of a film, 0..1: about the same whether it was reduced or not."""
        if not film.power:
            return self.resize(film.grey)
        size = (self.rows, self.columns)
        return resample(film.grey, (film.rows, film.columns), size, film.power, film.low_pass)

    def normalise(self, grey: Grey) -> Tensor:
        """A film of the model's size, shape (..., rows, columns), in the model's number range."""
        scaled = grey * np.float32(self.scale) + np.float32(self.offset)
        return np.repeat(scaled[..., np.newaxis], self.channels, axis=-1)

    def grey(self, tensor: Tensor) -> Grey:
        """What the model was shown, 0..1, from :meth:`tensor`: the inverse of :meth:`normalise`."""
        grey = (tensor[..., 0] - np.float32(self.offset)) / np.float32(self.scale)
        return np.asarray(np.clip(grey, 0, 1), np.float32)

    def tensor(self, grey: Grey) -> Tensor:
        """Grey values of all of a film to input tensor, shape :attr:`shape`; see :meth:`resize`."""
        return self.normalise(self.resize(grey))
