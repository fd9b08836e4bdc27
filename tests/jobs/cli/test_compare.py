"""Tests for ``screening compare``."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from command import screening
from exports.bundle import seal
from jobs import exit_codes
from makers import write_chest_film
from tiny_model import write_bundle


def run(place, films, name):
    """Write the report `name` with the model of the same name."""
    asked = ["run", films, "--model", place / f"model-{name}", "--settle", "0"]
    result = screening(*asked, "--out", place / name, XDG_STATE_HOME=str(place / "state"))
    assert result.exit_code == exit_codes.OK, result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two reports of the same films and one of an empty folder, made once."""
    place = tmp_path_factory.mktemp("made")
    for number in range(2):
        write_chest_film(place / "films" / f"{number}.png", number)
    (place / "none").mkdir()
    for name, threshold in (("a", 0.3), ("b", 0.9), ("empty", 0.5)):
        model = write_bundle(place / f"model-{name}")
        point = replace(model.card.operating_point, threshold=threshold)
        replace(model.card, operating_point=point).write(model.path)
        seal(model.path)
        run(place, place / ("none" if name == "empty" else "films"), name)
    return place


@pytest.fixture
def reports(made, home):
    for name in ("a", "b", "empty"):
        shutil.copytree(made / name, name)
    return Path("a"), Path("b")


def test_changes_are_printed_and_written(reports):
    result = screening("compare", *reports, "--out", "comparison")
    assert result.exit_code == exit_codes.OK
    assert "They differ in: model_sha256, threshold." in result.stdout
    assert "of 2 films scored in both reports: 2 fewer in B than in A" in result.stdout
    assert result.stdout.endswith("Comparison: comparison\n")
    with Path("comparison/changed.csv").open(newline="") as file:
        assert [line["film"] for line in csv.DictReader(file)] == ["0.png", "1.png"]


def test_labels_can_be_given_to_compare(reports):
    Path("labels.csv").write_text("film,label\n0.png,1\n1.png,0\n")
    result = screening("compare", *reports, "--labels", "labels.csv")
    assert result.exit_code == exit_codes.OK
    assert "sensitivity: A 1.000, B 0.000" in result.stdout


@pytest.mark.parametrize(
    "content", ["", "film\n0.png\n", "film,label\n0.png,maybe\n", "film,label\n0.png,1\n0.png,0\n"]
)
def test_unusable_labels_are_a_one_line_error(reports, content):
    Path("labels.csv").write_text(content)
    result = screening("compare", *reports, "--labels", "labels.csv")
    assert result.exit_code == exit_codes.ERROR
    assert result.stderr.startswith("Error: ")
    assert "labels.csv" in result.stderr
    assert result.stderr.count("\n") == 1


def test_altered_report_is_not_compared(reports):
    with Path("b/predictions.csv").open("a") as file:
        file.write("\n")
    result = screening("compare", *reports)
    assert result.exit_code == exit_codes.ERROR
    assert "b is not intact" in result.stderr


def test_reports_without_common_films_are_an_error(reports):
    result = screening("compare", "a", "empty")
    assert result.exit_code == exit_codes.ERROR
    assert "no film in common" in result.stderr


def test_output_inside_a_report_is_a_usage_error(reports):
    result = screening("compare", *reports, "--out", "a/comparison")
    assert result.exit_code == exit_codes.USAGE
    assert "would be inside the report a" in result.stderr
    assert not Path("a/comparison").exists()
