from dataclasses import replace
from pathlib import Path

import pytest

from screening.errors import LabelsError
from screening.privacy import PatientKey
from screening.report.labels import LabelProblem, Labels, Policy, Unused, join, outcome, unlabelled
from screening.results import Reason, Row, Status


def read(tmp_path: Path, content: str, policy: Policy = Policy.ERROR) -> Labels:
    path = tmp_path / "labels.csv"
    path.write_text(content, encoding="utf-8")
    return Labels.read(path, policy)


def film(name: str, prediction: str = "PNEUMONIA", **fields: str) -> Row:
    return Row(film=name, status=Status.SCORED, probability=0.5, prediction=prediction, **fields)


def copy(name: str, of: Row) -> Row:
    return Row(
        film=name, sha256=of.sha256, status=Status.DUPLICATE, reason=Reason("same_bytes", of.film)
    )


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
def test_outcome_combines_label_and_prediction(label: str, prediction: str, expected: str) -> None:
    assert outcome(label, prediction) == expected


@pytest.mark.parametrize("name", ["ward/a.png", "a.png", "1.2.840.1"])
def test_film_is_found_by_path_name_or_uid(tmp_path: Path, key: PatientKey, name: str) -> None:
    rows = [film("ward/a.png", instance=key.hash("instance", "1.2.840.1")), film("b.png")]
    (first, second), unused = join(rows, read(tmp_path, f"film,label\n{name},0\n"), key)
    assert (first.label, first.outcome) == ("NORMAL", "FP")
    assert second == rows[1]
    assert unused == []


@pytest.mark.parametrize("name", ["ward/a.png", "1.2.840.1"])
def test_film_with_hidden_name_is_found_by_path_or_uid(
    tmp_path: Path, key: PatientKey, name: str
) -> None:
    hidden = film(key.film("ward/a.png"), instance=key.hash("instance", "1.2.840.1"))
    (row,), unused = join([hidden], read(tmp_path, f"film,label\n{name},0\n"), key)
    assert (row.label, unused) == ("NORMAL", [])


def test_path_takes_precedence_over_name(tmp_path: Path, key: PatientKey) -> None:
    rows = [film("a.png"), film("ward/a.png")]
    joined, _unused = join(rows, read(tmp_path, "film,label\na.png,1\n"), key)
    assert [row.label for row in joined] == ["PNEUMONIA", ""]


def test_labels_without_a_film_are_listed(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label\na.png,1\nlost.png,0\n,1\n")
    _rows, unused = join([film("a.png")], labels, key)
    assert unused == [Unused(3, LabelProblem.NO_FILM), Unused(4, LabelProblem.NO_FILM)]


def test_strict_policy_rejects_label_without_a_film(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label\na.png,1\nlost.png,0\n", Policy.STRICT)
    with pytest.raises(LabelsError, match=r"labels\.csv, line 3: there is no such film"):
        join([film("a.png")], labels, key)


UID = "1.2.3"
PROBLEMS = {
    "a name of two films": ("a.png,1\n", "line 2: the name matches several films"),
    "a UID of two films": (f"{UID},1\n", "line 2: the name matches several films"),
    "two findings": ("x/a.png,1\ny/a.png,1\nx/a.png,0\n", "line 2: another line for the same film"),
    "two names of one film": ("c.png,1\nz/c.png,0\n", "line 2: another line for the same film"),
    "two patients": ("c.png,1,P\nc.png,1,Q\n", "line 2: another line for the same film"),
    "the same twice": (
        "c.png,1\nb.png,1\nc.png,PNEUMONIA\n",
        "line 4: an earlier line for the same film",
    ),
    "a film and its copy": ("c.png,1\nd.png,0\n", "line 2: another line for the same film"),
}
LISTED = {
    "a name of two films": [Unused(2, LabelProblem.AMBIGUOUS)],
    "a UID of two films": [Unused(2, LabelProblem.AMBIGUOUS)],
    "two findings": [
        Unused(2, LabelProblem.CONFLICTING, "x/a.png"),
        Unused(4, LabelProblem.CONFLICTING, "x/a.png"),
    ],
    "two names of one film": [
        Unused(2, LabelProblem.CONFLICTING, "z/c.png"),
        Unused(3, LabelProblem.CONFLICTING, "z/c.png"),
    ],
    "two patients": [
        Unused(2, LabelProblem.CONFLICTING, "z/c.png"),
        Unused(3, LabelProblem.CONFLICTING, "z/c.png"),
    ],
    "the same twice": [Unused(4, LabelProblem.DUPLICATE, "z/c.png")],
    "a film and its copy": [
        Unused(2, LabelProblem.CONFLICTING, "z/c.png"),
        Unused(3, LabelProblem.CONFLICTING, "d.png"),
    ],
}
LABELLED = {"two findings": ["y/a.png"], "the same twice": ["b.png", "z/c.png"]}


def difficult(key: PatientKey) -> list[Row]:
    uid = key.hash("instance", UID)
    one = film("z/c.png", sha256="c" * 64)
    return [
        film("x/a.png", instance=uid, sha256="a" * 64),
        film("y/a.png", instance=uid, sha256="a1" * 32),
        film("b.png", sha256="b" * 64),
        one,
        copy("d.png", one),
    ]


@pytest.mark.parametrize("which", PROBLEMS)
@pytest.mark.parametrize("policy", [Policy.ERROR, Policy.STRICT])
def test_unusable_label_is_an_error_that_names_the_line(
    tmp_path: Path, key: PatientKey, which: str, policy: Policy
) -> None:
    lines, message = PROBLEMS[which]
    labels = read(tmp_path, f"film,label,patient\n{lines}", policy)
    with pytest.raises(LabelsError, match=rf"labels\.csv, {message}"):
        join(difficult(key), labels, key)


@pytest.mark.parametrize("which", PROBLEMS)
def test_list_policy_lists_unusable_labels_and_ignores_them(
    tmp_path: Path, key: PatientKey, which: str
) -> None:
    labels = read(tmp_path, f"film,label,patient\n{PROBLEMS[which][0]}", Policy.LIST)
    rows, unused = join(difficult(key), labels, key)
    assert unused == LISTED[which]
    assert [row.film for row in rows if row.label] == LABELLED.get(which, [])


def test_list_policy_lists_lines_that_are_not_labels(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label\na.png,maybe\nlost.png,1\na.png,1\nb.png\n", Policy.LIST)
    (row,), unused = join([film("a.png")], labels, key)
    assert row.label == "PNEUMONIA"
    assert unused == [
        Unused(2, LabelProblem.UNKNOWN_LABEL),
        Unused(3, LabelProblem.NO_FILM),
        Unused(5, LabelProblem.UNKNOWN_LABEL),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "film,label,patient\nMustermann.png,1,Mustermann\nMustermann.png,0,Mustermann\n",
        "film,label\nw/Mustermann.png,1\nMustermann.png,0\n",
        "film,label\ntwins.png,1\n",
    ],
)
def test_join_errors_quote_no_film_or_label(tmp_path: Path, key: PatientKey, content: str) -> None:
    rows = [film("w/Mustermann.png"), film("Mustermann/twins.png"), film("2/twins.png")]
    with pytest.raises(LabelsError, match=r"labels\.csv, line [23]") as caught:
        join(rows, read(tmp_path, content), key)
    assert "Muster" not in str(caught.value)
    assert "twins" not in str(caught.value)


def test_patient_is_taken_from_either_of_two_equal_lines(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label,patient\na.png,1,\na.png,1,Erika\n", Policy.LIST)
    (row,), unused = join([film("a.png")], labels, key)
    assert row.patient == key.hash("patient", "Erika")
    assert [one.problem for one in unused] == [LabelProblem.DUPLICATE]


def test_label_of_a_copy_applies_to_its_film(tmp_path: Path, key: PatientKey) -> None:
    one = film("c.png", sha256="c" * 64)
    (first, second), unused = join(
        [one, copy("d.png", one)], read(tmp_path, "film,label\nd.png,0\n"), key
    )
    assert (first.label, first.outcome) == ("NORMAL", "FP")
    assert (second.label, second.outcome, unused) == ("NORMAL", "", [])


def test_film_and_copy_may_have_the_same_label(tmp_path: Path, key: PatientKey) -> None:
    one = film("c.png", sha256="c" * 64)
    labels = read(tmp_path, "film,label\nc.png,1\nd.png,1\n", Policy.STRICT)
    rows, unused = join([one, copy("d.png", one)], labels, key)
    assert [row.label for row in rows] == ["PNEUMONIA", "PNEUMONIA"]
    assert unused == []


def test_film_without_prediction_has_label_but_no_outcome(tmp_path: Path, key: PatientKey) -> None:
    failed = Row(film="a.png", status=Status.FAILED, reason=Reason("empty"))
    (row,), _unused = join([failed], read(tmp_path, "film,label\na.png,1\n"), key)
    assert (row.label, row.outcome, row.status) == ("PNEUMONIA", "", "failed")


def test_labels_patient_is_hashed_and_overrides_the_header(tmp_path: Path, key: PatientKey) -> None:
    labels = read(tmp_path, "film,label,patient\na.png,1,Erika\nb.png,1,\n")
    rows = [film("a.png", patient="header"), film("b.png", patient="header")]
    (first, second), _unused = join(rows, labels, key)
    assert first.patient == key.hash("patient", "Erika")
    assert second.patient == "header"


def test_join_keeps_the_order_of_rows(tmp_path: Path, key: PatientKey) -> None:
    rows = [film("b.png"), film("c.png"), film("a.png")]
    joined, _unused = join(rows, read(tmp_path, "film,label\na.png,1\nb.png,0\n"), key)
    assert [row.film for row in joined] == ["b.png", "c.png", "a.png"]


def test_unlabelled_removes_label_and_outcome(tmp_path: Path, key: PatientKey) -> None:
    row = film("a.png")
    (labelled,), _unused = join([row], read(tmp_path, "film,label\na.png,1\n"), key)
    assert labelled != row
    assert unlabelled(labelled) == replace(row, patient=labelled.patient)
