"""A film as the model saw it, as a picture for people."""

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from screening.pixels.film import Grey

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


def thumbnail_jpeg(grey: Grey, shape: tuple[int, int] | None = None) -> bytes:
    """:func:`film_picture` as a small JPEG file, without any comment."""
    buffer = BytesIO()
    film_picture(grey, shape, _THUMBNAIL).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def _size(rows: int, columns: int, longest: int) -> tuple[int, int]:
    """Width and height of a picture."""
    if rows < 1 or columns < 1:
        return longest, longest
    longer = max(rows, columns)
    return tuple(  # type: ignore[return-value]
        round(longest * max(side / longer, _NARROWEST)) for side in (columns, rows)
    )
