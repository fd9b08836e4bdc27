"""A film as the model saw it, with the evidence for pneumonia in colour.

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

#: Of lungs: sky blue for colour-blind readers (Okabe and Ito, 2008), far from all colours of a heat
#: map, which have no blue.
OUTLINE: Final = (86, 180, 233)

#: A film that is narrower is shown as this share of its length.
_NARROWEST: Final = 0.25

#: Pixels of the longer side of a thumbnail, and the quality at which it takes some 3 kB.
_THUMBNAIL: Final = 112
_QUALITY: Final = 70


def film_picture(grey: Grey, shape: tuple[int, int] | None, longest: int) -> Image.Image:
    """The film in its own proportions, 8 bits.

    Args:
        grey: the film as the model saw it, 0..1.
        shape: rows and columns of the film itself; by default those of `grey`.
        longest: pixels of the picture's longer side.
    """
    film = Image.fromarray(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))
    rows, columns = shape or grey.shape
    return film.resize(_size(rows, columns, longest), Image.Resampling.BICUBIC)


def thumbnail_jpeg(
    grey: Grey, shape: tuple[int, int] | None = None, lungs: Mask | None = None
) -> bytes:
    """:func:`film_picture` as a small JPEG file, without any comment.

    Args:
        lungs: what is outlined, see :func:`outlined`; None for nothing.
    """
    buffer, film = BytesIO(), film_picture(grey, shape, _THUMBNAIL)
    picture = film if lungs is None else outlined(film, lungs)
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def outlined(picture: Image.Image, mask: Mask) -> Image.Image:
    """A picture with a thin line around the lungs; none where they end at an edge of the film.

    Args:
        mask: where the lungs are, any shape (r, c); it spans the picture.

    Returns:
        A picture of the same size, in RGB.
    """
    # The pixels of the mask are not to be seen as steps.
    lungs = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.8))
    inside = np.asarray(lungs.resize(picture.size, Image.Resampling.BICUBIC)) >= 128
    drawn = np.array(picture.convert("RGB"))
    # A dark edge lets the line be seen on a bright film, too.
    drawn[_beside(inside) & ~inside] //= 2
    drawn[_beside(~inside) & inside] = OUTLINE
    return Image.fromarray(drawn)


def _beside(mask: Mask) -> Mask:
    """Pixels above, below, left or right of those of a mask."""
    beside = np.zeros_like(mask)
    beside[1:] |= mask[:-1]
    beside[:-1] |= mask[1:]
    beside[:, 1:] |= mask[:, :-1]
    beside[:, :-1] |= mask[:, 1:]
    return beside


def _size(rows: int, columns: int, longest: int) -> tuple[int, int]:
    """Width and height of a picture."""
    if rows < 1 or columns < 1:
        return longest, longest
    longer = max(rows, columns)
    return tuple(  # type: ignore[return-value]
        round(longest * max(side / longer, _NARROWEST)) for side in (columns, rows)
    )


Floats = npt.NDArray[np.float32]

#: Log odds beyond those of the threshold where colour begins, and from which on it is as strong as
#: it gets. A film that looked all over like a cell at the first would just be called pneumonia; the
#: second is seen in clear cases.
FAINTEST: Final = 0.0
STRONGEST: Final = 15.0

#: Share of colour where it is strongest: the film has to be seen through it.
_OPACITY: Final = 0.55

#: Pixels of the longer side of a picture.
_LONGEST: Final = 384

# Yellow, orange and vermilion for colour-blind readers (Okabe and Ito, 2008): no hue that such
# a reader takes for grey, and darker from one to the next, so that the order is seen without hue.
_ANCHORS: Final = ((240, 228, 66), (230, 159, 0), (213, 94, 0), (176, 32, 12))

# Björn Ottosson's Oklab (2020): equal steps look equal. From linear sRGB to cone responses, and
# from their cube roots to lightness and the two opponent colours.
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

#: Of the scale of colours below a heat map.
_SCALE_ROWS: Final = 26
#: Of the line on the lungs below it.
_LUNG_ROWS: Final = 14
_TEXT: Final = (200, 200, 200)
_SCALE_COLUMNS: Final = 180
_TICKS: Final = (0, 5, 10, 15)


def evidence(maps: Floats) -> Floats:
    """Evidence for pneumonia in logits, shape (..., r, c), from maps, shape (..., r, c, 2)."""
    return np.asarray(maps[..., POSITIVE] - maps[..., 1 - POSITIVE], np.float32)


def overlay(grey: Grey, activation: Floats, shape: tuple[int, int] | None = None) -> Image.Image:
    """The film with evidence for pneumonia in colour.

    The colours mean the same on every film: they begin at :data:`FAINTEST` and end at
    :data:`STRONGEST`, and are never stretched to what one film has. A normal film does not light
    up. Evidence against pneumonia is not shown.

    Args:
        grey: the film as the model saw it, 0..1.
        activation: log odds beyond those of the threshold, any shape (r, c); what is no number
            counts as none.
        shape: rows and columns of the film itself, whose proportions the picture gets; by default
            those of `grey`.

    Returns:
        A picture in RGB; its longer side has 384 pixels.
    """
    film = film_picture(grey, shape, _LONGEST)
    cells = np.nan_to_num(activation, nan=0.0, posinf=STRONGEST, neginf=0.0)
    # Beyond the ends no colour tells values apart; between cells they would reach too far.
    cells = np.clip(cells - FAINTEST, 0, 1.5 * (STRONGEST - FAINTEST)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(cells).resize(film.size, Image.Resampling.BICUBIC))
    steps = np.asarray(smooth / (STRONGEST - FAINTEST), np.float32)
    return _tinted(film, steps)


@dataclass(frozen=True, eq=False)
class LungOverlay:
    """The lungs of a film, for its heat map.

    Attributes:
        mask: where they are, any shape (r, c).
        evidence: share of the evidence for pneumonia that lies inside them, 0..1; None if there is
            no evidence.
    """

    mask: Mask
    evidence: float | None


def strip_rows(*, lungs: bool) -> int:
    """Pixel rows below the film in a heat map, with or without a line on the lungs."""
    return _SCALE_ROWS + _LUNG_ROWS * lungs


def heatmap_png(
    grey: Grey,
    activation: Floats,
    shape: tuple[int, int] | None = None,
    lungs: LungOverlay | None = None,
) -> bytes:
    """:func:`overlay` above a scale of its colours, as a PNG file without any text chunk.

    Args:
        lungs: they are outlined, and a line below the scale says how much of the evidence lies
            inside them; None for neither.
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
    # Four times as fast as the default, for a fifth more bytes.
    sheet.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _tinted(film: Image.Image, steps: Floats) -> Image.Image:
    """Grey `film` in colour; `steps`, shape (height, width), are 0 = faintest to 1 = strongest."""
    index = np.rint(np.clip(steps, 0, 1) * 255).astype(np.uint8)
    colour = Image.fromarray(index)
    colour.putpalette(_colours().tobytes())
    share = Image.fromarray(index).point(_opacities())
    return Image.composite(colour.convert("RGB"), film.convert("RGB"), share)


def _opacities() -> list[int]:
    """Share of colour, 0..255, for each of 256 steps: it grows from nothing, and has no edge."""
    return [round(255 * _OPACITY * (step / 255) ** 0.6) for step in range(256)]


@lru_cache(maxsize=1)
def _colours() -> npt.NDArray[np.uint8]:
    """256 colours, shape (256, 3), with equal steps between the anchors in Oklab."""
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
    """The colours on middle grey with their log odds, right-aligned below a picture."""
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
    """Pillow's own; unpacking it takes as long as a film."""
    return ImageFont.load_default()


def _write_lungs(sheet: Image.Image, top: int, evidence: float | None) -> None:
    """Name the outline and give the evidence inside it, right-aligned as the scale is."""
    said = "lung evidence none" if evidence is None else f"lung evidence {evidence:.2f}"
    draw, font = ImageDraw.Draw(sheet), _font()
    right = sheet.width - 8
    draw.text((right, top), said, fill=_TEXT, font=font, anchor="ra")
    left = right - int(draw.textlength(said, font=font)) - 12
    draw.text((left, top), "lungs", fill=_TEXT, font=font, anchor="ra")
    left -= int(draw.textlength("lungs", font=font)) + 4
    draw.line((left - 12, top + 6, left, top + 6), fill=OUTLINE)
