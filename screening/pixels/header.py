"""The header of a DICOM film as plain data: what the gate, the report and its subsets need."""

import re
from typing import Final

from pydicom.dataset import Dataset

from screening.pixels.attributes import items, text, values
from screening.pixels.film import Code, Header

# PS3.5 6.2, value representation CS.
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{1,16}")

# PS3.3 C.7.6.1.1.1: up to three letters, the main direction first.
_DIRECTION: Final = re.compile(r"[APRLHF]{1,3}")

# What the gate looks at of a text (LO has 64 characters, PS3.5 6.2) and of a sequence.
_MOST_CHARACTERS: Final = 1024
_MOST_ITEMS: Final = 16

_YEARS_IN: Final = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_header(dataset: Dataset) -> Header:
    """What a data set says about its film; what is absent or makes no sense stays empty."""
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
    """All values of a text, one after the other."""
    return " ".join(str(value) for value in values(dataset, keyword))[:_MOST_CHARACTERS]


def _sex(dataset: Dataset) -> str:
    value = text(dataset, "PatientSex").upper()
    return value if value in ("M", "F", "O") else ""


def _years(dataset: Dataset) -> int | None:
    """PatientAge (``045Y``, ``018M``, ``003W``, ``010D``; PS3.5 6.2) in whole years."""
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
    """At most 64 characters (LO, PS3.5 6.2) without control characters."""
    return "".join(character for character in value if character.isprintable())[:64]
