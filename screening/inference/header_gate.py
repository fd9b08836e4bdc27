"""Refuse films that the model is not meant for, by header and by pixels.

A refusal is a valid result. A missing header field is never a reason to refuse. The reason names
the attribute; from free text it quotes only the matching word of our own vocabulary, because free
text in a header may contain a person's name.
"""

import re
import unicodedata
from typing import Final

from screening.imaging.film import Code, Decoded, Header
from screening.results import Reason


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Modality (0008,0060): radiographs, and the values used by exports and scanners of old films.
_MODALITIES: Final = frozenset({"CR", "DX", "DR", "RG", "XR", "XC", "SC", "OT"})

#: Words in Body Part Examined (0018,0015), PS3.16 annex L, that can mean a chest film.
_CHEST: Final = (
    "CHEST",
    "THORAX",
    "TORAX",
    "LUNG",
    "PULM",
    "POUMON",
    "MEDIASTINUM",
    "HEART",
    "TORSO",
    "TRUNK",
)

#: Values of Body Part Examined that carry no information.
_NO_PART: Final = frozenset(
    {"UNKNOWN", "UNDEFINED", "UNSPECIFIED", "OTHER", "NONE", "NA", "N A", "DEFAULT", "BODY"}
    | {"WHOLEBODY", "WHOLE BODY"}
)

#: Anatomic regions of a chest film (PS3.16 CID 4031): SNOMED CT, and SRT codes of older films.
_CHEST_CODES: Final = _words(
    "816094009 51185008 39607008 86598002 72410000 80891009 113197003 56873002 955009 3120008 "
    "416550000 417437006 416152001 416775004 416319003 "
    "T-D3000 T-28000 T-280A0 T-D3300 T-32000 T-11300 T-11210 T-26000 T-29000 "
    "R-FAB52 R-FAB53 R-FAB54 R-FAB55 R-FAB56"
)

#: Regions that carry no information: the entire body.
_NO_REGION: Final = frozenset({"38266002", "T-D0010"})
_SNOMED: Final = frozenset({"SCT", "SRT", "SNM3", "99SDM"})

#: Lateral views (PS3.16 CID 4010): lateral, left, right, lateral-medial, medial-lateral.
_LATERAL_CODES: Final = _words(
    "399067008 399173006 399198007 399352003 399260004 R-102CD R-10236 R-10232 R-10228 R-10224"
)

#: View Position (0018,5101) of lateral views, and of frontal ones.
_LATERAL: Final = frozenset({"LL", "RL", "LATERAL", "LAT"})
_FRONTAL: Final = frozenset({"PA", "AP"})

#: The shorter side, in pixels, below which lung texture cannot be seen.
SMALLEST_SIDE: Final = 96

#: Standard deviation of the grey values (range 0..1) below which a film is blank.
_BLANK: Final = 0.01

# Free text in English, German, French and Spanish, as whole words in lower case without accents.
# Words that mean something else in another of these languages (main, pie, dos, arm) are left out.
_CHEST_WORDS: Final = re.compile(
    r"\b(chest|\w*thorax|\w*torax|lungs?|lungen?\w*|pulm\w*|poumons?|cxr|ribs?|brustkorb"
    r"|poitrine|pecho|sternum)\b"
)
_OTHER_PARTS: Final = {
    "KNEE": "knee knees knie kniegelenk genou genoux rodilla rodillas patella",
    "HAND": "hand hands hande haende mano manos",
    "WRIST": "wrist wrists handgelenk poignet muneca",
    "FINGER": "finger fingers thumb daumen doigt doigts dedo dedos",
    "ELBOW": "elbow elbows ellenbogen ellbogen coude codo",
    "FOREARM": "forearm unterarm antebrazo radius ulna",
    "UPPER ARM": "humerus oberarm humero",
    "SHOULDER": "shoulder shoulders schulter schultergelenk epaule epaules hombro hombros",
    "CLAVICLE": "clavicle clavicles schlusselbein schluesselbein clavicule clavicula klavikula",
    "FOOT": "foot feet fuss fusse fuesse pied pieds",
    "TOE": "toe toes zehe zehen orteil orteils",
    "ANKLE": "ankle ankles sprunggelenk cheville chevilles tobillo tobillos",
    "HEEL": "heel calcaneus fersenbein calcaneum calcaneo",
    "LEG": "leg legs unterschenkel jambe jambes pierna piernas tibia fibula",
    "THIGH": "thigh femur oberschenkel cuisse muslo",
    "HIP": "hip hips hufte huefte huftgelenk hueftgelenk hanche hanches cadera caderas",
    "PELVIS": "pelvis becken beckenubersicht beckenuebersicht bassin",
    "ABDOMEN": "abdomen abdominal abdomenubersicht abdomenuebersicht bauch kub ventre",
    "SPINE": "spine spinal lspine cspine tspine lumbar cervical sacrum coccyx vertebral rachis "
    "columna wirbelsaule wirbelsaeule lendenwirbelsaule halswirbelsaule brustwirbelsaule "
    "lendenwirbelsaeule halswirbelsaeule brustwirbelsaeule lws hws bws lombaire lumbares",
    "SKULL": "skull schadel schaedel crane craneo",
    "FACE": "facial mandible unterkiefer mandibule mandibula sinuses nasennebenhohlen",
    "TEETH": "dental teeth zahn zahne zaehne dents dientes",
    "BREAST": "mammography mammographie mammografia mammogram",
}
_OTHER_WORDS: Final = {word: part for part, words in _OTHER_PARTS.items() for word in words.split()}
_LATERAL_WORDS: Final = {
    "lat": "LAT",
    "lateral": "LATERAL",
    "laterale": "LATERAL",
    "seitlich": "SEITLICH",
    "profil": "PROFIL",
    "perfil": "PROFIL",
}
# A lateral decubitus is the patient's position; its view is frontal (PS3.3 C.8.11.5).
_FRONTAL_WORDS: Final = re.compile(
    r"\b(pa|ap|p\.a|a\.p|frontal\w*|frente|face|(postero|antero)-?(anterior|posterior)|decub\w*)\b"
)


def refuse_by_header(header: Header) -> Reason | None:
    """Return the reason to refuse a film by its header alone, or None."""
    return _not_chest(header) or _lateral(header)


def _not_chest(header: Header) -> Reason | None:
    if header.modality and header.modality not in _MODALITIES:
        return Reason("not_chest", f"Modality {_code(header.modality)}")
    part = header.body_part_examined
    if part and part.replace("_", " ") not in _NO_PART:
        if any(word in part for word in _CHEST):
            return None
        return Reason("not_chest", f"BodyPartExamined {_code(part)}")
    regions = [code for code in header.anatomic_regions if code.value not in _NO_REGION]
    if regions:
        return _no_chest_region(regions)
    return _no_chest_text(header)


def _no_chest_region(regions: list[Code]) -> Reason | None:
    """Return None if one of the coded regions is the chest, or if we know none of them."""
    meanings = [_plain(code.meaning) for code in regions]
    if any(code.value in _CHEST_CODES for code in regions):
        return None
    if any(_CHEST_WORDS.search(meaning) for meaning in meanings):
        return None
    for meaning in meanings:
        word = _other_part(meaning)
        if word:
            return Reason("not_chest", f"AnatomicRegionSequence names {word}")
    if any(code.scheme.upper() in _SNOMED for code in regions):
        return Reason("not_chest", "AnatomicRegionSequence does not name a chest region")
    return None


def _no_chest_text(header: Header) -> Reason | None:
    """Refuse if the descriptions name another part of the body and none names the chest."""
    texts = [
        ("BodyPartExamined", header.body_part_text),
        ("SeriesDescription", header.series_description),
        ("ProtocolName", header.protocol_name),
        ("PerformedProcedureStepDescription", header.performed_procedure_step_description),
        ("RequestedProcedureDescription", header.requested_procedure_description),
        ("StudyDescription", header.study_description),
        *(("ProcedureCodeSequence", code.meaning) for code in header.procedure_codes),
    ]
    plain = [(name, _plain(text)) for name, text in texts]
    if any(_CHEST_WORDS.search(text) for _name, text in plain):
        return None
    for name, text in plain:
        word = _other_part(text)
        if word:
            return Reason("not_chest", f"{name} names {word}")
    return None


def _lateral(header: Header) -> Reason | None:
    if header.view_position in _LATERAL:
        return Reason("lateral", f"ViewPosition {_code(header.view_position)}")
    meanings = (_plain(code.meaning) for code in header.views)
    if any(code.value in _LATERAL_CODES for code in header.views) or any(
        _lateral_word(meaning) for meaning in meanings
    ):
        return Reason("lateral", "ViewCodeSequence names LATERAL")
    # The rows of a frontal film run from one side of the patient to the other.
    if header.patient_orientation and header.patient_orientation[0][:1] in ("A", "P"):
        return Reason("lateral", "PatientOrientation says that rows run from front to back")
    return None if header.view_position in _FRONTAL else _lateral_text(header)


def _lateral_text(header: Header) -> Reason | None:
    """Decide by the first of these texts that names a view."""
    for name, text in (
        ("SeriesDescription", _plain(header.series_description)),
        ("ProtocolName", _plain(header.protocol_name)),
    ):
        if _FRONTAL_WORDS.search(text):
            break
        word = _lateral_word(text)
        if word:
            return Reason("lateral", f"{name} names {word}")
    return None


def _other_part(text: str) -> str:
    """Return our name for the first body part in a plain text that is not the chest, or ''."""
    words = re.findall(r"[a-z]+", text)
    return next((_OTHER_WORDS[word] for word in words if word in _OTHER_WORDS), "")


def _lateral_word(text: str) -> str:
    """Return the word for a lateral view in a plain text that names no frontal view, or ''."""
    if _FRONTAL_WORDS.search(text):
        return ""
    words = re.findall(r"[a-z]+", text)
    return next((_LATERAL_WORDS[word] for word in words if word in _LATERAL_WORDS), "")


def _plain(text: str) -> str:
    """Convert to lower case without accents; underscores become spaces."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(x for x in letters if not unicodedata.combining(x)).replace("_", " ")


def refuse_by_pixels(film: Decoded) -> Reason | None:
    """Return the reason to refuse a film by its grey values, or None."""
    rows, columns = film.rows, film.columns
    if min(rows, columns) < SMALLEST_SIDE:
        return Reason(
            "too_small",
            f"{rows} x {columns} pixels, at least {SMALLEST_SIDE} are needed on each side",
        )
    if film.deviation < _BLANK:
        return Reason("blank")
    return None


def _code(value: str) -> str:
    """Return a valid DICOM code string (CS, PS3.5 6.2) unchanged; never quote anything else.

    A code string holds no free text.
    """
    return value if re.fullmatch(r"[A-Z0-9 _]{1,16}", value) else "is not a code"
