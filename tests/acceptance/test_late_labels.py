"""Test the evaluation against labels that arrive weeks later, when the films are gone."""

import csv
import shutil

import pytest

from makers import write_chest_film
from screening.report.verification import verify


@pytest.fixture(scope="module")
def place(screening, bright_bundle, tmp_path_factory):
    """A report without labels, one of the same films with labels, and the labels; no films."""
    place = tmp_path_factory.mktemp("late")
    films = place / "films"
    for seed in range(12):
        write_chest_film(films / f"ward-{seed % 2}" / f"{seed}.png", seed)
    (films / "broken.png").write_text("no picture")
    lines = [(f"{seed}.png", seed % 2, f"P{seed // 2}") for seed in range(11)]
    lines += [("broken.png", 1, "P9"), ("elsewhere.png", 1, "")]
    with (place / "labels.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([("film", "label", "patient"), *lines])
    run = ["run", films, "--model", bright_bundle, "--prevalence", "0.05"]
    # Separate queues make each report the first of its queue.
    screening(*run, "--queue", place / "a", "--out", place / "report", code=3)
    run += ["--queue", place / "b", "--labels", place / "labels.csv"]
    screening(*run, "--out", place / "at once", code=3)
    shutil.rmtree(films)
    return place


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_evaluation_equals_a_report_with_labels_exactly(screening, place):
    before = contents(place / "report")
    labels = ["--labels", place / "labels.csv", "--prevalence", "0.05"]
    result = screening("evaluate", place / "report", *labels)
    assert "recall with unscored" in result.stdout
    assert contents(place / "report") == before
    later = place / "report-evaluation"
    for name in ("summary.csv", "operating_points.csv", "labels.csv", "drift.csv"):
        assert (later / name).read_bytes() == (place / "at once" / name).read_bytes(), name
    assert verify(later) == []


def test_existing_evaluation_is_not_overwritten(screening, place):
    labels = ["--labels", place / "labels.csv", "--out", place / "once"]
    screening("evaluate", place / "report", *labels)
    before = contents(place / "once")
    failed = screening("evaluate", place / "report", *labels, code=1)
    assert "once" in failed.stderr
    assert contents(place / "once") == before


def test_changed_report_is_not_evaluated(screening, place):
    shutil.copytree(place / "report", place / "changed")
    with (place / "changed" / "predictions.csv").open("a") as file:
        file.write("\n")
    failed = screening("evaluate", place / "changed", "--labels", place / "labels.csv", code=1)
    assert "predictions.csv" in failed.stderr
    assert not (place / "changed-evaluation").exists()


@pytest.mark.parametrize(
    ("line", "problem"),
    [("0.png;perhaps", "unknown_label"), ("0.png;1", "conflicting"), ("0.png;0", "duplicate")],
)
def test_unusable_labels_are_errors_or_listed(screening, place, line, problem):
    (place / "odd.csv").write_text(f"film;label\n0.png;0\n{line}\n")
    out = place / problem
    arguments = ["evaluate", place / "report", "--labels", place / "odd.csv", "--out", out]
    failed = screening(*arguments, code=1)
    assert "odd.csv, line" in failed.stderr
    assert not out.exists()
    screening(*arguments, "--labels-policy", "list")
    assert f"3,{problem}" in (out / "labels.csv").read_text()
