"""Synthetic films: a ramp, a disc and noise, identical on every machine."""

import numpy as np
import numpy.typing as npt

#: Odd in both directions, so that 8-bit samples need a pad byte.
ODD = (35, 33)
EVEN = (32, 40)


def noise(shape: tuple[int, int], seed: int) -> npt.NDArray[np.int64]:
    """Pseudorandom values 0..65535, with integers only (a xorshift of the pixel's number)."""
    state = np.arange(1, shape[0] * shape[1] + 1, dtype=np.uint64) * np.uint64(2654435761 + seed)
    for left, right in ((13, 7), (17, 9)):
        state ^= state << np.uint64(left)
        state ^= state >> np.uint64(right)
    return ((state >> np.uint64(24)) % np.uint64(65536)).astype(np.int64).reshape(shape)


def phantom(bits: int, shape: tuple[int, int] = EVEN, seed: int = 1) -> npt.NDArray[np.int64]:
    """Values 0..2**bits - 1, both ends included; a third of the range is noise."""
    top = 2**bits - 1
    y, x = np.mgrid[: shape[0], : shape[1]]
    ramp = (3 * x + 2 * y) * (top // 3) // (3 * shape[1] + 2 * shape[0])
    inside = (2 * x - shape[1]) ** 2 + (2 * y - shape[0]) ** 2 < min(shape) ** 2 // 2
    film = ramp + np.where(inside, top // 3, 0) + noise(shape, seed) * (top // 3) // 65535
    film[0, :2] = 0, top
    return film


def colour(shape: tuple[int, int] = EVEN) -> npt.NDArray[np.uint8]:
    """Red, green and blue with different gradients, shape (rows, columns, 3)."""
    red = phantom(8, shape, seed=2)
    green = phantom(8, shape, seed=3)[::-1]
    blue = 255 - phantom(8, shape, seed=4)[:, ::-1]
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def smooth(shape: tuple[int, int] = EVEN) -> npt.NDArray[np.uint8]:
    """Colours well inside the gamut, so that no conversion clips, shape (rows, columns, 3)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    red, green, blue = 60 + 2 * x, 90 + 2 * y, 180 - x - y
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def luma(rgb: npt.NDArray[np.generic], top: int = 255) -> npt.NDArray[np.float64]:
    """Grey of a colour, 0..1, by ITU-R BT.601: the Y of PS3.3 C.7.6.3.1.2."""
    return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / top
