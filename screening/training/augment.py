"""Augment films with the differences between scanners, workstations and exports."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

#: Changes the appearance of a film without moving anything.
Look = Callable[[Image.Image, np.random.Generator], Pixels]

_TINY: Final = 1e-6

#: Share of augmented films that are only moved a little, so that the network also sees nearly
#: unchanged films.
LIGHT: Final = 0.25

# Probabilities of another film's exposure, letters, multi-frequency processing and shading.
_BORROWED: Final = 0.4
_LETTERED: Final = 0.3
_PROCESSED: Final = 0.3
_SHADED: Final = 0.2


@dataclass(frozen=True)
class Ranges:
    """How far a film may be moved.

    Attributes:
        rotation: degrees to either side.
        zoom: logarithms of the smallest and the largest factor.
        aspect: largest logarithm of the factor on the width; the height gets its inverse.
        shift: share of the film's sides, in each direction.
    """

    rotation: float
    zoom: tuple[float, float]
    aspect: float
    shift: float


@dataclass(frozen=True)
class Placement:
    """Position of a film in its picture.

    Attributes:
        matrix: affine map from the picture to the film, in the form that Pillow takes.
        border: grey value outside the film, 0..255.
    """

    matrix: tuple[float, float, float, float, float, float]
    border: int

    def on_black(self) -> "Placement":
        """The same placement with a black border, for masks."""
        return replace(self, border=0)


#: Ranges for classifier films, for films that are only moved, and for films of the lung network.
HOSPITAL_VIEWS: Final = Ranges(11, (-0.3, 0.2), 0.18, 0.07)
LIGHT_VIEWS: Final = Ranges(5.5, (-0.15, 0.1), 0.09, 0.035)
LUNG_VIEWS: Final = Ranges(20, (-0.45, 0.3), 0.22, 0.1)

_LETTERS: Final = (
    "R",
    "L",
    "AP",
    "PA",
    "A-P",
    "SUPINE",
    "ERECT",
    "PORTABLE",
    "12:30",
    "07:45",
    "90",
)


def augment(film: Pixels, rng: np.random.Generator, lender: Pixels | None = None) -> Pixels:
    """Augment a film; the shape (rows, columns) is unchanged.

    The augmentation varies what differs between hospitals and says nothing about the lung:
    geometry, exposure, processing, noise, compression and burnt-in letters.

    Args:
        lender: another film, of any class. Its exposure is often used, so that exposure cannot
            separate the classes.
    """
    return view_of(film, None, rng, lender)[0]


def view_of(
    film: Pixels,
    mask: Pixels | None,
    rng: np.random.Generator,
    lender: Pixels | None = None,
    *,
    light: float = LIGHT,
    flip: float = 0.0,
    look: Look | None = None,
) -> tuple[Pixels, Pixels | None]:
    """Augment a film and a mask that moves with it.

    Args:
        mask: shape (rows, columns), 0 or 255; None if there is none.
        lender: as in :func:`augment`.
        light: probability that the film is only moved a little and loses up to three patches.
        flip: probability that the film is mirrored.
        look: changes the appearance of the film; by default :func:`change_look`.
    """
    image = Image.fromarray(film)
    is_light = light >= 1 or rng.random() < light
    place = geometry(image.size, rng, LIGHT_VIEWS if is_light else HOSPITAL_VIEWS)
    if is_light:
        view = _cover(np.array(moved(image, place)), rng)
    else:
        if lender is not None:
            image = Image.fromarray(lend_exposure(film, lender, rng))
        view = (look or change_look)(moved(image, place), rng)
    if mask is not None:
        mask = np.asarray(moved(Image.fromarray(mask), place.on_black()))
    if flip and rng.random() < flip:
        view, mask = view[:, ::-1], None if mask is None else mask[:, ::-1]
    return view, mask


def lend_exposure(film: Pixels, lender: Pixels, rng: np.random.Generator) -> Pixels:
    """Often give the film another film's exposure, so that exposure cannot separate the classes."""
    return expose_like(film, lender) if rng.random() < _BORROWED else film


def change_look(image: Image.Image, rng: np.random.Generator) -> Pixels:
    """Change exposure, processing, noise, compression and letters, without moving anything."""
    if rng.random() < _LETTERED:
        image = burn_in_letters(image, rng)
    if rng.random() < _PROCESSED:
        image = _process(image, rng)
    image = _expose(image, rng)
    if rng.random() < _SHADED:
        image = _shade(image, rng)
    return _cover(np.array(_degrade(image, rng)), rng)


def expose_like(film: Pixels, lender: Pixels) -> Pixels:
    """Give the film the histogram of `lender`; both 0..255."""
    own, other = (np.cumsum(np.bincount(each.ravel(), minlength=256)) for each in (film, lender))
    # The first level at which at least as large a share of the lender is as dark.
    levels = np.searchsorted(other / lender.size, own / film.size - _TINY)
    return levels.astype(np.uint8)[film]


def geometry(size: tuple[int, int], rng: np.random.Generator, ranges: Ranges) -> Placement:
    """Draw a placement of a film of `size`, as width and height.

    The area outside the film is mostly black, as it is around collimated films.
    """
    width, height = size
    angle = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation))
    zoom = np.exp(rng.uniform(*ranges.zoom))
    aspect = np.exp(rng.uniform(-ranges.aspect, ranges.aspect))
    shift = rng.uniform(-ranges.shift, ranges.shift, 2) * (width, height)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    a, b, d, e = cos * aspect, sin * aspect, -sin / aspect, cos / aspect
    centre = np.array([width, height]) / 2
    c, f = centre + shift - np.array([[a, b], [d, e]]) @ centre
    border = 0 if rng.random() < 0.6 else min(255, int(rng.integers(340)))
    return Placement((a, b, float(c), d, e, float(f)), border)


def moved(image: Image.Image, placement: Placement) -> Image.Image:
    """Move the film, or its mask, to a placement."""
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        placement.matrix,
        Image.Resampling.BILINEAR,
        fillcolor=placement.border,
    )


def burn_in_letters(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Burn side markers, positions or times in near the edges; these reveal a film's source."""
    image = image.copy()
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 3)):
        size = float(rng.integers(image.height // 24 + 1, image.height // 9 + 2))
        across, down = rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.98)
        if rng.random() < 0.5:
            across = 1 - across
        if rng.random() < 0.5:
            across, down = down, across
        place = (across * image.width, down * image.height)
        grey = int(rng.integers(150, 256))
        pen.text(place, str(rng.choice(_LETTERS)), fill=grey, font=_font(size), anchor="mm")
    return image


def change_contrast(image: Image.Image, rng: np.random.Generator) -> Pixels:
    """Change the contrast: equalisation, gamma, brightness, blur, noise and compression.

    Milder and shorter than :func:`change_look`; 40 % of the films are equalised.
    """
    choice = rng.random()
    if choice < 0.25:
        image = ImageOps.equalize(image)
    elif choice < 0.4:
        image = _equalise_tiles(image, rng)
    grey = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-0.5, 0.5))
    grey = (grey - 0.5) * rng.uniform(0.65, 1.45) + 0.5 + rng.uniform(-0.15, 0.15)
    image = image.point(np.clip(np.rint(grey * 255), 0, 255).astype(int).tolist())
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4)))
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(1, 12), image.size[::-1])
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.4:
        image = compressed(image, int(rng.integers(25, 91)))
    film = np.array(image)
    return _cover(film, rng) if rng.random() < 0.3 else film


def _equalise_tiles(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Contrast-limited equalisation of overlapping parts, blended (CLAHE; Zuiderveld, 1994)."""
    strength = rng.uniform(0.4, 1.0)
    flat = Image.fromarray(clahe(np.asarray(image)))
    return Image.blend(image, flat, strength)


def clahe(film: Pixels) -> Pixels:
    """Apply :func:`equalised_locally`; the result is 0..255."""
    return np.asarray(np.clip(np.rint(255 * equalised_locally(film)), 0, 255), np.uint8)


def equalised_locally(film: Pixels, tiles: int = 8, limit: float = 3.0) -> Floats:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994).

    Args:
        film: shape (rows, columns), 0..255; at least one pixel for each tile.
        tiles: number of tiles along each side.
        limit: largest share of a tile's pixels with one level, as a multiple of the mean share.

    Returns:
        Shape (rows, columns), 0..1.
    """
    rows, columns = film.shape
    edges = [np.linspace(0, side, tiles + 1).astype(int) for side in (rows, columns)]
    owner = [
        np.searchsorted(edge, np.arange(side), "right") - 1
        for edge, side in zip(edges, (rows, columns), strict=True)
    ]
    tile = owner[0][:, np.newaxis] * tiles + owner[1]
    counts = np.bincount((tile * 256 + film).ravel(), minlength=tiles * tiles * 256)
    counts = counts.reshape(tiles, tiles, 256)
    shares = counts / counts.sum(-1, keepdims=True)
    most = limit / 256
    excess = np.maximum(shares - most, 0).sum(-1, keepdims=True) / 256
    tables = np.cumsum(np.minimum(shares, most) + excess, -1)
    (y0, fy), (x0, fx) = (_between_middles(edge) for edge in edges)
    i, j = y0[:, np.newaxis], x0[np.newaxis]
    y, x = fy[:, np.newaxis], fx[np.newaxis]
    above = (1 - x) * tables[i, j, film] + x * tables[i, j + 1, film]
    below = (1 - x) * tables[i + 1, j, film] + x * tables[i + 1, j + 1, film]
    return np.asarray((1 - y) * above + y * below)


def _between_middles(
    edges: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], Floats]:
    """For each pixel the preceding tile, and its relative distance to the next tile's centre."""
    middles = (edges[:-1] + edges[1:]) / 2
    place = np.interp(np.arange(edges[-1]) + 0.5, middles, np.arange(len(middles)))
    before = np.minimum(place.astype(np.int64), len(middles) - 2)
    return before, place - before


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _process(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Multi-frequency processing: reduce coarse contrast, enhance detail."""
    grey = np.asarray(image, np.float32)
    radius = image.width / rng.uniform(8, 24)
    coarse = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)
    processed = 128 + rng.uniform(0.3, 1) * (coarse - 128) + rng.uniform(0.8, 2) * (grey - coarse)
    return Image.fromarray(np.clip(processed, 0, 255).astype(np.uint8))


def _expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change exposure, characteristic curve or window; black and white may become grey."""
    grey = np.linspace(0, 1, 256)
    choice = rng.random()
    if choice < 0.15:
        image = ImageOps.equalize(image)
    elif choice < 0.3:
        curve = np.tanh(rng.uniform(0.75, 2.25) * (2 * grey - 1))
        grey = (curve / curve[-1] + 1) / 2
    grey = grey ** np.exp(rng.uniform(-0.7, 0.7))
    low, high = rng.uniform(-0.15, 0.3), rng.uniform(0.65, 1.15)
    table = np.clip(np.rint((low + grey * (high - low)) * 255), 0, 255).astype(int).tolist()
    return image.point(table)


def _shade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Darken towards one side (the heel effect, a tilted grid) or towards the corners."""
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    side = np.clip((x * np.cos(angle) + y * np.sin(angle) + 1) / 2, 0, 1)
    depth = side if rng.random() < 0.5 else (x**2 + y**2) / 2
    shaded = np.asarray(image) * (1 - rng.uniform(0, 0.4) * depth)
    return Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8))


def _degrade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur or sharpen, shrink and enlarge, add noise, and compress as JPEG of quality 20 to 90."""
    choice = rng.random()
    if choice < 0.35:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.6)))
    elif choice < 0.55:
        strength = int(rng.uniform(40, 180))
        image = image.filter(ImageFilter.UnsharpMask(rng.uniform(1, 3), strength, 0))
    if rng.random() < 0.15:
        share = rng.uniform(0.4, 0.9)
        small = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        size = image.size
        image = image.resize(small, Image.Resampling.BILINEAR)
        image = image.resize(size, Image.Resampling.BICUBIC)
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(1, 13), image.size[::-1])
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        image = compressed(image, int(rng.integers(20, 91)))
    return image


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Compress the image as a JPEG of this quality."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    image = Image.open(buffer)
    image.load()
    return image


def _cover(film: Pixels, rng: np.random.Generator) -> Pixels:
    """Erase up to three patches, so that no single corner or letter determines the class."""
    rows, columns = film.shape
    for _ in range(rng.integers(0, 4)):
        height, width = (rng.uniform(0.05, 0.22, 2) * (rows, columns)).astype(int)
        top, left = rng.integers(0, rows - height), rng.integers(0, columns - width)
        film[top : top + height, left : left + width] = rng.integers(0, 256)
    return film
