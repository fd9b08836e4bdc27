"""Find the image pixels of a film: inside collimator and shutter, without borders and padding.

PS3.3 C.7.6.11 (display shutter), C.8.7.3 (X-ray collimator). Rows and columns count from 1; the
edge itself is inside.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from screening.imaging.attributes import numbers, values

Mask = npt.NDArray[np.bool_]

SHUTTER: Final = "Shutter"
COLLIMATOR: Final = "Collimator"

# Larger than any film; larger coordinates would overflow the drawing.
_FAR: Final = 1_000_000


@dataclass(frozen=True)
class Padding:
    """Range of stored values, `low` to `high`, that only pad the rectangle (PS3.3 C.7.5.1.1.2)."""

    low: float
    high: float

    def among(self, values: npt.NDArray[Any]) -> Mask:
        """Return a mask of the `values` that are padding."""
        found: Mask = (values >= self.low) & (values <= self.high)
        return found


def padding_of(dataset: Dataset, signed: bool) -> Padding | None:
    """Return the padding that a film declares; None if it declares none.

    Args:
        signed: whether the film's stored values are signed.
    """
    stated = numbers(dataset, "PixelPaddingValue")
    if len(stated) != 1:
        return None
    limit = numbers(dataset, "PixelPaddingRangeLimit")
    ends = [stated[0], limit[0] if len(limit) == 1 else stated[0]]
    # Some writers use the other sign, although the value must be read like a pixel.
    if signed:
        ends = [end - 65536 if end >= 32768 else end for end in ends]
    else:
        ends = [end + 65536 if end < 0 else end for end in ends]
    return Padding(min(ends), max(ends))


def opening(dataset: Dataset, kind: str, rows: int, columns: int) -> Mask | None:
    """Return the area inside a :data:`SHUTTER` or :data:`COLLIMATOR`; None without a valid one.

    With several shapes, the area is their intersection.
    """
    shapes = {str(shape).strip().upper() for shape in values(dataset, f"{kind}Shape")}
    masks = []
    if "RECTANGULAR" in shapes:
        masks.append(_rectangle(dataset, kind, rows, columns))
    if "CIRCULAR" in shapes:
        masks.append(_circle(dataset, kind, rows, columns))
    if "POLYGONAL" in shapes:
        masks.append(_polygon(dataset, kind, rows, columns))
    found = [mask for mask in masks if mask is not None]
    if not found:
        return None
    for mask in found[1:]:
        found[0] &= mask
    return found[0] if found[0].any() else None


def within_borders(cells: npt.NDArray[Any]) -> tuple[slice, slice]:
    """Return the rows and columns that remain when burnt-in borders are removed.

    A border is a run of whole rows or columns at an edge that all have the same value. If the whole
    film is border, nothing is removed.
    """
    top, left = 0, 0
    bottom, right = cells.shape
    peeled = True
    while peeled and top < bottom and left < right:
        view = cells[top:bottom, left:right]
        above, below = _run(view), _run(view[::-1])
        top, bottom = top + above, bottom - below
        if top >= bottom:
            break
        view = cells[top:bottom, left:right].T
        before, after = _run(view), _run(view[::-1])
        left, right = left + before, right - after
        peeled = bool(above or below or before or after)
    if top >= bottom or left >= right:
        return slice(0, cells.shape[0]), slice(0, cells.shape[1])
    return slice(top, bottom), slice(left, right)


def _run(lines: npt.NDArray[Any]) -> int:
    """Return how many of the first lines have one common value."""
    value = lines[0, 0]
    for number, line in enumerate(lines):
        if line[-1] != value or not (line == value).all():
            return number
    return len(lines)


def _rectangle(dataset: Dataset, kind: str, rows: int, columns: int) -> Mask | None:
    names = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
    edges = [numbers(dataset, f"{kind}{name}Edge") for name in names]
    if any(len(edge) != 1 or not np.isfinite(edge[0]) for edge in edges):
        return None
    upper, lower, left, right = (int(np.clip(edge[0], -_FAR, _FAR)) for edge in edges)
    mask = np.zeros((rows, columns), np.bool_)
    mask[max(0, upper - 1) : max(0, lower), max(0, left - 1) : max(0, right)] = True
    return mask


def _circle(dataset: Dataset, kind: str, rows: int, columns: int) -> Mask | None:
    """The radius counts columns; with pixels that are not square the circle becomes an ellipse."""
    centre = numbers(dataset, f"CenterOfCircular{kind}")
    radius = numbers(dataset, f"RadiusOfCircular{kind}")
    if len(centre) != 2 or len(radius) != 1 or not np.isfinite((*centre, *radius)).all():
        return None
    down = (np.arange(1, rows + 1) - centre[0]) * _aspect(dataset)
    across = np.arange(1, columns + 1) - centre[1]
    mask: Mask = np.empty((rows, columns), np.bool_)
    limit_of_row = radius[0] ** 2 - down**2
    for row in range(rows):
        mask[row] = across**2 <= limit_of_row[row]
    return mask


def _aspect(dataset: Dataset) -> float:
    """Return the height of a pixel divided by its width."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        stated = numbers(dataset, keyword)
        if len(stated) == 2 and np.isfinite(stated).all() and min(stated) > 0:
            return stated[0] / stated[1]
    return 1.0


def _polygon(dataset: Dataset, kind: str, rows: int, columns: int) -> Mask | None:
    """Vertices are row, column, row, column; the last is joined to the first."""
    stated = numbers(dataset, f"VerticesOfThePolygonal{kind}")
    if len(stated) < 6 or len(stated) % 2 or not np.isfinite(stated).all():
        return None
    image = Image.new("L", (columns, rows))
    points = np.clip(np.array(stated).reshape(-1, 2)[:, ::-1] - 1, -_FAR, _FAR)
    ImageDraw.Draw(image).polygon([(x, y) for x, y in points.tolist()], fill=1, outline=1)
    return np.array(image).view(np.bool_)
