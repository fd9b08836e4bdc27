from pathlib import Path

import pytest

from screening.errors import FileUnavailable, LabelsError
from screening.report.labels import Label, LabelProblem, Labels, Policy, Unused, write_unused


def read(tmp_path: Path, content: str | bytes) -> Labels:
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Labels.read(path)


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
def test_common_csv_variants_are_read(tmp_path: Path, content: str) -> None:
    labels = read(tmp_path, content).labels
    assert [(label.film, label.finding) for label in labels] == [
        ("a.png", "PNEUMONIA"),
        ("b.png", "NORMAL"),
    ]


def test_label_has_its_patient_and_line(tmp_path: Path) -> None:
    labels = read(tmp_path, "film,label,patient\na.png,1,P1\nb.png,0,\n")
    assert labels.labels == (
        Label("a.png", "PNEUMONIA", "P1", 2),
        Label("b.png", "NORMAL", "", 3),
    )


def test_semicolon_in_a_comma_file_is_part_of_the_name(tmp_path: Path) -> None:
    (label,) = read(tmp_path, "film,label\na;b.png,1\n").labels
    assert label.film == "a;b.png"


@pytest.mark.parametrize(
    "name", ["a\u2028b.png", "a\x85b.png", "a\x0cb.png", "a\nb.png"], ids=ascii
)
def test_film_names_may_contain_line_separators(tmp_path: Path, name: str) -> None:
    (label,) = read(tmp_path, f'film,label\n"{name}",1\n').labels
    assert label.film == name


@pytest.mark.parametrize("value", ["2", "maybe", "", "BACTERIAL", "1.0", "TRUE"])
def test_unknown_label_is_an_error_that_names_the_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(LabelsError, match=r"labels\.csv, line 3: .*PNEUMONIA"):
        read(tmp_path, f"film,label\na.png,1\nb.png,{value}\n")


def test_line_without_a_label_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="line 2"):
        read(tmp_path, "film,label\na.png\n")


def test_line_without_a_film_is_an_error_that_names_it(tmp_path: Path) -> None:
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
def test_missing_column_is_an_error_that_names_it(
    tmp_path: Path, content: str, missing: str
) -> None:
    with pytest.raises(LabelsError, match=f"column {missing}$"):
        read(tmp_path, content)


@pytest.mark.parametrize("content", [b"film,label\nf\xfcr.png,1\n", b"\xff\xfef\0i\0"])
def test_file_that_is_not_utf_8_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LabelsError, match=r"labels\.csv"):
        read(tmp_path, content)


def test_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileUnavailable, match=r"nowhere\.csv"):
        Labels.read(tmp_path / "nowhere.csv")


def test_list_policy_keeps_numbers_of_lines_without_a_label(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("film,label\na.png,1\nb.png,maybe\nc.png\n,0\n", encoding="utf-8")
    labels = Labels.read(path, Policy.LIST)
    assert ([label.film for label in labels.labels], labels.unknown) == (["a.png", ""], (3, 4))
    assert len(labels) == 4


def test_read_errors_do_not_quote_the_line(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"labels\.csv, line 3") as caught:
        read(tmp_path, "film,label\nM.png,1\nMustermann,Muster\n")
    assert "Muster" not in str(caught.value)


def test_unused_lines_are_sorted_by_line_and_not_quoted(tmp_path: Path) -> None:
    unused = [Unused(12, LabelProblem.CONFLICTING, "=a.png"), Unused(3, LabelProblem.NO_FILM)]
    write_unused(tmp_path / "unused.csv", unused)
    assert (tmp_path / "unused.csv").read_bytes() == (
        b"line,problem,film\r\n3,no_film,\r\n12,conflicting,'=a.png\r\n"
    )
