"""Films with the lungs, everything else, or the markers hidden or added, for tests of a model."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import find_objects, label, median_filter

from screening.training.exchange import Alpha
from screening.training.network.augment import burn_in_letters

#: Shape (rows, columns), 0..1.
Grey = npt.NDArray[np.float32]

Mask = npt.NDArray[np.bool_]

# A lung's box is so much larger than the lung.
_BOX: Final = 1.1

# Of a film's side: the corners in which markers are removed, and a cell of the coarse film that
# their surroundings are taken from, as medians over so many cells.
_CORNER: Final = 1 / 4
_CELL: Final = 1 / 56
_MEDIAN: Final = 9


def hide_lungs(film: Grey, mask: Mask) -> Grey:
    """The film with the box around each lung, a tenth larger, filled with the film's mean.

    Args:
        film: shape (rows, columns), 0..1.
        mask: its lung fields, of the same shape; its two largest connected parts are the lungs.
    """
    hidden = film.copy()
    parts, count = label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    boxes = find_objects(parts)
    for part in np.argsort(-sizes, kind="stable")[:2]:
        hidden[tuple(_enlarged(side) for side in boxes[part])] = film.mean()
    return hidden


def hide_outside(film: Grey, alpha: Alpha) -> Grey:
    """The film with everything but the lungs filled with its mean.

    Args:
        film: shape (rows, columns), 0..1.
        alpha: from :func:`screening.training.exchange.soft_mask`.
    """
    return np.asarray(film.mean() + alpha * (film - film.mean()), np.float32)


def paste_markers(film: Grey, rng: np.random.Generator) -> Grey:
    """The film, shape (rows, columns), 0..1, with one or two letters burnt in near its edges."""
    image = Image.fromarray(np.rint(film * 255).astype(np.uint8))
    return np.asarray(burn_in_letters(image, rng), np.float32) / np.float32(255)


def remove_markers(film: Grey, alpha: Alpha) -> Grey:
    """The film with its four corners replaced by local medians, except in and near the lungs.

    Args:
        film: shape (rows, columns), 0..1.
        alpha: from :func:`screening.training.exchange.soft_mask`; above 0.5 the film is kept.
    """
    rows, columns = film.shape
    height, width = max(1, int(rows * _CORNER)), max(1, int(columns * _CORNER))
    step = max(1, round(max(rows, columns) * _CELL))
    outside = alpha <= 0.5
    removed = film.copy()
    for down in (slice(0, height), slice(rows - height, rows)):
        for across in (slice(0, width), slice(columns - width, columns)):
            coarse = median_filter(
                film[down, across][step // 2 :: step, step // 2 :: step], _MEDIAN
            )
            image = Image.fromarray(np.ascontiguousarray(coarse, np.float32))
            smooth = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
            free = outside[down, across]
            removed[down, across][free] = smooth[free]
    return removed


def _enlarged(side: slice) -> slice:
    more = (side.stop - side.start) * (_BOX - 1) / 2
    return slice(max(0, int(np.floor(side.start - more))), int(np.ceil(side.stop + more)))
