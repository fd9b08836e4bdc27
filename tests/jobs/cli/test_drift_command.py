"""Tests for ``screening drift``."""

import pytest

from command import screening
from exports.bundle import SHIPPED, Bundle
from jobs import exit_codes
from queue_makers import empty_bundle, table
from screening.report.drift.profile import NightProfile


def report(folder, day, **changes):
    """Write a report of 100 films."""
    given = {
        "at": f"2026-11-{day:02}T03:00:00.000+00:00",
        "model_sha256": "f" * 64,
        "statuses": {"scored": 100},
        "called": 10,
        "histograms": {"domain_distance": {-25: 100}},
    }
    place = folder / f"night-{day}"
    place.mkdir()
    NightProfile(**given | changes).write(place)
    return place


@pytest.fixture
def reports(home):
    """Reports of seven ordinary nights and of one with many positive films."""
    ordinary = [report(home, day) for day in range(1, 8)]
    return [*ordinary, report(home, 8, called=60)]


def test_table_has_one_night_per_line_and_marks_breaches(home, reports):
    result = screening("drift", *reversed(reports))
    assert result.exit_code == exit_codes.OK, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["NIGHT", "REPORT", "FILMS", "POSITIVE"]
    assert lines[1].split() == [
        "2026-11-01",
        "03:00",
        "night-1",
        "100",
        "0.100",
        "-",
        "0.613",
        "0.000",
    ]
    assert lines[8].split()[4:] == ["0.600!", "-", "0.613", "0.000", "positive_rate"]
    assert lines[9] == "Charts: drift/drift.html"
    assert (home / "drift/drift.html").exists()
    assert table(home / "drift/drift.csv")[-1]["report"] == "night-8"


def test_charts_are_redrawn_each_time(home, reports):
    screening("drift", *reports[:2], "--out", "charts")
    first = (home / "charts/drift.csv").read_bytes()
    assert screening("drift", *reports, "--out", "charts").exit_code == exit_codes.OK
    assert (home / "charts/drift.csv").read_bytes() != first


@pytest.mark.parametrize("place", ["night-1", "night-1/charts"])
def test_output_inside_a_report_is_a_usage_error(reports, place):
    result = screening("drift", *reports, "--out", place)
    assert result.exit_code == exit_codes.USAGE
    assert "would be inside the report" in result.stderr


def test_folder_that_is_no_report_is_a_one_line_error(home, reports):
    (home / "other").mkdir()
    result = screening("drift", *reports, "other")
    assert result.exit_code == exit_codes.ERROR
    assert result.stderr == "Error: other is not a report: No such file or directory\n"


def test_reports_of_another_model_are_an_error(home, reports):
    bundle = empty_bundle(home / "bundle")
    result = screening("drift", *reports, "--model", bundle.path)
    assert result.exit_code == exit_codes.ERROR
    assert f"is {bundle.sha256[:16]}" in result.stderr


def test_nights_are_compared_with_the_baseline_of_the_bundle(home):
    sha256 = Bundle.open(SHIPPED).sha256
    only = report(home, 1, model_sha256=sha256, histograms={"domain_distance": {70: 100}})
    result = screening("drift", only, "--model", SHIPPED)
    assert "domain_distance" in result.stdout.splitlines()[1]


def test_unwritable_charts_are_an_error_without_traceback(home, reports):
    (home / "file").touch()
    result = screening("drift", *reports, "--out", "file/charts")
    assert result.exit_code in (exit_codes.ERROR, exit_codes.USAGE)
    assert "Traceback" not in result.output
