"""Pictures in the guise of others, so that the gate goes by what they show."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from screening.training.network.augment import Pixels, compressed

_TINY: Final = 1e-6


def recompress(film: Pixels, rng: np.random.Generator) -> Pixels:
    """The film as a JPEG of quality 40 to 75."""
    return np.array(compressed(Image.fromarray(film), int(rng.integers(40, 76))))


def resample(film: Pixels, rng: np.random.Generator) -> Pixels:
    """The film a little softer: made smaller by up to a third, and back."""
    image = Image.fromarray(film)
    share = rng.uniform(0.67, 0.98)
    small = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    blurred = image.resize(small, Image.Resampling.BILINEAR)
    return np.array(blurred.resize(image.size, Image.Resampling.BICUBIC))


def dress(
    picture: npt.NDArray[np.float32], film: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """What `picture` shows with the texture and the grey values of `film`, both 0..1, one shape.

    The phases of its Fourier transform stay, the amplitudes move towards those of `film` (after
    Yang and Soatto, Fourier Domain Adaptation, CVPR 2020).
    """
    own, other = np.fft.fft2(picture), np.fft.fft2(film)
    share = rng.uniform(0.4, 1)
    amplitude = (np.abs(own) + _TINY) ** (1 - share) * (np.abs(other) + _TINY) ** share
    dressed = np.fft.ifft2(amplitude * np.exp(1j * np.angle(own))).real
    low, high = np.percentile(dressed, (1, 99))
    grey = np.clip((dressed - low) / (high - low + _TINY), 0, 1)
    if rng.random() < 0.6:
        ranks = np.argsort(np.argsort(grey, axis=None))
        grey = np.sort(film, axis=None)[ranks].reshape(grey.shape)
    return np.asarray(grey, np.float32)


def turn(films: npt.NDArray[np.float32], orientation: str) -> npt.NDArray[np.float32]:
    """Films, shape (n, rows, columns), 0..1, as they look in another orientation.

    Args:
        orientation: one of :data:`screening.recognition.ORIENTATIONS`. A film that is turned by 90
            degrees is squashed to the model's size as any other.
    """
    if orientation == "upright":
        return films
    if orientation == "inverted":
        return np.float32(1) - films
    return np.ascontiguousarray(np.rot90(films, int(orientation) // 90, axes=(1, 2)))
