"""Attributes, header and pixel layout of a DICOM data set as plain values (PS3.3, PS3.5).

Invalid values count as missing, or raise an error that names the attribute.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from screening.errors import UnreadableFilm
from screening.imaging.film import Code, Header

_LONGEST: Final = 1024


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """Return all values of an attribute; empty if it is absent, empty or cannot be parsed."""
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # Invalid values raise arbitrary exceptions; a single attribute must not fail the film.
    except Exception:  # noqa: BLE001
        return ()
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        # pydicom could not resolve "US or SS": return words; the caller knows their sign.
        return tuple(int(word) for word in np.frombuffer(value[: len(value) // 2 * 2], "<u2"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return (value,)


def text(dataset: Dataset, keyword: str) -> str:
    """Return the first value as text without surrounding whitespace; empty if there is none.

    Valid text used here has at most 64 characters (LO, PS3.5 6.2), but damaged text may be longer.
    """
    found = values(dataset, keyword)
    return "" if not found else str(found[0])[:_LONGEST].strip(" \0\t\r\n")


def code(dataset: Dataset, keyword: str) -> str:
    """Return a code string (CS) in upper case, as the standard requires."""
    return text(dataset, keyword).upper()


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return all values as numbers, possibly not finite; empty if any value is not a number."""
    try:
        return tuple(float(value) for value in values(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return a single integer.

    Raises:
        UnreadableFilm: if it is absent and has no default, or is not a single integer.
    """
    if default is not None and _is_empty(dataset, keyword):
        return default
    found = numbers(dataset, keyword)
    if len(found) != 1 or not np.isfinite(found[0]) or found[0] != int(found[0]):
        raise UnreadableFilm("not_decodable", f"{keyword} is missing or not a single whole number")
    return int(found[0])


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; empty if it is absent or not a sequence."""
    return tuple(item for item in values(dataset, keyword) if isinstance(item, Dataset))


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    if keyword not in dataset:
        return True
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # As above: the attribute has a value, although it cannot be parsed.
    except Exception:  # noqa: BLE001
        return False
    return value is None or value in ("", [])


# PS3.5 6.2, value representation CS.
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{1,16}")

# PS3.3 C.7.6.1.1.1: up to three letters, the main direction first.
_DIRECTION: Final = re.compile(r"[APRLHF]{1,3}")

# Limits for the header gate: characters of a text (LO has 64, PS3.5 6.2) and items of a sequence.
_MOST_CHARACTERS: Final = 1024
_MOST_ITEMS: Final = 16

_YEARS_IN: Final = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_header(dataset: Dataset) -> Header:
    """Read the metadata of a data set; absent or invalid attributes stay empty."""
    part = text(dataset, "BodyPartExamined").upper()
    return Header(
        modality=_code_string(dataset, "Modality"),
        body_part_examined=_code_string(dataset, "BodyPartExamined"),
        view_position=_code_string(dataset, "ViewPosition"),
        patient_sex=_sex(dataset),
        patient_age=_years(dataset),
        manufacturer=_printable(text(dataset, "Manufacturer")),
        patient_orientation=_orientation(dataset),
        burned_in_annotation=_code_string(dataset, "BurnedInAnnotation"),
        patient_id=text(dataset, "PatientID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        instance_uid=text(dataset, "SOPInstanceUID"),
        body_part_text="" if _CODE_STRING.fullmatch(part) else part[:_MOST_CHARACTERS],
        study_description=_free_text(dataset, "StudyDescription"),
        series_description=_free_text(dataset, "SeriesDescription"),
        protocol_name=_free_text(dataset, "ProtocolName"),
        requested_procedure_description=_free_text(dataset, "RequestedProcedureDescription"),
        performed_procedure_step_description=_free_text(
            dataset, "PerformedProcedureStepDescription"
        ),
        procedure_codes=_codes(dataset, "ProcedureCodeSequence"),
        anatomic_regions=_codes(dataset, "AnatomicRegionSequence"),
        views=_codes(dataset, "ViewCodeSequence"),
    )


def _code_string(dataset: Dataset, keyword: str) -> str:
    value = text(dataset, keyword).upper()
    return value if _CODE_STRING.fullmatch(value) else ""


def _free_text(dataset: Dataset, keyword: str) -> str:
    """Return all values of a text attribute, joined by spaces."""
    return " ".join(str(value) for value in values(dataset, keyword))[:_MOST_CHARACTERS]


def _sex(dataset: Dataset) -> str:
    value = text(dataset, "PatientSex").upper()
    return value if value in ("M", "F", "O") else ""


def _years(dataset: Dataset) -> int | None:
    """Return PatientAge (``045Y``, ``018M``, ``003W``, ``010D``; PS3.5 6.2) in whole years."""
    age = text(dataset, "PatientAge")
    if len(age) != 4 or not age[:3].isdecimal() or age[3] not in _YEARS_IN:
        return None
    return int(int(age[:3]) * _YEARS_IN[age[3]] + 1e-9)


def _orientation(dataset: Dataset) -> tuple[str, ...]:
    directions = tuple(str(value).strip() for value in values(dataset, "PatientOrientation"))
    sane = all(_DIRECTION.fullmatch(direction) for direction in directions)
    return directions if len(directions) == 2 and sane else ()


def _codes(dataset: Dataset, keyword: str) -> tuple[Code, ...]:
    parts = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    return tuple(
        Code(*(text(item, part)[:_MOST_CHARACTERS] for part in parts))
        for item in items(dataset, keyword)[:_MOST_ITEMS]
    )


def _printable(value: str) -> str:
    """Return at most 64 characters (LO, PS3.5 6.2) without control characters."""
    return "".join(character for character in value if character.isprintable())[:64]


MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE: Final = "PALETTE COLOR"
_ONE_SAMPLE: Final = MONOCHROME | {PALETTE}
_THREE_SAMPLES: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB"}
)


@dataclass(frozen=True)
class ImagePixel:
    """The attributes that describe how stored values are packed, checked for consistency.

    Attributes:
        planar: colour by plane instead of by pixel (Planar Configuration 1).
        allocated: bits of a cell; `stored` of them, the highest at `high`, hold the value.
        signed: two's complement (Pixel Representation 1).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: bool
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def subsampled(self) -> bool:
        """True if two neighbouring pixels share their chroma (YBR_FULL_422, PS3.3 C.7.6.3.1.2)."""
        return self.photometric.endswith("_422")


def read_image_pixel(dataset: Dataset) -> ImagePixel:
    """Read the pixel layout of a film.

    Raises:
        UnreadableFilm: if an attribute is missing, contradictory or not supported; the message
            names it.
    """
    allocated = whole(dataset, "BitsAllocated")
    stored = whole(dataset, "BitsStored", allocated)
    if allocated not in (1, 8, 16, 32):
        raise UnreadableFilm("unsupported", f"BitsAllocated {allocated}")
    if not 1 <= stored <= allocated:
        raise UnreadableFilm(
            "not_decodable", f"BitsStored {stored} does not fit BitsAllocated {allocated}"
        )
    samples = whole(dataset, "SamplesPerPixel", 1)
    photometric = _photometric(dataset, samples)
    high = whole(dataset, "HighBit", stored - 1)
    return ImagePixel(
        rows=whole(dataset, "Rows"),
        columns=whole(dataset, "Columns"),
        frames=max(1, whole(dataset, "NumberOfFrames", 1)),
        samples=samples,
        photometric=photometric,
        planar=samples > 1 and whole(dataset, "PlanarConfiguration", 0) == 1,
        allocated=allocated,
        stored=stored,
        # A high bit without room for the value is a writer's mistake (PS3.5 8.1.1).
        high=high if stored - 1 <= high < allocated else stored - 1,
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
    )


def _photometric(dataset: Dataset, samples: int) -> str:
    photometric = code(dataset, "PhotometricInterpretation")
    if not photometric:
        raise UnreadableFilm("not_decodable", "PhotometricInterpretation is missing")
    if samples not in (1, 3):
        raise UnreadableFilm("unsupported", f"SamplesPerPixel {samples}")
    if photometric not in _ONE_SAMPLE | _THREE_SAMPLES:
        raise UnreadableFilm("unsupported", "an unknown PhotometricInterpretation")
    if (samples == 1) != (photometric in _ONE_SAMPLE):
        raise UnreadableFilm("not_decodable", f"{photometric} with SamplesPerPixel {samples}")
    return photometric
