"""Draw heat maps and thumbnails: the film as the model saw it, evidence for pneumonia in colour.

A cell of a class activation map (Zhou et al., CVPR 2016) holds the logits that the whole film would
have if all of it looked like this cell, so cells of different films can be compared with each other
and with the threshold.
"""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from screening.imaging.film import Grey
from screening.results import POSITIVE

Mask = npt.NDArray[np.bool_]

#: Colour of the lung outline: sky blue, safe for colour-blind readers (Okabe and Ito, 2008) and
#: distinct from the colours of the heat map, which contain no blue.
OUTLINE: Final = (86, 180, 233)

#: Smallest ratio of shorter to longer side of a picture; narrower films are shown this wide.
_NARROWEST: Final = 0.25

#: Pixels of the longer side of a thumbnail, and the JPEG quality at which it takes about 3 kB.
_THUMBNAIL: Final = 112
_QUALITY: Final = 70


def film_picture(grey: Grey, shape: tuple[int, int] | None, longest: int) -> Image.Image:
    """Return the film as an 8-bit picture in its original proportions.

    Args:
        grey: the film as the model saw it, 0..1.
        shape: rows and columns of the original film; by default those of `grey`.
        longest: pixels of the picture's longer side.
    """
    film = Image.fromarray(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))
    rows, columns = shape or grey.shape
    return film.resize(_size(rows, columns, longest), Image.Resampling.BICUBIC)


def thumbnail_jpeg(
    grey: Grey, shape: tuple[int, int] | None = None, lungs: Mask | None = None
) -> bytes:
    """Return :func:`film_picture` as a small JPEG file without comments.

    Args:
        lungs: lung mask to outline, see :func:`outlined`; None for no outline.
    """
    buffer, film = BytesIO(), film_picture(grey, shape, _THUMBNAIL)
    picture = film if lungs is None else outlined(film, lungs)
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def outlined(picture: Image.Image, mask: Mask) -> Image.Image:
    """Draw a thin line around the lungs, except where they end at an edge of the film.

    Args:
        mask: True on the lungs, any shape (r, c); it covers the whole picture.

    Returns:
        An RGB picture of the same size.
    """
    # Blur the mask so that its pixels do not show as steps.
    lungs = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.8))
    inside = np.asarray(lungs.resize(picture.size, Image.Resampling.BICUBIC)) >= 128
    drawn = np.array(picture.convert("RGB"))
    # A dark edge keeps the line visible on a bright film.
    drawn[_neighbours(inside) & ~inside] //= 2
    drawn[_neighbours(~inside) & inside] = OUTLINE
    return Image.fromarray(drawn)


def _neighbours(mask: Mask) -> Mask:
    """Return the pixels directly above, below, left or right of a pixel of the mask."""
    adjacent = np.zeros_like(mask)
    adjacent[1:] |= mask[:-1]
    adjacent[:-1] |= mask[1:]
    adjacent[:, 1:] |= mask[:, :-1]
    adjacent[:, :-1] |= mask[:, 1:]
    return adjacent


def _size(rows: int, columns: int, longest: int) -> tuple[int, int]:
    """Return the width and height of a picture of a film with these rows and columns."""
    if rows < 1 or columns < 1:
        return longest, longest
    longer = max(rows, columns)
    return tuple(  # type: ignore[return-value]
        round(longest * max(side / longer, _NARROWEST)) for side in (columns, rows)
    )


Floats = npt.NDArray[np.float32]

#: Log odds above those of the threshold at which colour starts, and at which it is strongest. A
#: film that looked everywhere like a cell at the first value would just be classified as pneumonia;
#: the second value occurs in clear cases.
FAINTEST: Final = 0.0
STRONGEST: Final = 15.0

#: Opacity where the colour is strongest; the film must stay visible through it.
_OPACITY: Final = 0.55

#: Pixels of the longer side of a heat map.
_LONGEST: Final = 384

# Yellow, orange and vermilion for colour-blind readers (Okabe and Ito, 2008): no hue that can be
# mistaken for grey, and each darker than the one before, so that the order shows without hue.
_ANCHORS: Final = ((240, 228, 66), (230, 159, 0), (213, 94, 0), (176, 32, 12))

# Björn Ottosson's Oklab (2020), in which equal steps look equal: matrices from linear sRGB to cone
# responses, and from their cube roots to lightness and the two opponent colours.
_TO_CONES: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

#: Pixel rows of the colour scale below a heat map.
_SCALE_ROWS: Final = 26
#: Pixel rows of the line about the lungs below the scale.
_LUNG_ROWS: Final = 14
_TEXT: Final = (200, 200, 200)
_SCALE_COLUMNS: Final = 180
_TICKS: Final = (0, 5, 10, 15)


def evidence(maps: Floats) -> Floats:
    """Return evidence for pneumonia in logits, shape (..., r, c), from maps (..., r, c, 2)."""
    return np.asarray(maps[..., POSITIVE] - maps[..., 1 - POSITIVE], np.float32)


def overlay(grey: Grey, activation: Floats, shape: tuple[int, int] | None = None) -> Image.Image:
    """Return the film with the evidence for pneumonia in colour.

    The colours mean the same on every film: the scale always runs from :data:`FAINTEST` to
    :data:`STRONGEST` and is never stretched to the range of one film. A normal film shows no
    colour. Evidence against pneumonia is not shown.

    Args:
        grey: the film as the model saw it, 0..1.
        activation: log odds above those of the threshold, any shape (r, c); NaN counts as no
            evidence.
        shape: rows and columns of the original film, whose proportions the picture gets; by
            default those of `grey`.

    Returns:
        An RGB picture whose longer side has 384 pixels.
    """
    film = film_picture(grey, shape, _LONGEST)
    cells = np.nan_to_num(activation, nan=0.0, posinf=STRONGEST, neginf=0.0)
    # Values beyond the scale all get the same colour; unclipped, they would spread too far when
    # interpolated between cells.
    cells = np.clip(cells - FAINTEST, 0, 1.5 * (STRONGEST - FAINTEST)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(cells).resize(film.size, Image.Resampling.BICUBIC))
    steps = np.asarray(smooth / (STRONGEST - FAINTEST), np.float32)
    return _tinted(film, steps)


@dataclass(frozen=True, eq=False)
class LungOverlay:
    """The lungs of a film, for its heat map.

    Attributes:
        mask: True on the lungs, any shape (r, c).
        evidence: share of the evidence for pneumonia that lies inside the lungs, 0..1; None if
            there is no evidence.
    """

    mask: Mask
    evidence: float | None


def strip_rows(*, lungs: bool) -> int:
    """Return the pixel rows below the film in a heat map, with or without the line about lungs."""
    return _SCALE_ROWS + _LUNG_ROWS * lungs


def heatmap_png(
    grey: Grey,
    activation: Floats,
    shape: tuple[int, int] | None = None,
    lungs: LungOverlay | None = None,
) -> bytes:
    """Return :func:`overlay` above its colour scale as a PNG file without text chunks.

    Args:
        lungs: lungs to outline; a line below the scale gives the share of the evidence inside
            them. None for neither.
    """
    picture = overlay(grey, activation, shape)
    scale = _scale(max(picture.width, _SCALE_COLUMNS))
    rows = strip_rows(lungs=lungs is not None)
    sheet = Image.new("RGB", (scale.width, picture.height + rows))
    if lungs is not None:
        picture = outlined(picture, lungs.mask)
        _write_lungs(sheet, picture.height + _SCALE_ROWS, lungs.evidence)
    sheet.paste(picture, ((scale.width - picture.width) // 2, 0))
    sheet.paste(scale, (0, picture.height))
    buffer = BytesIO()
    # Four times as fast as the default, at the cost of a fifth more bytes.
    sheet.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _tinted(film: Image.Image, steps: Floats) -> Image.Image:
    """Colour a grey film; `steps`, shape (height, width), run from 0 (faint) to 1 (strong)."""
    index = np.rint(np.clip(steps, 0, 1) * 255).astype(np.uint8)
    colour = Image.fromarray(index)
    colour.putpalette(_colours().tobytes())
    share = Image.fromarray(index).point(_opacities())
    return Image.composite(colour.convert("RGB"), film.convert("RGB"), share)


def _opacities() -> list[int]:
    """Return the opacity, 0..255, of each of 256 steps; it grows from 0, so colour has no edge."""
    return [round(255 * _OPACITY * (step / 255) ** 0.6) for step in range(256)]


@lru_cache(maxsize=1)
def _colours() -> npt.NDArray[np.uint8]:
    """Return 256 colours, shape (256, 3), in equal Oklab steps between the anchors."""
    values = np.array(_ANCHORS) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    anchors = np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T
    at, places = np.linspace(0, 1, 256), np.linspace(0, 1, len(_ANCHORS))
    between = np.stack([np.interp(at, places, channel) for channel in anchors.T], axis=1)
    cones = (between @ np.linalg.inv(_TO_OKLAB).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)


@lru_cache(maxsize=64)
def _scale(width: int) -> Image.Image:
    """Draw the colour scale on middle grey with its log odds, right-aligned."""
    strip = Image.new("RGB", (width, _SCALE_ROWS))
    bar_width = _SCALE_COLUMNS - 60
    steps = np.linspace(0, 1, bar_width, dtype=np.float32)
    bar = _tinted(Image.new("L", (bar_width, 8), 110), np.tile(steps, (8, 1)))
    left = width - bar_width - 15
    strip.paste(bar, (left, 3))
    draw, font = ImageDraw.Draw(strip), _font()
    draw.text((left - 8, 12), "log odds", fill=_TEXT, font=font, anchor="ra")
    for tick in _TICKS:
        x = left + (tick - FAINTEST) / (STRONGEST - FAINTEST) * (bar_width - 1)
        draw.text((x, 12), str(tick), fill=_TEXT, font=font, anchor="ma")
    return strip


@lru_cache(maxsize=1)
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return Pillow's default font; cached, because unpacking it takes as long as a film."""
    return ImageFont.load_default()


def _write_lungs(sheet: Image.Image, top: int, evidence: float | None) -> None:
    """Write the outline's legend and the evidence inside it, right-aligned like the scale."""
    caption = "no lung evidence" if evidence is None else f"lung evidence {evidence:.2f}"
    draw, font = ImageDraw.Draw(sheet), _font()
    right = sheet.width - 8
    draw.text((right, top), caption, fill=_TEXT, font=font, anchor="ra")
    left = right - int(draw.textlength(caption, font=font)) - 12
    draw.text((left, top), "lungs", fill=_TEXT, font=font, anchor="ra")
    left -= int(draw.textlength("lungs", font=font)) + 4
    draw.line((left - 12, top + 6, left, top + 6), fill=OUTLINE)
