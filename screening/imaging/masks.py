"""Which pixels are image: inside collimator and shutter, not a burnt-in border, and no padding.

PS3.3 C.7.6.11 (display shutter), C.8.7.3 (X-ray collimator). Rows and columns count from 1; the
edge itself is inside.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from screening.imaging.film import numbers, values

Mask = npt.NDArray[np.bool_]

SHUTTER: Final = "Shutter"
COLLIMATOR: Final = "Collimator"

# Beyond any film; larger numbers would overflow the drawing.
_FAR: Final = 1_000_000


@dataclass(frozen=True)
class Padding:
    """Stored values from `low` to `high` only fill up the rectangle (PS3.3 C.7.5.1.1.2)."""

    low: float
    high: float

    def among(self, values: npt.NDArray[Any]) -> Mask:
        """Where `values` are padding."""
        found: Mask = (values >= self.low) & (values <= self.high)
        return found


def padding_of(dataset: Dataset, signed: bool) -> Padding | None:
    """What a film says of its padding; None if it says nothing.

    Args:
        signed: what its stored values are.
    """
    said = numbers(dataset, "PixelPaddingValue")
    if len(said) != 1:
        return None
    limit = numbers(dataset, "PixelPaddingRangeLimit")
    ends = [said[0], limit[0] if len(limit) == 1 else said[0]]
    # Some write it with the other sign, though it is to be read like a pixel.
    if signed:
        ends = [end - 65536 if end >= 32768 else end for end in ends]
    else:
        ends = [end + 65536 if end < 0 else end for end in ends]
    return Padding(min(ends), max(ends))


def opening(dataset: Dataset, kind: str, rows: int, columns: int) -> Mask | None:
    """What a :data:`SHUTTER` or :data:`COLLIMATOR` leaves open; None without one that makes sense.

    Of several shapes only what is inside of all is open.
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
    """Rows and columns left when burnt-in borders are peeled off.

    A border is a run of whole rows or columns that reach the edge and are of one exact value.
    Nothing is peeled off a film that is all border.
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
    """How many first lines are of one value, the same in all of them."""
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
    """The radius counts columns; pixels that are not square make an ellipse of it."""
    centre = numbers(dataset, f"CenterOfCircular{kind}")
    radius = numbers(dataset, f"RadiusOfCircular{kind}")
    if len(centre) != 2 or len(radius) != 1 or not np.isfinite((*centre, *radius)).all():
        return None
    down = (np.arange(1, rows + 1) - centre[0]) * _aspect(dataset)
    across = np.arange(1, columns + 1) - centre[1]
    mask: Mask = np.empty((rows, columns), np.bool_)
    room = radius[0] ** 2 - down**2
    for row in range(rows):
        mask[row] = across**2 <= room[row]
    return mask


def _aspect(dataset: Dataset) -> float:
    """Height of a pixel by its width."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        said = numbers(dataset, keyword)
        if len(said) == 2 and np.isfinite(said).all() and min(said) > 0:
            return said[0] / said[1]
    return 1.0


def _polygon(dataset: Dataset, kind: str, rows: int, columns: int) -> Mask | None:
    """Vertices are row, column, row, column; the last is joined to the first."""
    said = numbers(dataset, f"VerticesOfThePolygonal{kind}")
    if len(said) < 6 or len(said) % 2 or not np.isfinite(said).all():
        return None
    image = Image.new("L", (columns, rows))
    points = np.clip(np.array(said).reshape(-1, 2)[:, ::-1] - 1, -_FAR, _FAR)
    ImageDraw.Draw(image).polygon([(x, y) for x, y in points.tolist()], fill=1, outline=1)
    return np.array(image).view(np.bool_)
