import csv
from pathlib import Path

import pytest
from sklearn.metrics import brier_score_loss, precision_score, recall_score

from screening.report.intervals import Figure
from screening.report.summary import Line, summarise, write_summary
from screening.row import Row, Status


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screening.report.intervals._RESAMPLES", 20)


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
    Row(film="f", status=Status.FAILED, label="PNEUMONIA", reason="empty: The file is empty."),
    Row(film="g", status=Status.REFUSED, view="LL", reason="lateral: Lateral."),
    Row(film="h", status=Status.DUPLICATE, label="NORMAL", reason="same_bytes: a"),
]


def figures(rows: list[Row], subset: str = "all", without_film: int = 0) -> dict[str, Figure]:
    lines = summarise(rows, without_film)
    return {line.metric: line.figure for line in lines if line.subset == subset}


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
        # p1, p2 and d, which has no patient and is its own.
        ("patients", 3, 4),
        ("films_without_patient", 1, 4),
    ],
)
def test_films_are_counted_with_their_denominator(metric: str, value: int, n: int) -> None:
    assert figures(ROWS)[metric] == Figure(value, None, None, n)


def test_metrics_are_those_of_the_films_with_a_label_and_a_prediction() -> None:
    truth, p = [1, 0, 0, 1], [0.9, 0.6, 0.2, 0.4]
    called = [1, 1, 0, 0]
    found = figures(ROWS)
    assert found["precision"].value == precision_score(truth, called)
    assert found["recall"].value == recall_score(truth, called)
    assert found["brier"].value == pytest.approx(brier_score_loss(truth, p))
    # Of the pairs (.9 .4) against (.6 .2): .9 > .6, .9 > .2, .4 < .6, .4 > .2.
    assert found["auroc"].value == pytest.approx(3 / 4)


def test_every_promised_metric_is_there() -> None:
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


def test_without_labels_there_are_counts_only() -> None:
    rows = [scored("a", 0.9, view="PA"), scored("b", 0.1)]
    assert set(figures(rows)) == {
        "files",
        "scored",
        "refused",
        "failed",
        "duplicate",
        "called_pneumonia",
        "labelled",
    }


def test_a_night_without_a_film_is_counted() -> None:
    found = figures([])
    assert found["files"] == Figure(0, None, None, 0)
    assert found["called_pneumonia"] == Figure(0, None, None, 0)


def test_labels_without_a_film_are_counted() -> None:
    assert figures(ROWS, without_film=3)["labels_without_film"].value == 3
    assert figures(ROWS)["labels_without_film"].value == 0
    assert figures([scored("a", 0.9)], without_film=2)["labels_without_film"].value == 2


def test_subsets_are_those_that_the_films_name() -> None:
    assert {line.subset for line in summarise(ROWS, 0)} == {
        "all",
        "view=PA",
        "view=AP",
        "view=LL",
        "sex=F",
        "sex=M",
        "age=65-79",
        "manufacturer=ACME",
    }


def test_a_subset_is_judged_by_its_own_films() -> None:
    found = figures(ROWS, "view=PA")
    assert found["files"].value == 3
    assert (found["TP"].value, found["TN"].value, found["FN"].value) == (1, 1, 1)
    assert found["recall"].value == pytest.approx(1 / 2)
    assert found["recall"].n == 2


def test_the_files_of_a_kind_of_subset_do_not_outnumber_the_files() -> None:
    views = [figures(ROWS, f"view={view}")["files"].value for view in ("PA", "AP", "LL")]
    assert sum(views) == sum(row.view != "" for row in ROWS)


def test_a_summary_is_a_csv_in_which_the_undefined_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    lines = [
        Line("files", Figure(1_234_567 // 10, None, None, 8), "all"),
        Line("recall", Figure(1 / 3, 0.25, 0.5, 3), "view=PA"),
        Line("precision", Figure(None, None, None, 0), "all"),
        Line("npv", Figure(0.0, 0.0, 1.0, 2), "all"),
    ]
    write_summary(path, lines)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["metric", "value", "ci_low", "ci_high", "n", "subset"],
            ["files", "123456", "", "", "8", "all"],
            ["recall", "0.333333", "0.25", "0.5", "3", "view=PA"],
            ["precision", "", "", "", "0", "all"],
            ["npv", "0", "0", "1", "2", "all"],
        ]


def test_a_large_count_is_written_in_full(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    write_summary(path, [Line("files", Figure(1_234_567, None, None, 1_234_567), "all")])
    assert path.read_text(encoding="utf-8").splitlines()[1] == "files,1234567,,,1234567,all"
