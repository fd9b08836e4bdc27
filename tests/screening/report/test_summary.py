import csv
from pathlib import Path

import pytest
from sklearn.metrics import brier_score_loss, precision_score, recall_score

from screening.report.intervals import NOTES, Figure
from screening.report.labels import LabelProblem, Unused
from screening.report.metrics import Unit, table_of
from screening.report.summary import SummaryLine, summarise, write_summary
from screening.results import Reason, Row, Status

OUTCOMES = {
    ("PNEUMONIA", "PNEUMONIA"): "TP",
    ("NORMAL", "PNEUMONIA"): "FP",
    ("NORMAL", "NORMAL"): "TN",
    ("PNEUMONIA", "NORMAL"): "FN",
}


def scored(film: str, probability: float, label: str = "", **fields: str) -> Row:
    prediction = ["NORMAL", "PNEUMONIA"][probability >= 0.5]
    return Row(
        film=film,
        status=Status.SCORED,
        probability=probability,
        prediction=prediction,
        threshold=0.5,
        label=label,
        outcome=OUTCOMES.get((label, prediction), ""),
        **fields,
    )


ROWS = [
    scored("a", 0.9, "PNEUMONIA", view="PA", sex="F", patient="p1"),
    scored("b", 0.6, "NORMAL", view="AP", sex="M", patient="p1"),
    scored("c", 0.2, "NORMAL", view="PA", sex="M", patient="p2"),
    scored("d", 0.4, "PNEUMONIA", view="PA", age_band="65-79"),
    scored("e", 0.7, view="AP", manufacturer="ACME"),
    Row(film="f", status=Status.FAILED, label="PNEUMONIA", reason=Reason("empty")),
    Row(film="g", status=Status.REFUSED, view="LL", reason=Reason("lateral")),
    Row(film="h", status=Status.DUPLICATE, label="NORMAL", reason=Reason("same_bytes", "a")),
]


def figures(
    rows: list[Row], subset: str = "all", unit: Unit = Unit.FILM, **given: object
) -> dict[str, Figure]:
    lines = summarise(table_of(rows), **given)
    found = [line for line in lines if (line.subset, line.unit) == (subset, unit)]
    assert len({line.metric for line in found}) == len(found), "a metric is there twice"
    return {line.metric: line.figure for line in found}


@pytest.mark.parametrize(
    ("metric", "value", "n"),
    [
        ("files", 8, 8),
        ("scored", 5, 8),
        ("refused", 1, 8),
        ("failed", 1, 8),
        ("duplicate", 1, 8),
        ("called_pneumonia", 3, 5),
        ("labelled", 6, 8),
        ("TP", 1, 4),
        ("FP", 1, 4),
        ("TN", 1, 4),
        ("FN", 1, 4),
        # p1, p2, and film d, which has no known patient and counts as its own.
        ("patients", 3, 4),
        ("films_without_patient", 1, 4),
    ],
)
def test_counts_have_their_denominator(metric: str, value: int, n: int) -> None:
    assert figures(ROWS)[metric] == Figure(value, None, None, n)


def test_metrics_use_films_with_a_label_and_a_prediction() -> None:
    truth, p = [1, 0, 0, 1], [0.9, 0.6, 0.2, 0.4]
    called = [1, 1, 0, 0]
    found = figures(ROWS)
    assert found["precision"].value == precision_score(truth, called)
    assert found["recall"].value == recall_score(truth, called)
    assert found["brier"].value == pytest.approx(brier_score_loss(truth, p))
    # Pairs of (.9 .4) and (.6 .2): .9 > .6, .9 > .2, .4 < .6, .4 > .2.
    assert found["auroc"].value == pytest.approx(3 / 4)


def test_summary_has_every_documented_metric() -> None:
    promised = {
        "precision",
        "recall",
        "specificity",
        "f1",
        "npv",
        "auroc",
        "average_precision",
        "brier",
        "calibration_error",
    }
    assert promised <= set(figures(ROWS))


COUNTS = {
    "files",
    "scored",
    "refused",
    "failed",
    "duplicate",
    "called_pneumonia",
    "labelled",
}


def test_metrics_without_labels_are_undefined_with_a_note() -> None:
    rows = [scored("a", 0.9, view="PA"), scored("b", 0.1)]
    found = figures(rows)
    assert set(found) >= COUNTS | {"precision", "recall", "auroc"}
    assert {found[name] for name in set(found) - COUNTS} == {
        Figure(None, None, None, 0, "no_labels")
    }
    assert set(figures(rows, "view=PA")) == COUNTS


def test_empty_night_has_zero_counts() -> None:
    found = figures([])
    assert found["files"] == Figure(0, None, None, 0)
    assert found["called_pneumonia"] == Figure(0, None, None, 0)


def test_unused_labels_are_counted_by_problem() -> None:
    problems = [LabelProblem.NO_FILM, LabelProblem.CONFLICTING, LabelProblem.NO_FILM]
    found = figures(ROWS, unused=[Unused(line, one) for line, one in enumerate(problems)])
    assert found["labels_without_film"].value == 2
    assert found["labels_conflicting"].value == 1
    assert found["labels_ambiguous"].value == 0
    assert "labels_without_film" not in figures(ROWS)


def test_subsets_come_from_the_values_of_the_films() -> None:
    assert {line.subset for line in summarise(table_of(ROWS))} == {
        "all",
        "view=PA",
        "view=AP",
        "view=LL",
        "sex=F",
        "sex=M",
        "age=65-79",
        "manufacturer=ACME",
    }


def test_subset_metrics_use_only_its_films() -> None:
    found = figures(ROWS, "view=PA")
    assert found["files"].value == 3
    assert (found["TP"].value, found["TN"].value, found["FN"].value) == (1, 1, 1)
    assert found["recall"].value == pytest.approx(1 / 2)
    assert found["recall"].n == 2


def test_subsets_of_a_kind_partition_the_films_with_a_value() -> None:
    views = [figures(ROWS, f"view={view}")["files"].value for view in ("PA", "AP", "LL")]
    assert sum(views) == sum(row.view != "" for row in ROWS)


def test_summary_csv_has_empty_cells_for_undefined_values(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    lines = [
        SummaryLine("files", Figure(1_234_567 // 10, None, None, 8), "all"),
        SummaryLine("recall", Figure(1 / 3, 0.25, 0.5, 3), "view==PA", Unit.STUDY),
        SummaryLine("precision", Figure(None, None, None, 0, "no_labels"), "all"),
        SummaryLine("npv", Figure(0.0, 0.0, 1.0, 2), "all"),
    ]
    write_summary(path, lines)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["metric", "value", "ci_low", "ci_high", "n", "subset", "unit", "note"],
            ["files", "123456", "", "", "8", "all", "film", ""],
            ["recall", "0.333333", "0.25", "0.5", "3", "view==PA", "study", ""],
            ["precision", "", "", "", "0", "all", "film", f"no_labels: {NOTES['no_labels']}"],
            ["npv", "0", "0", "1", "2", "all", "film", ""],
        ]


def test_large_counts_are_written_in_full(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    write_summary(path, [SummaryLine("files", Figure(1_234_567, None, None, 1_234_567), "all")])
    assert path.read_text(encoding="utf-8").splitlines()[1] == "files,1234567,,,1234567,all,film,"


def test_with_unscored_metrics_count_unscored_films_as_not_called() -> None:
    rows = [
        *(scored(f"tp{n}", 0.9, "PNEUMONIA") for n in range(3)),
        scored("fn", 0.1, "PNEUMONIA"),
        scored("fp", 0.9, "NORMAL"),
        Row(film="x", status=Status.REFUSED, label="PNEUMONIA", reason=Reason("blank")),
        Row(film="y", status=Status.FAILED, label="PNEUMONIA", reason=Reason("empty")),
        Row(film="z", status=Status.FAILED, label="NORMAL", reason=Reason("empty")),
        Row(
            film="w", status=Status.DUPLICATE, label="PNEUMONIA", reason=Reason("same_bytes", "fn")
        ),
    ]
    found = figures(rows)
    assert (found["recall"].value, found["recall"].n) == (3 / 4, 4)
    assert (found["recall_with_unscored"].value, found["recall_with_unscored"].n) == (3 / 6, 6)
    assert found["precision_with_unscored"].value == found["precision"].value == 3 / 4
    assert "not flagged" in found["recall_with_unscored"].note
    assert found["unscored"] == Figure(3, None, None, 8)
    assert found["unscored_pneumonia"] == Figure(2, None, None, 3)


def test_no_with_unscored_lines_when_all_films_were_scored() -> None:
    assert "recall_with_unscored" not in figures([scored("a", 0.9, "PNEUMONIA")])


FAMILY = [
    scored("a", 0.9, "PNEUMONIA", patient="p", study="s1"),
    scored("b", 0.2, "NORMAL", patient="p", study="s1"),
    scored("c", 0.7, "NORMAL", patient="p", study="s2"),
    scored("d", 0.1, "NORMAL", patient="q", study="s3"),
    scored("e", 0.3, "PNEUMONIA", patient="q", study="s3"),
    scored("f", 0.6, "NORMAL"),
]


def test_patient_is_called_if_any_of_its_films_is() -> None:
    found = figures(FAMILY, unit=Unit.PATIENT)
    # p is called and has pneumonia, q has pneumonia and is not called, f is its own patient.
    assert [found[name].value for name in ("patients", "TP", "FP", "TN", "FN")] == [3, 1, 1, 0, 1]
    # The highest probabilities are .9 and .3 with pneumonia, .6 without.
    assert (found["auroc"].value, found["recall"].n) == (0.5, 2)
    assert "any of its films" in found["patients"].note


def test_study_is_called_if_any_of_its_films_is() -> None:
    found = figures(FAMILY, unit=Unit.STUDY)
    assert [found[name].value for name in ("studies", "TP", "FP", "TN", "FN")] == [3, 1, 1, 0, 1]


def test_no_patient_lines_without_known_patients() -> None:
    rows = [scored("a", 0.9, "PNEUMONIA"), scored("b", 0.2, "NORMAL")]
    assert {line.unit for line in summarise(table_of(rows))} == {Unit.FILM}


def test_folder_subsets_use_the_first_folder_of_the_path() -> None:
    rows = [scored(film, 0.9, "PNEUMONIA") for film in ("x/1/a", "x/2/b", "y/c", "d")]
    subsets = {line.subset for line in summarise(table_of(rows))}
    assert subsets == {"all", "folder=x", "folder=y", "folder=."}
    assert figures(rows, "folder=x")["files"].value == 2


def test_single_folder_is_not_a_subset() -> None:
    rows = [scored(film, 0.9, "PNEUMONIA") for film in ("x/a", "x/b")]
    assert {line.subset for line in summarise(table_of(rows))} == {"all"}


def test_more_than_50_folders_are_only_counted() -> None:
    rows = [scored(f"{n}/a", 0.9, "PNEUMONIA") for n in range(51)]
    assert {line.subset for line in summarise(table_of(rows))} == {"all"}
    assert figures(rows)["folder_subsets"].value == 51


def test_predictive_values_are_projected_to_given_prevalence() -> None:
    rows = [
        *(scored(f"p{n}", 0.9 if n < 8 else 0.1, "PNEUMONIA") for n in range(10)),
        *(scored(f"n{n}", 0.9 if n < 1 else 0.1, "NORMAL") for n in range(10)),
    ]
    found = figures(rows, prevalence=0.1)
    assert found["ppv_projected"].value == pytest.approx(0.08 / (0.08 + 0.09))
    assert found["npv_projected"].value == pytest.approx(0.81 / (0.81 + 0.02))
    sensitivity, specificity = found["recall"].ci_low, found["specificity"].ci_low
    assert found["ppv_projected"].ci_low == pytest.approx(
        sensitivity * 0.1 / (sensitivity * 0.1 + (1 - specificity) * 0.9)
    )
    assert found["ppv_projected"].n == 20
    assert "prevalence 0.1" in found["npv_projected"].note
    assert "ppv_projected" not in figures(rows)


def test_projected_ppv_is_undefined_without_both_classes() -> None:
    found = figures([scored("a", 0.9, "PNEUMONIA")], prevalence=0.1)
    assert found["ppv_projected"].value is None
