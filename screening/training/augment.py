"""Change a film as another scanner, another workstation or another export would have."""

from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

Pixels = npt.NDArray[np.uint8]

_TINY: Final = 1e-6


def augment(film: Pixels, rng: np.random.Generator) -> Pixels:
    """A new view of a film, shape (rows, columns) as before.

    What is varied is what differs between hospitals and says nothing about the lung: geometry,
    exposure, processing, noise, compression and burnt-in letters.
    """
    image = _move(Image.fromarray(film), rng)
    image = _expose(image, rng)
    image = _degrade(image, rng)
    return _cover(np.array(image), rng)


def recompress(film: Pixels, rng: np.random.Generator) -> Pixels:
    """The film as a JPEG of quality 40 to 75."""
    return np.array(_compressed(Image.fromarray(film), int(rng.integers(40, 76))))


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


def _move(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotation up to 11 degrees, scale, aspect and shift up to about a tenth."""
    width, height = image.size
    angle = np.deg2rad(rng.uniform(-11, 11))
    scale = rng.uniform(0.85, 1.1)
    aspect = np.exp(rng.uniform(-0.12, 0.12))
    shift = rng.uniform(-0.07, 0.07, 2) * (width, height)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    a, b, d, e = cos * aspect, sin * aspect, -sin / aspect, cos / aspect
    centre = np.array([width, height]) / 2
    c, f = centre + shift - np.array([[a, b], [d, e]]) @ centre
    matrix = (a, b, float(c), d, e, float(f))
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Another exposure, window or post-processing."""
    if rng.random() < 0.2:
        image = ImageOps.equalize(image)
    grey = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-0.5, 0.5))
    grey = (grey - 0.5) * rng.uniform(0.6, 1.4) + 0.5 + rng.uniform(-0.15, 0.15)
    table = np.clip(np.rint(grey * 255), 0, 255).astype(int).tolist()
    return image.point(table)


def _degrade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur or sharpen, noise, and JPEG at quality 25 to 90."""
    choice = rng.random()
    if choice < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.6)))
    elif choice < 0.55:
        image = image.filter(ImageFilter.UnsharpMask(2, int(rng.uniform(40, 150)), 0))
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(1, 10), image.size[::-1])
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.7:
        image = _compressed(image, int(rng.integers(25, 91)))
    return image


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    image = Image.open(buffer)
    image.load()
    return image


def _cover(film: Pixels, rng: np.random.Generator) -> Pixels:
    """Erase up to three patches, so that no single corner or letter can carry the answer."""
    rows, columns = film.shape
    for _ in range(rng.integers(0, 4)):
        height, width = (rng.uniform(0.05, 0.22, 2) * (rows, columns)).astype(int)
        top, left = rng.integers(0, rows - height), rng.integers(0, columns - width)
        film[top : top + height, left : left + width] = rng.integers(0, 256)
    return film
