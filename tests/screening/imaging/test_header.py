from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from makers import dicom_bytes, dicom_film
from screening.errors import NotAFilm
from screening.imaging.attributes import read_header
from screening.imaging.dicom import open_dicom
from screening.imaging.film import Code, Header

STORED = np.zeros((4, 4), np.uint16)


def film(**attributes: object) -> FileDataset:
    return dicom_film(STORED, **attributes)


def header_of(**attributes: object) -> Header:
    return read_header(dcmread(BytesIO(dicom_bytes(film(**attributes)))))


def test_header_fields_are_read() -> None:
    dataset = film(
        Modality="DX",
        BodyPartExamined="Chest",
        ViewPosition="pa ",
        PatientSex="F",
        PatientAge="045Y",
        Manufacturer=" ACME ",
        PatientID="4711",
        StudyInstanceUID="1.2.3",
    )
    assert open_dicom(dicom_bytes(dataset)).header == Header(
        modality="DX",
        body_part_examined="CHEST",
        view_position="PA",
        patient_sex="F",
        patient_age=45,
        manufacturer="ACME",
        patient_id="4711",
        study_uid="1.2.3",
        instance_uid=str(dataset.SOPInstanceUID),
    )


def test_missing_attributes_stay_empty() -> None:
    dataset = film(PatientSex="", PatientAge=None)
    del dataset.Modality
    header = open_dicom(dicom_bytes(dataset)).header
    assert (header.modality, header.patient_sex, header.patient_id) == ("", "", "")
    assert header.patient_age is None


def test_repr_hides_identifiers() -> None:
    header = open_dicom(dicom_bytes(film(PatientID="4711", StudyInstanceUID="1.2.3"))).header
    assert "4711" not in repr(header)
    assert "1.2.3" not in repr(header)


# AS: nnnD, nnnW, nnnM or nnnY (PS3.5 6.2). 365 days are less than a year of 365.25.
@pytest.mark.parametrize(
    ("age", "years"),
    [
        ("045Y", 45),
        ("000Y", 0),
        ("101Y", 101),
        ("011M", 0),
        ("012M", 1),
        ("023M", 1),
        ("024M", 2),
        ("051W", 0),
        ("104W", 1),
        ("010D", 0),
        ("366D", 1),
        ("", None),
    ],
)
def test_age_is_read_in_whole_years(age: str, years: int | None) -> None:
    assert open_dicom(dicom_bytes(film(PatientAge=age))).header.patient_age == years


@pytest.mark.parametrize("age", [b"45Y ", b"0045", b"045y", b"YYYY", b"-45Y", b"\xb2\xb2\xb2Y"])
def test_invalid_age_is_none(age: bytes) -> None:
    data = dicom_bytes(film(PatientAge="045Y")).replace(b"045Y", age)
    assert open_dicom(data).header.patient_age is None


@pytest.mark.parametrize(
    ("said", "kept"), [("M", "M"), ("f ", "F"), ("O", "O"), ("X", ""), ("MALE", ""), ("", "")]
)
def test_sex_is_one_of_three_letters_or_empty(said: str, kept: str) -> None:
    assert header_of(PatientSex=said).patient_sex == kept


# PS3.5 6.2, CS: upper-case letters, digits, space and underscore, at most 16.
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("chest", "CHEST"),
        ("LSPINE_2", "LSPINE_2"),
        ("C-SPINE", ""),
        ("MUSTERFRAU, ERIKA", ""),
        ("A" * 17, ""),
        (["PA", "LL"], "PA"),
    ],
    ids=str,
)
@pytest.mark.parametrize("keyword", ["Modality", "BodyPartExamined", "ViewPosition"])
def test_invalid_code_string_is_dropped(keyword: str, said: object, kept: str) -> None:
    field = {"BodyPartExamined": "body_part_examined", "ViewPosition": "view_position"}
    assert getattr(header_of(**{keyword: said}), field.get(keyword, "modality")) == kept


def test_body_part_that_is_not_a_code_string_is_free_text() -> None:
    assert header_of(BodyPartExamined="c-spine").body_part_text == "C-SPINE"
    assert header_of(BodyPartExamined="CHEST").body_part_text == ""


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["L", "F"], ("L", "F")),
        (["AR", "FHL"], ("AR", "FHL")),
        (["X", "F"], ()),
        (["L"], ()),
        ("", ()),
    ],
    ids=str,
)
def test_orientation_is_two_directions_or_empty(said: object, kept: tuple[str, ...]) -> None:
    assert header_of(PatientOrientation=said).patient_orientation == kept


def item(value: str, meaning: str) -> Dataset:
    dataset = Dataset()
    dataset.CodeValue, dataset.CodingSchemeDesignator, dataset.CodeMeaning = value, "SCT", meaning
    return dataset


def test_procedure_texts_are_read_but_hidden_in_repr() -> None:
    texts = {
        "StudyDescription": "study_description",
        "SeriesDescription": "series_description",
        "ProtocolName": "protocol_name",
        "RequestedProcedureDescription": "requested_procedure_description",
        "PerformedProcedureStepDescription": "performed_procedure_step_description",
    }
    codes = {
        "ProcedureCodeSequence": "procedure_codes",
        "AnatomicRegionSequence": "anatomic_regions",
        "ViewCodeSequence": "views",
    }
    header = header_of(
        **dict.fromkeys(texts, "Musterfrau"),
        **{keyword: Sequence([item("51185008", "Musterfrau")]) for keyword in codes},
    )
    for field in texts.values():
        assert getattr(header, field) == "Musterfrau"
    for field in codes.values():
        assert getattr(header, field) == (Code("51185008", "SCT", "Musterfrau"),)
        assert "Musterfrau" not in repr(getattr(header, field))
    assert "Musterfrau" not in repr(header)
    assert header.without_text() == header_of(SOPInstanceUID=header.instance_uid)


def test_long_text_is_truncated() -> None:
    assert len(header_of(StudyDescription="x" * 5000).study_description) == 1024


def test_manufacturer_has_no_control_characters() -> None:
    assert header_of(Manufacturer="AC\x07ME " + "x" * 99).manufacturer == "ACME " + "x" * 59


def test_invalid_value_does_not_fail_the_film() -> None:
    data = dicom_bytes(film(WindowCenter=1234, WindowWidth=5678, PatientAge="045Y"))
    data = data.replace(b"1234", b"abcd").replace(b"045Y", b"\xff\xfe\xfd\xfc")
    opened = open_dicom(data)
    assert opened.header.patient_age is None
    np.testing.assert_array_equal(opened.decode()[0], 0)


# PS3.4 B.5 and I.4: DICOM objects that are not images. The names are those of PS3.6 annex A.
@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        ("1.2.840.10008.1.3.10", "Media Storage Directory Storage"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR Storage"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object Selection Document Storage"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.3", "Encapsulated STL Storage"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RT Structure Set Storage"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "12-lead ECG Waveform Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.1", "Spatial Registration Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.5", "Surface Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.67", "Real World Value Mapping Storage"),
    ],
)
@pytest.mark.parametrize("stated", ["data set", "File Meta"])
def test_other_dicom_object_is_not_a_film_and_is_named(
    sop_class: str, name: str, stated: str
) -> None:
    dataset = film(SOPClassUID=sop_class)
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    del dataset.PixelData, dataset.Rows, dataset.Columns
    if stated == "File Meta":
        del dataset.SOPClassUID
    with pytest.raises(NotAFilm) as caught:
        open_dicom(dicom_bytes(dataset))
    assert str(caught.value) == name


# These have pixel data, but they are labels and measurements.
@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "Label Map Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.30", "Parametric Map Storage"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RT Dose Storage"),
    ],
)
def test_label_and_measurement_objects_are_not_films(sop_class: str, name: str) -> None:
    with pytest.raises(NotAFilm) as caught:
        open_dicom(dicom_bytes(film(SOPClassUID=sop_class)))
    assert str(caught.value) == name


def test_unknown_object_without_pixels_is_not_quoted() -> None:
    dataset = film(SOPClassUID="1.2.3.4711")
    del dataset.PixelData, dataset.Rows, dataset.Columns
    with pytest.raises(NotAFilm) as caught:
        open_dicom(dicom_bytes(dataset))
    assert "4711" not in str(caught.value)
