"""Convert colour to grey, with the weights of ITU-R BT.601."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.imaging.film import Grey

_WEIGHTS: Final = (0.299, 0.587, 0.114)

#: Pixels processed at a time, so that float64 arithmetic needs memory for a few rows only.
BLOCK: Final = 1 << 18


def blocks(rows: int, columns: int, multiple: int = 1) -> list[slice]:
    """Return runs of rows, each of about :data:`BLOCK` pixels.

    Args:
        multiple: number that divides the row count of all runs except the last.
    """
    step = max(1, BLOCK // max(1, columns) // multiple) * multiple
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def luma(red: npt.NDArray[Any], green: npt.NDArray[Any], blue: npt.NDArray[Any]) -> Any:
    """Return the grey value of a colour, in the range of its samples."""
    return _WEIGHTS[0] * red + _WEIGHTS[1] * green + _WEIGHTS[2] * blue


def grey_of_colour(
    samples: npt.NDArray[Any], bits: int, colour: str = "RGB", alpha: bool = False
) -> Grey:
    """Return the grey values of a colour image, 0 to 1.

    Args:
        samples: shape (rows, columns, 3), or one more channel if `alpha`.
        bits: bits of a sample.
        colour: RGB; YBR_FULL (PS3.3 C.7.6.3.1.2) or YBR_PARTIAL (the retired studio range).
        alpha: whether the last sample is opacity; the image is composited over black.
    """
    rows, columns = samples.shape[:2]
    grey = np.empty((rows, columns), np.float32)
    top = float((1 << bits) - 1)
    for block in blocks(rows, columns):
        part = samples[block].astype(np.float64)
        if part.shape[2] < 3:
            value = part[..., 0]
        else:
            red, green, blue = _rgb(part, bits, colour)
            value = luma(red, green, blue)
        grey[block] = value / top * (part[..., -1] / top) if alpha else value / top
    return np.clip(grey, 0, 1, out=grey)


def _rgb(part: npt.NDArray[Any], bits: int, colour: str) -> tuple[Any, Any, Any]:
    if colour == "RGB":
        return part[..., 0], part[..., 1], part[..., 2]
    top, middle = float((1 << bits) - 1), float(1 << (bits - 1))
    y, cb, cr = part[..., 0], part[..., 1] - middle, part[..., 2] - middle
    if colour == "YBR_PARTIAL":
        unit = float(1 << bits) / 256
        y, cb, cr = ((y / unit - 16) * top / 219, cb / unit * top / 224, cr / unit * top / 224)
    red = y + 1.402 * cr
    green = y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587
    blue = y + 1.772 * cb
    return tuple(np.clip(channel, 0, top) for channel in (red, green, blue))  # type: ignore[return-value]
