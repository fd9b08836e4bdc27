from pathlib import Path

import pytest

from screening.errors import LabelsError
from screening.privacy import PatientKey
from screening.report.labels import Label, Labels, outcome
from screening.row import Row, Status


def read(tmp_path: Path, content: str | bytes) -> Labels:
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Labels.read(path)


def film(name: str, prediction: str = "PNEUMONIA", **fields: str) -> Row:
    return Row(film=name, status=Status.SCORED, probability=0.5, prediction=prediction, **fields)


@pytest.mark.parametrize(
    "content",
    [
        "film,label\na.png,1\nb.png,0\n",
        "film;label\na.png;1\nb.png;0\n",
        "\ufefffilm,label\na.png,1\nb.png,0\n",
        "\ufefffilm;label\r\na.png;1\r\nb.png;0\r\n",
        "label,reader,film\n1,me,a.png\n0,you,b.png",
        'film,label\n"a.png",PNEUMONIA\n"b.png",NORMAL\n',
        "film,label\n a.png , pneumonia \nb.png,Normal\n",
        "film,label\na.png,1\n\nb.png,0\n\n",
    ],
    ids=["comma", "semicolon", "mark", "Excel", "order", "quotes", "spaces", "blank lines"],
)
def test_labels_are_read_as_people_and_spreadsheets_write_them(
    tmp_path: Path, content: str
) -> None:
    labels = read(tmp_path, content).labels
    assert [(label.film, label.finding) for label in labels] == [
        ("a.png", "PNEUMONIA"),
        ("b.png", "NORMAL"),
    ]


def test_a_label_knows_its_patient_and_its_line(tmp_path: Path) -> None:
    labels = read(tmp_path, "film,label,patient\na.png,1,P1\nb.png,0,\n")
    assert labels.labels == (
        Label("a.png", "PNEUMONIA", "P1", 2),
        Label("b.png", "NORMAL", "", 3),
    )


def test_a_semicolon_in_a_file_with_commas_is_a_letter(tmp_path: Path) -> None:
    (label,) = read(tmp_path, "film,label\na;b.png,1\n").labels
    assert label.film == "a;b.png"


@pytest.mark.parametrize(
    "name", ["a\u2028b.png", "a\x85b.png", "a\x0cb.png", "a\nb.png"], ids=ascii
)
def test_a_film_may_have_any_name(tmp_path: Path, name: str) -> None:
    (label,) = read(tmp_path, f'film,label\n"{name}",1\n').labels
    assert label.film == name


@pytest.mark.parametrize("value", ["2", "maybe", "", "BACTERIAL", "1.0", "TRUE"])
def test_an_unknown_label_is_an_error_that_names_the_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(LabelsError, match=r"labels\.csv, line 3: .*PNEUMONIA"):
        read(tmp_path, f"film,label\na.png,1\nb.png,{value}\n")


def test_a_line_without_a_label_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="line 2"):
        read(tmp_path, "film,label\na.png\n")


def test_a_line_without_a_film_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="line 2"):
        read(tmp_path, "label,film\n1\n")


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ("film,finding\na.png,1\n", "label"),
        ("name,label\na.png,1\n", "film"),
        ("", "film, label"),
        ("film\tlabel\na.png\t1\n", "film, label"),
    ],
)
def test_a_missing_column_is_named(tmp_path: Path, content: str, missing: str) -> None:
    with pytest.raises(LabelsError, match=f"column {missing}$"):
        read(tmp_path, content)


@pytest.mark.parametrize("content", [b"film,label\nf\xfcr.png,1\n", b"\xff\xfef\0i\0"])
def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LabelsError, match=r"labels\.csv"):
        read(tmp_path, content)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"nowhere\.csv"):
        Labels.read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("label", "prediction", "expected"),
    [
        ("PNEUMONIA", "PNEUMONIA", "TP"),
        ("NORMAL", "PNEUMONIA", "FP"),
        ("NORMAL", "NORMAL", "TN"),
        ("PNEUMONIA", "NORMAL", "FN"),
        ("", "NORMAL", ""),
        ("NORMAL", "", ""),
    ],
)
def test_an_outcome_is_a_label_and_a_prediction(label: str, prediction: str, expected: str) -> None:
    assert outcome(label, prediction) == expected


@pytest.mark.parametrize("name", ["ward/a.png", "a.png", "1.2.840.1"])
def test_a_film_is_found_by_path_by_name_and_by_uid(
    tmp_path: Path, key: PatientKey, name: str
) -> None:
    rows = [film("ward/a.png", instance=key.hash("instance", "1.2.840.1")), film("b.png")]
    (first, second), missing = read(tmp_path, f"film,label\n{name},0\n").join(rows, key)
    assert (first.label, first.outcome) == ("NORMAL", "FP")
    assert second == rows[1]
    assert missing == []


def test_a_path_goes_before_a_name(tmp_path: Path, key: PatientKey) -> None:
    rows = [film("a.png"), film("ward/a.png")]
    joined, _missing = read(tmp_path, "film,label\na.png,1\n").join(rows, key)
    assert [row.label for row in joined] == ["PNEUMONIA", ""]


def test_labels_without_a_film_are_handed_back(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label\na.png,1\nlost.png,0\n,1\n")
    _rows, missing = labels.join([film("a.png")], key)
    assert [label.film for label in missing] == ["lost.png", ""]


def test_a_name_that_fits_several_films_is_an_error(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label\na.png,1\n")
    with pytest.raises(LabelsError, match=r"labels\.csv, line 2: the film fits 2 films"):
        labels.join([film("x/a.png"), film("y/a.png")], key)


def test_a_uid_that_fits_several_films_is_an_error(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label\n1.2.3,1\n")
    uid = key.hash("instance", "1.2.3")
    with pytest.raises(LabelsError, match="fits 2 films"):
        labels.join([film("x.dcm", instance=uid), film("y.dcm", instance=uid)], key)


@pytest.mark.parametrize("other", ["a.png", "ward/a.png"])
def test_labels_that_contradict_each_other_are_an_error(
    tmp_path: Path, key: PatientKey, other: str
) -> None:
    labels = read(tmp_path, f"film,label\nward/a.png,1\n{other},0\n")
    with pytest.raises(LabelsError, match=r"labels\.csv, lines 2 and 3 contradict"):
        labels.join([film("ward/a.png")], key)


@pytest.mark.parametrize(
    "content",
    [
        "film,label\nMustermann.png,Mustermann\n",
        "label,film\n1\nMustermann,Mustermann.png\n",
        "film,label,patient\nMustermann.png,1,Mustermann\nMustermann.png,0,Mustermann\n",
        "film,label\nw/Mustermann.png,1\nMustermann.png,0\n",
        "film,label\nM.png,1\nMustermann,2\n",
        "film,label\ntwins.png,1\n",
    ],
)
def test_no_error_quotes_a_film_or_a_label(tmp_path: Path, key: PatientKey, content: str) -> None:
    rows = [film("w/Mustermann.png"), film("Mustermann/twins.png"), film("2/twins.png")]
    with pytest.raises(LabelsError, match=r"labels\.csv, lines? [23]") as caught:
        read(tmp_path, content).join(rows, key)
    assert "Muster" not in str(caught.value)
    assert "twins" not in str(caught.value)


@pytest.mark.parametrize("cell", ["x" * 200_000, '"' + "x" * 200_000])
def test_a_cell_that_is_too_long_to_be_a_name_is_an_error_that_names_the_line(
    tmp_path: Path, cell: str
) -> None:
    with pytest.raises(LabelsError, match=r"labels\.csv, line [23]: .*field larger"):
        read(tmp_path, f"film,label\na.png,1\n{cell},1\n")


def test_labels_that_agree_are_no_contradiction(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label\nward/a.png,1\na.png,PNEUMONIA\n")
    (row,), missing = labels.join([film("ward/a.png")], key)
    assert row.label == "PNEUMONIA"
    assert missing == []


def test_a_film_without_a_prediction_keeps_its_label_and_has_no_outcome(
    tmp_path: Path, key: PatientKey
) -> None:
    failed = Row(film="a.png", status=Status.FAILED, reason="empty: The file is empty.")
    (row,), _missing = read(tmp_path, "film,label\na.png,1\n").join([failed], key)
    assert (row.label, row.outcome, row.status) == ("PNEUMONIA", "", "failed")


def test_a_patient_is_hashed_and_goes_before_the_one_of_the_header(
    tmp_path: Path, key: PatientKey
) -> None:
    labels = read(tmp_path, "film,label,patient\na.png,1,Erika\nb.png,1,\n")
    rows = [film("a.png", patient="header"), film("b.png", patient="header")]
    (first, second), _missing = labels.join(rows, key)
    assert first.patient == key.hash("patient", "Erika")
    assert second.patient == "header"


def test_the_order_of_the_rows_is_kept(tmp_path: Path, key: PatientKey) -> None:
    rows = [film("b.png"), film("c.png"), film("a.png")]
    joined, _missing = read(tmp_path, "film,label\na.png,1\nb.png,0\n").join(rows, key)
    assert [row.film for row in joined] == ["b.png", "c.png", "a.png"]
