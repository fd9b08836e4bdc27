"""Stored values to what a reader would see: modality LUT, VOI LUT or window, presentation shape.

DICOM PS3.3 C.11.1 (modality), C.11.2 (VOI), C.11.6 (presentation); the pipeline is PS3.4 N.2.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from screening.errors import UnreadableFilm
from screening.pixels.film import Grey

#: Without a window, this share of the values at each end is left out of the grey range.
TAIL_PERCENT: Final = 0.5

_REC601: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def render(dataset: Dataset, stored: npt.NDArray[Any]) -> Grey:
    """Grey values of one frame.

    Args:
        dataset: the attributes of the film; the pixel data are not touched.
        stored: stored values, shape (rows, columns) or (rows, columns, 3) for colour.

    Raises:
        UnreadableFilm: if the film has neither one nor three samples a pixel.
    """
    if stored.ndim == 3 and stored.shape[2] == 3:
        top = np.float32(np.iinfo(stored.dtype).max)
        return np.asarray(stored.astype(np.float32) @ _REC601 / top, dtype=np.float32)
    if stored.ndim != 2:
        raise UnreadableFilm("unsupported", f"pixel data of shape {stored.shape}")
    values, low, high = _displayed(dataset, stored)
    if high == low:
        return np.zeros(stored.shape, np.float32)
    scaled = (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    grey: Grey = np.clip(scaled, 0, 1)
    return np.float32(1) - grey if _inverted(dataset) else grey


def _displayed(dataset: Dataset, stored: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float, float]:
    """Values after modality and VOI transformation, with the ends of the output range."""
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        return _looked_up(dataset.VOILUTSequence[0], values)
    if _first(dataset, "WindowWidth") is not None and _first(dataset, "WindowCenter") is not None:
        windowed = apply_voi_lut(values, dataset)
        # The window function's own ends, asked of the function itself, are the output range.
        beyond = np.array([-1e12, 1e12])
        with np.errstate(over="ignore"):  # a sigmoid's exponential, which is 1 / infinity then
            low, high = apply_voi_lut(beyond, dataset)
        return windowed, float(low), float(high)
    low, high = np.percentile(values, (TAIL_PERCENT, 100 - TAIL_PERCENT))
    return values, float(low), float(high)


def _looked_up(table: Dataset, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float, float]:
    """Apply a VOI LUT (PS3.3 C.11.2.1.1); values beyond its ends take the first or last entry.

    pydicom's own function indexes with the type of the entries, so that a table of 8-bit entries
    wraps at 256.
    """
    entries, first, bits = (int(number) for number in table.LUTDescriptor)
    data = table.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2")
    lut = np.asarray(data)[: entries or 2**16]
    index = np.clip(np.rint(values) - first, 0, len(lut) - 1).astype(np.intp)
    return lut[index], 0.0, float(2**bits - 1)


def _inverted(dataset: Dataset) -> bool:
    """True if the lowest value is white. Presentation LUT Shape says so; MONOCHROME1 implies it."""
    shape = str(dataset.get("PresentationLUTShape") or "")
    if shape:
        return shape == "INVERSE"
    return bool(dataset.get("PhotometricInterpretation") == "MONOCHROME1")


def _first(dataset: Dataset, keyword: str) -> Any:
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    return value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value
