"""A film as the model saw it, as a picture for people."""

from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from screening.pixels.film import Grey

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
