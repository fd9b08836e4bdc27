import numpy as np
import pytest

from screening.report.metrics import Unit, cases, judged, table_of, unscored
from screening.results import Reason, Row, Status


def film(name: str, probability: float, outcome: str, **fields: str) -> Row:
    return Row(
        film=name,
        status=Status.SCORED,
        probability=probability,
        prediction="PNEUMONIA" if outcome[1] == "P" else "NORMAL",
        label="PNEUMONIA" if outcome in ("TP", "FN") else "NORMAL",
        outcome=outcome,
        **fields,
    )


ROWS = [
    film("a", 0.9, "TP", patient="p", study="s"),
    film("b", 0.2, "TN", patient="q"),
    film("c", 0.4, "FN", patient="p", study="s"),
    film("d", 0.6, "FP"),
    film("e", 0.7, "FP", patient="q", study="t"),
    Row(film="f", status=Status.SCORED, probability=0.5, prediction="NORMAL"),
    Row(film="g", status=Status.REFUSED, label="NORMAL", reason=Reason("blank")),
    Row(film="h", status=Status.DUPLICATE, label="NORMAL", reason=Reason("same_bytes", "a")),
    Row(film="i", status=Status.FAILED, reason=Reason("empty")),
]


def test_films_with_label_and_prediction_are_cases() -> None:
    films = cases(judged(table_of(ROWS)))
    assert films.positive.tolist() == [True, False, True, False, False]
    assert films.probability.tolist() == [0.9, 0.2, 0.4, 0.6, 0.7]
    assert films.called.tolist() == [True, False, False, True, True]
    assert films.patient.tolist() == [1, 2, 1, 0, 2]


def test_patient_combines_its_films_by_any_and_maximum() -> None:
    patients = cases(judged(table_of(ROWS)), Unit.PATIENT)
    assert patients.positive.tolist() == [True, False, False]
    assert patients.probability.tolist() == [0.9, 0.7, 0.6]
    assert patients.called.tolist() == [True, True, True]
    assert patients.patient.tolist() == [1, 2, 0]


def test_film_without_a_study_is_in_no_study() -> None:
    studies = cases(judged(table_of(ROWS)), Unit.STUDY)
    assert studies.positive.tolist() == [True, False]
    assert studies.probability.tolist() == [0.9, 0.7]


def test_studies_of_one_patient_share_the_patient() -> None:
    rows = [film(name, 0.9, "TP", patient="p", study=name) for name in "ab"]
    assert cases(judged(table_of(rows)), Unit.STUDY).patient.tolist() == [0, 0]


def test_unscored_films_have_a_label_but_no_prediction() -> None:
    assert unscored(table_of(ROWS)).film.tolist() == ["g"]


@pytest.mark.parametrize("unit", Unit)
def test_no_films_give_no_cases(unit: Unit) -> None:
    none = cases(judged(table_of([])), unit)
    assert (len(none.positive), none.positive.dtype, none.probability.dtype) == (
        0,
        np.bool_,
        np.float64,
    )


@pytest.mark.parametrize(
    ("path", "folder"), [("a.png", "."), ("x/a.png", "x"), ("x/y/a.png", "x"), ("./a.png", ".")]
)
def test_folder_is_the_first_part_of_the_path(path: str, folder: str) -> None:
    assert table_of([film(path, 0.5, "TP")]).folder.tolist() == [folder]
