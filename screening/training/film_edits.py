"""Hide, exchange or add lungs, surroundings or markers of films.

In most collections, what lies outside the lungs (markers, collimation, arms, patient positioning)
separates the classes. A network trained on exchanged films cannot use it, and exchanged films
reveal a network that does.
"""

from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy.ndimage import distance_transform_edt, find_objects, label, median_filter

from screening.training.augment import burn_in_letters

Mask = npt.NDArray[np.bool_]

#: Share of each pixel taken from the film with the lungs, shape (rows, columns), float32, 0..1.
Alpha = npt.NDArray[np.float32]

Film = TypeVar("Film", npt.NDArray[np.uint8], npt.NDArray[np.float32])

# As shares of the longer side: 4 and 2 pixels at 224. Masks are drawn inside the pleura, and a
# sharp edge would be a cue of its own.
_DILATION: Final = 4 / 224
_SOFTNESS: Final = 2 / 224

# Below this spread of the grey values, as a share of their range, a film has no contrast to change.
_LEAST_SPREAD: Final = 1e-3


def dilate(mask: Mask) -> Mask:
    """Enlarge the mask on all sides by 1/56 of its longer side (4 pixels at 224).

    Args:
        mask: lung fields, shape (rows, columns); a mask without lungs stays empty.
    """
    if not mask.any():
        return mask.copy()
    near = distance_transform_edt(~mask) <= _DILATION * max(mask.shape)
    return np.asarray(near, np.bool_)


def soft_mask(mask: Mask) -> Alpha:
    """How much of each pixel belongs to the lungs: the dilated mask with a soft edge.

    This takes a few milliseconds and depends only on the mask, so callers should keep the result.

    Args:
        mask: lung fields, shape (rows, columns).

    Returns:
        Shape (rows, columns), 0..1; 1 everywhere if the mask has no lungs, so that
        :func:`exchange_outside` leaves such a film unchanged but for its contrast.
    """
    if not mask.any():
        return np.ones(mask.shape, np.float32)
    image = Image.fromarray(dilate(mask).astype(np.uint8) * 255)
    soft = image.filter(ImageFilter.GaussianBlur(_SOFTNESS * max(mask.shape)))
    return np.asarray(soft, np.float32) / np.float32(255)


def exchange_outside(film: Film, alpha: Alpha, donor: Film) -> Film:
    """Put the lungs of `film` into the outside of `donor`.

    The film is first brought to the mean and the deviation of the donor, so that exposure does not
    reveal the origin of the lungs. If the donor's lungs are larger, their rim stays visible.

    Args:
        film: shape (rows, columns), uint8 0..255 or float32 0..1.
        alpha: soft mask of the film, from :func:`soft_mask`; the same shape.
        donor: another film of the same shape and type.

    Returns:
        A new film of the same shape and type.

    Raises:
        ValueError: if the shapes differ.
    """
    if not film.shape == alpha.shape == donor.shape:
        raise ValueError(f"shapes {film.shape}, {alpha.shape} and {donor.shape} differ")
    is_bytes = film.dtype == np.uint8
    white = 255.0 if is_bytes else 1.0
    own, other = np.asarray(film, np.float32), np.asarray(donor, np.float32)
    gain = float(other.std()) / max(float(own.std()), _LEAST_SPREAD * white)
    mixed = own * np.float32(gain)
    mixed += np.float32(float(other.mean()) - gain * float(own.mean()))
    mixed -= other
    mixed *= alpha
    mixed += other
    np.clip(mixed, 0, white, out=mixed)
    if is_bytes:
        np.rint(mixed, out=mixed)
    return mixed.astype(film.dtype)


def exchange_lungs(film: Film, donor: Film, donor_alpha: Alpha) -> Film:
    """Put the lungs of `donor` into the outside of `film`; the reverse of :func:`exchange_outside`.

    Args:
        film: shape (rows, columns), uint8 0..255 or float32 0..1.
        donor: another film of the same shape and type.
        donor_alpha: soft mask of the donor, from :func:`soft_mask`.

    Returns:
        A new film of the same shape and type.

    Raises:
        ValueError: if the shapes differ.
    """
    return exchange_outside(donor, donor_alpha, film)


#: Shape (rows, columns), 0..1.
Grey = npt.NDArray[np.float32]


# Factor from the size of a lung to the size of the box around it.
_BOX: Final = 1.1

# As shares of a film's side: the corners in which markers are removed, and a cell of the coarse
# film that the replacement is computed from, as medians over `_MEDIAN` by `_MEDIAN` cells.
_CORNER: Final = 1 / 4
_CELL: Final = 1 / 56
_MEDIAN: Final = 9


def hide_lungs(film: Grey, mask: Mask) -> Grey:
    """Fill a box around each lung, a tenth larger than the lung, with the film's mean.

    Args:
        film: shape (rows, columns), 0..1.
        mask: its lung fields, of the same shape; the two largest connected parts are the lungs.
    """
    hidden = film.copy()
    parts, count = label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    boxes = find_objects(parts)
    for part in np.argsort(-sizes, kind="stable")[:2]:
        hidden[tuple(_enlarged(side) for side in boxes[part])] = film.mean()
    return hidden


def hide_outside(film: Grey, alpha: Alpha) -> Grey:
    """Fill everything but the lungs with the film's mean.

    Args:
        film: shape (rows, columns), 0..1.
        alpha: soft mask from :func:`screening.training.film_edits.soft_mask`.
    """
    return np.asarray(film.mean() + alpha * (film - film.mean()), np.float32)


def paste_markers(film: Grey, rng: np.random.Generator) -> Grey:
    """Burn one or two letters into the film, shape (rows, columns), 0..1, near its edges."""
    image = Image.fromarray(np.rint(film * 255).astype(np.uint8))
    return np.asarray(burn_in_letters(image, rng), np.float32) / np.float32(255)


def remove_markers(film: Grey, alpha: Alpha) -> Grey:
    """Replace the four corners of the film by local medians, except in and near the lungs.

    Args:
        film: shape (rows, columns), 0..1.
        alpha: soft mask from :func:`screening.training.film_edits.soft_mask`; pixels above 0.5 stay
            unchanged.
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
