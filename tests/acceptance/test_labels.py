"""Test precision and recall against labels, with their intervals and denominators."""

import csv

import pandas as pd
import pytest
from scipy.stats import binomtest

from exports.bundle import SHIPPED
from makers import write_chest_film
from tiny_model import with_threshold


@pytest.fixture(scope="module")
def report(screening, tmp_path_factory):
    place = tmp_path_factory.mktemp("labels")
    for seed in range(12):
        write_chest_film(place / "films" / f"{seed}.png", seed)
    (place / "films" / "broken.png").write_text("no picture")
    lines = [(f"{seed}.png", "PNEUMONIA" if seed % 3 else "NORMAL") for seed in range(11)]
    lines += [("broken.png", "PNEUMONIA"), ("elsewhere.png", "1")]
    with (place / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("film", "label"), *lines])
    screening("run", place / "films", "--out", place / "first", code=3)
    rows = pd.read_csv(place / "first" / "predictions.csv")
    # Synthetic films could all lie on one side of the shipped threshold.
    model = with_threshold(SHIPPED, rows.probability.median(), place / "bundle")
    given = ["--labels", place / "labels.csv", "--model", model]
    screening("run", place / "films", *given, "--out", place / "report", code=3)
    return place / "report"


def test_outcomes_follow_from_labels_and_predictions(report):
    rows = pd.read_csv(report / "predictions.csv", keep_default_na=False, index_col="film")
    labelled = rows[rows.outcome != ""]
    assert len(labelled) == 11
    right = labelled.label == labelled.prediction
    positive = labelled.prediction == "PNEUMONIA"
    expected = right.map({True: "T", False: "F"}) + positive.map({True: "P", False: "N"})
    assert list(labelled.outcome) == list(expected)
    assert rows.label["broken.png"] == "PNEUMONIA"
    assert rows.outcome["broken.png"] == ""


def test_precision_and_recall_have_wilson_intervals(report):
    rows = pd.read_csv(report / "predictions.csv", keep_default_na=False)
    summary = pd.read_csv(report / "summary.csv")
    figures = summary[summary.subset == "all"].set_index("metric")
    count = rows.outcome.value_counts().reindex(["TP", "FP", "TN", "FN"], fill_value=0)
    for name, wrong in (("precision", "FP"), ("recall", "FN")):
        n = count["TP"] + count[wrong]
        assert n > 0, "the films of this test must be judged"
        interval = binomtest(int(count["TP"]), int(n)).proportion_ci(0.95, method="wilson")
        figure = figures.loc[name]
        assert figure.n == n
        assert figure.value == pytest.approx(count["TP"] / n, abs=1e-6)
        assert figure.ci_low == pytest.approx(interval.low, abs=1e-6)
        assert figure.ci_high == pytest.approx(interval.high, abs=1e-6)


def test_labels_without_film_and_labelled_films_are_counted(report):
    summary = pd.read_csv(report / "summary.csv")
    values = summary[summary.subset == "all"].set_index("metric").value
    assert values["labels_without_film"] == 1
    assert values["labelled"] == 12
    assert values["films_without_patient"] == 11
