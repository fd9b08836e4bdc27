import numpy as np
import pytest

from makers import grey_film
from screening.imaging.film import Code, Decoded, Grey, Header
from screening.inference.header_gate import refuse_by_header, refuse_by_pixels
from screening.results import Reason


def grey(rows: int, columns: int) -> np.ndarray:
    film = grey_film(1, side=max(rows, columns)).astype(np.float32) / np.float32(255)
    return film[:rows, :columns]


def test_film_with_an_empty_header_is_accepted() -> None:
    assert refuse_by_header(Header()) is None


# CR, DX, RG: PS3.3 C.7.3.1.1.1; SC, OT: converted and digitised films.
@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "SC", "OT"])
def test_radiography_modalities_are_accepted(modality: str) -> None:
    assert refuse_by_header(Header(modality=modality)) is None


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "MG", "NM", "PT", "ECG", "SR"])
def test_other_modalities_are_refused_by_name(modality: str) -> None:
    said = refuse_by_header(Header(modality=modality))
    assert said is not None
    assert said.code == "not_chest"
    assert modality in said.detail


@pytest.mark.parametrize("part", ["CHEST", "THORAX", "LUNG", "CHEST PA", "CHESTABDOMEN"])
def test_chest_body_parts_are_accepted(part: str) -> None:
    assert refuse_by_header(Header(body_part_examined=part)) is None


@pytest.mark.parametrize("part", ["HAND", "ABDOMEN", "SKULL", "LSPINE"])
def test_other_body_parts_are_refused_by_name(part: str) -> None:
    said = refuse_by_header(Header(modality="DX", body_part_examined=part))
    assert said is not None
    assert said.code == "not_chest"
    assert part in said.detail


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LAT"])
def test_lateral_view_positions_are_refused(view: str) -> None:
    said = refuse_by_header(Header(view_position=view))
    assert said is not None
    assert said.code == "lateral"


# LLD and RLD are decubitus: the patient lies on one side, the view is frontal (PS3.3 C.8.11.5).
@pytest.mark.parametrize("view", ["", "PA", "AP", "LLD", "RLD"])
def test_frontal_view_positions_are_accepted(view: str) -> None:
    assert refuse_by_header(Header(view_position=view)) is None


@pytest.mark.parametrize("part", ["UNKNOWN", "OTHER", "NONE", "WHOLEBODY", "WHOLE_BODY"])
def test_unspecific_body_part_is_accepted(part: str) -> None:
    assert refuse_by_header(Header(body_part_examined=part)) is None


def test_free_text_in_a_code_is_not_quoted() -> None:
    said = refuse_by_header(Header(body_part_examined="LEFT HAND OF MRS MUSTERFRAU"))
    assert said is not None
    assert said.code == "not_chest"
    assert "MUSTER" not in str(said)


# SNOMED CT and SRT codes of PS3.16 CID 4031.
@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (Code("51185008", "SCT", "Chest"), None),
        (Code("816094009", "SCT", "Chest"), None),
        (Code("T-D3000", "SRT", "Chest"), None),
        (Code("T-28000", "SNM3", "Lung"), None),
        (Code("416550000", "SCT", "Chest and Abdomen"), None),
        (Code("38266002", "SCT", "Entire body"), None),
        (Code("X1", "99LOCAL", "Thorax pa"), None),
        (Code("X2", "99LOCAL", "something"), None),
        (Code("72696002", "SCT", "Knee"), "names KNEE"),
        (Code("X3", "99LOCAL", "Genou gauche"), "names KNEE"),
        (Code("81745001", "SCT", "Eye"), "does not name a chest region"),
        (Code("T-AA000", "SRT", "Musterfrau"), "does not name a chest region"),
    ],
    ids=lambda value: getattr(value, "meaning", None),
)
def test_coded_region_other_than_chest_is_refused(code: Code, refusal: str | None) -> None:
    said = refuse_by_header(Header(anatomic_regions=(code,)))
    if refusal is None:
        assert said is None
    else:
        assert said.code == "not_chest"
        assert said.detail == f"AnatomicRegionSequence {refusal}"


def test_one_chest_among_several_regions_is_accepted() -> None:
    regions = (Code("72696002", "SCT", "Knee"), Code("51185008", "SCT", "Chest"))
    assert refuse_by_header(Header(anatomic_regions=regions)) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Knee left, Mrs Musterfrau", "KNEE"),
        ("XR HAND 2 VIEWS", "HAND"),
        ("Knie ap", "KNEE"),
        ("Schädel in 2 Ebenen", "SKULL"),
        ("Röntgen: Hüfte rechts", "HIP"),
        ("Fuß seitlich", "FOOT"),
        ("ÉPAULE DROITE", "SHOULDER"),
        ("rodilla izquierda", "KNEE"),
        ("Columna lumbar", "SPINE"),
        ("Pelvis_AP", "PELVIS"),
        ("Thoracic spine", "SPINE"),
    ],
)
def test_text_that_names_another_body_part_is_refused(text: str, word: str) -> None:
    said = refuse_by_header(Header(study_description=text))
    assert said == Reason("not_chest", f"StudyDescription names {word}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CHEST AND ABDOMEN",
        "Thorax p.a., Knie links",
        "RX torax y abdomen",
        "Radio du poumon, épaule",
        "Ribs and shoulder",
        "CXR, hip fracture",
        "Röntgenthorax Becken",
        "handheld unit",
        "Legende",
        "Mr Footman",
    ],
)
def test_text_with_chest_or_no_body_part_is_accepted(text: str) -> None:
    assert refuse_by_header(Header(study_description=text)) is None


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("study_description", "StudyDescription"),
        ("series_description", "SeriesDescription"),
        ("protocol_name", "ProtocolName"),
        ("requested_procedure_description", "RequestedProcedureDescription"),
        ("performed_procedure_step_description", "PerformedProcedureStepDescription"),
        ("body_part_text", "BodyPartExamined"),
    ],
)
def test_every_text_field_is_checked_and_named(field: str, name: str) -> None:
    said = refuse_by_header(Header(**{field: "knee"}))
    assert said == Reason("not_chest", f"{name} names KNEE")
    assert refuse_by_header(Header(**{field: "chest"}, procedure_codes=(KNEE,))) is None


KNEE = Code("1", "L", "XR Knee Musterfrau")


def test_meaning_of_a_procedure_code_is_checked() -> None:
    said = refuse_by_header(Header(procedure_codes=(KNEE,)))
    assert said == Reason("not_chest", "ProcedureCodeSequence names KNEE")


def test_codes_take_precedence_over_texts() -> None:
    assert refuse_by_header(Header(study_description="knee", body_part_examined="CHEST")) is None
    chest = (Code("51185008", "SCT", "Chest"),)
    assert refuse_by_header(Header(study_description="knee", anatomic_regions=chest)) is None


# PS3.16 CID 4010.
@pytest.mark.parametrize(
    ("code", "lateral"),
    [
        (Code("399067008", "SCT", "lateral"), True),
        (Code("R-10236", "SRT", "left lateral"), True),
        (Code("R-10232", "SNM3", ""), True),
        (Code("X", "99LOCAL", "Seitlich"), True),
        (Code("R-10206", "SRT", "antero-posterior"), False),
        (Code("R-10214", "SRT", "postero-anterior"), False),
        (Code("X", "99LOCAL", "AP left lateral decubitus"), False),
    ],
    ids=lambda value: getattr(value, "meaning", None),
)
def test_coded_lateral_view_is_refused(code: Code, lateral: bool) -> None:
    said = refuse_by_header(Header(views=(code,)))
    expected = Reason("lateral", "ViewCodeSequence names LATERAL")
    assert said == (expected if lateral else None)


# PS3.3 C.7.6.1.1.1: the first value is the direction of the rows.
@pytest.mark.parametrize(
    ("orientation", "lateral"),
    [
        (("L", "F"), False),
        (("R", "F"), False),
        (("LA", "F"), False),
        (("A", "F"), True),
        (("P", "F"), True),
        (("AL", "F"), True),
        ((), False),
    ],
    ids=str,
)
def test_anteroposterior_row_direction_is_refused_as_lateral(
    orientation: tuple[str, ...], lateral: bool
) -> None:
    said = refuse_by_header(Header(patient_orientation=orientation))
    assert (said is not None) == lateral
    assert said is None or said.code == "lateral"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("CHEST LAT", "LAT"),
        ("Lateral, Musterfrau", "LATERAL"),
        ("Thorax seitlich", "SEITLICH"),
        ("Thorax de profil", "PROFIL"),
        ("Thorax_LAT.", "LAT"),
        ("PA and lateral", ""),
        ("LAT/AP", ""),
        ("frontal y lateral", ""),
        ("left lateral decubitus", ""),
        ("Chest flat panel", ""),
        ("bilateral", ""),
        ("Thorax p.a. und seitlich", ""),
    ],
)
@pytest.mark.parametrize(
    ("field", "name"),
    [("series_description", "SeriesDescription"), ("protocol_name", "ProtocolName")],
)
def test_text_that_names_only_a_lateral_view_is_refused(
    field: str, name: str, text: str, word: str
) -> None:
    said = refuse_by_header(Header(**{field: text}))
    assert said == (Reason("lateral", f"{name} names {word}") if word else None)


def test_view_position_takes_precedence_over_texts() -> None:
    assert refuse_by_header(Header(view_position="PA", series_description="LAT")) is None


def decoded(grey: Grey) -> Decoded:
    return Decoded(grey, (), *grey.shape)


@pytest.mark.parametrize(("rows", "columns"), [(95, 512), (512, 95), (1, 1)])
def test_film_with_a_side_under_96_pixels_is_too_small(rows: int, columns: int) -> None:
    said = refuse_by_pixels(decoded(grey(rows, columns)))
    assert said is not None
    assert said.code == "too_small"
    assert f"{rows} x {columns}" in said.detail


@pytest.mark.parametrize(("rows", "columns"), [(96, 96), (96, 512), (512, 96)])
def test_film_with_sides_of_96_pixels_is_accepted(rows: int, columns: int) -> None:
    assert refuse_by_pixels(decoded(grey(rows, columns))) is None


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_film_with_a_single_value_is_blank(level: float) -> None:
    said = refuse_by_pixels(decoded(np.full((128, 128), level, np.float32)))
    assert said is not None
    assert said.code == "blank"


# Half black, half 2 d: the standard deviation is d.
@pytest.mark.parametrize(("deviation", "blank"), [(0.009, True), (0.011, False)])
def test_film_with_deviation_below_0_01_is_blank(deviation: float, blank: bool) -> None:
    film = np.zeros((128, 128), np.float32)
    film[:64] = 2 * deviation
    assert (refuse_by_pixels(decoded(film)) is not None) == blank


def test_size_of_a_reduced_film_is_that_of_the_file() -> None:
    half = grey(48, 256)
    assert refuse_by_pixels(Decoded(half, (), 96, 512, "mean/2", 1)) is None
    assert refuse_by_pixels(Decoded(half, (), 95, 512, "mean/2", 1)) is not None
