"""Lay the lungs of one film on the outside of another.

What lies outside the lungs (markers, collimation, arms, the way a patient is placed) tells the
classes of most collections apart. A network that is trained on exchanged films cannot use it, and
a network that has used it is found out by them.
"""

from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy.ndimage import distance_transform_edt

Mask = npt.NDArray[np.bool_]

#: How much of each pixel comes from the lungs' film, shape (rows, columns), float32, 0..1.
Alpha = npt.NDArray[np.float32]

Film = TypeVar("Film", npt.NDArray[np.uint8], npt.NDArray[np.float32])

# Of the longer side: 4 and 2 pixels at 224. A mask is drawn inside the pleura, and a sharp edge
# would be a sign of its own.
_DILATION: Final = 4 / 224
_SOFTNESS: Final = 2 / 224

# A film whose grey values spread less than this, of their range, has no contrast to change.
_LEAST_SPREAD: Final = 1e-3


def dilate(mask: Mask) -> Mask:
    """The mask enlarged on all sides by 1/56 of its longer side (4 pixels at 224).

    Args:
        mask: lung fields, shape (rows, columns); one without lungs stays so.
    """
    if not mask.any():
        return mask.copy()
    near = distance_transform_edt(~mask) <= _DILATION * max(mask.shape)
    return np.asarray(near, np.bool_)


def soft_mask(mask: Mask) -> Alpha:
    """How much of each pixel belongs to the lungs: the mask dilated, its edge softened.

    It takes a few milliseconds and depends on the mask alone, so it is worth keeping.

    Args:
        mask: lung fields, shape (rows, columns).

    Returns:
        Shape (rows, columns), 0..1; 1 everywhere if the mask has no lungs, so that such a film
        keeps its outside.
    """
    if not mask.any():
        return np.ones(mask.shape, np.float32)
    image = Image.fromarray(dilate(mask).astype(np.uint8) * 255)
    soft = image.filter(ImageFilter.GaussianBlur(_SOFTNESS * max(mask.shape)))
    return np.asarray(soft, np.float32) / np.float32(255)


def exchange_outside(film: Film, alpha: Alpha, donor: Film) -> Film:
    """The lungs of `film` on the outside of `donor`.

    The film is first brought to the mean and the deviation of the donor, so that exposure does not
    tell where the lungs come from. Where the donor's lungs are larger, their rim stays visible.

    Args:
        film: shape (rows, columns), uint8 0..255 or float32 0..1.
        alpha: of the film, from :func:`soft_mask`; the same shape.
        donor: another film of the same shape and type.

    Returns:
        A new film of the same shape and type.

    Raises:
        ValueError: if the shapes differ.
    """
    if not film.shape == alpha.shape == donor.shape:
        raise ValueError(f"shapes {film.shape}, {alpha.shape} and {donor.shape} differ")
    whole = film.dtype == np.uint8
    white = 255.0 if whole else 1.0
    own, other = np.asarray(film, np.float32), np.asarray(donor, np.float32)
    gain = float(other.std()) / max(float(own.std()), _LEAST_SPREAD * white)
    mixed = own * np.float32(gain)
    mixed += np.float32(float(other.mean()) - gain * float(own.mean()))
    mixed -= other
    mixed *= alpha
    mixed += other
    np.clip(mixed, 0, white, out=mixed)
    if whole:
        np.rint(mixed, out=mixed)
    return mixed.astype(film.dtype)


def exchange_lungs(film: Film, donor: Film, donor_alpha: Alpha) -> Film:
    """The lungs of `donor` on the outside of `film`: the reverse of :func:`exchange_outside`.

    Args:
        film: shape (rows, columns), uint8 0..255 or float32 0..1.
        donor: another film of the same shape and type.
        donor_alpha: of the donor, from :func:`soft_mask`.

    Returns:
        A new film of the same shape and type.

    Raises:
        ValueError: if the shapes differ.
    """
    return exchange_outside(donor, donor_alpha, film)
