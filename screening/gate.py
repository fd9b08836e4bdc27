"""May this model read this film? A refusal is an answer; absent header fields are no reason."""

from typing import Final

import numpy as np

from screening.pixels.film import Grey, Header
from screening.reasons import reason

#: Modality (0008,0060): radiographs, and what exports and scanners of old films call themselves.
_MODALITIES: Final = frozenset({"CR", "DX", "DR", "RG", "XR", "XC", "SC", "OT"})

#: Words in Body Part Examined (0018,0015), PS3.16 annex L, that can mean a chest film.
_CHEST: Final = ("CHEST", "THORAX", "LUNG", "TORSO", "TRUNK")

#: View Position (0018,5101) of lateral views.
_LATERAL: Final = frozenset({"LL", "RL", "LATERAL", "LAT"})

#: The shorter side, in pixels, below which lung texture cannot be seen.
SMALLEST_SIDE: Final = 96

#: Standard deviation of the grey values, of 1, below which nothing is on the film.
_BLANK: Final = 0.01


def refuse_by_header(header: Header) -> str | None:
    """The reason not to read a film, from its header alone; None if there is none."""
    if header.modality and header.modality not in _MODALITIES:
        return reason("not_chest", f"Modality {_code(header.modality)}")
    part = header.body_part_examined
    if part and not any(word in part for word in _CHEST):
        return reason("not_chest", f"BodyPartExamined {_code(part)}")
    if header.view_position in _LATERAL:
        return reason("lateral", f"ViewPosition {_code(header.view_position)}")
    return None


def refuse_by_pixels(grey: Grey) -> str | None:
    """The reason not to read a film, from its grey values; None if there is none."""
    rows, columns = grey.shape
    if min(rows, columns) < SMALLEST_SIDE:
        return reason("too_small", f"{rows} x {columns} pixels, {SMALLEST_SIDE} are needed")
    if float(np.std(grey)) < _BLANK:
        return reason("blank")
    return None


def _code(value: str) -> str:
    """A DICOM code string (CS: at most 16 characters, no free text; PS3.5 6.2)."""
    return value if len(value) <= 16 else value[:16] + "..."
