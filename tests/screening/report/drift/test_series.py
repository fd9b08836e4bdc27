"""Tests of comparing many nights in sequence."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from night_makers import night, reference, rows
from screening.errors import ReportError
from screening.report.drift.drift_csv import DRIFT, NIGHTS, REFERENCE
from screening.report.drift.profile import NightProfile
from screening.report.drift.series import series, write_series


def report(folder: Path, day: int, **changes: object) -> Path:
    """Write the report of a day in November to a folder named after the day."""
    place = folder / f"night-{day:02}"
    place.mkdir(parents=True)
    profile = night(day, **changes)  # type: ignore[arg-type]
    replace(profile, at=f"2026-11-{day:02}T03:00:00.000+00:00").write(place)
    return place


def test_nights_are_sorted_by_time(tmp_path: Path) -> None:
    reports = [report(tmp_path, day) for day in (3, 1, 2)]
    assert [each.name for each in series([*reports, reports[0]])] == [
        "night-01",
        "night-02",
        "night-03",
    ]


def test_each_night_is_compared_with_those_before(tmp_path: Path) -> None:
    calm = [report(tmp_path, day) for day in range(1, 9)]
    nights = series([*calm, report(tmp_path, 9, grey_mean=0.9)])
    assert [bool(each.breaches) for each in nights] == [False] * 8 + [True]
    assert [each.line("grey_mean") is None for each in nights] == [True] * 5 + [False] * 4
    assert {each.measure for each in nights[8].breaches} == {"grey_mean"}


def test_values_are_known_from_the_first_night_on(tmp_path: Path) -> None:
    (first,) = series([report(tmp_path, 1)])
    assert first.values["positive_rate"] == first.profile.called / 100
    assert first.values["grey_mean"] == pytest.approx(0.5, abs=0.03)
    assert first.values["white"] == pytest.approx(0.0008, abs=0.0003)


def test_nights_are_also_compared_with_a_given_reference(tmp_path: Path) -> None:
    own = reference(rows(1, films=500))
    (without,) = series([report(tmp_path, 1)])
    (held,) = series([tmp_path / "night-01"], own)
    assert {line.against for line in without.lines} == {NIGHTS}
    assert {line.against for line in held.lines} == {NIGHTS, REFERENCE}


def test_nights_of_two_models_are_an_error_that_names_both(tmp_path: Path) -> None:
    one, other = report(tmp_path, 1), report(tmp_path, 2)
    replace(NightProfile.read(other), model_sha256="e" * 64).write(other)
    with pytest.raises(ReportError, match=rf"{one} .*ffff.* {other} .*eeee"):
        series([other, one])


def test_night_without_films_fits_any_model(tmp_path: Path) -> None:
    one, empty = report(tmp_path, 1), tmp_path / "empty"
    empty.mkdir()
    NightProfile().write(empty)
    assert [each.name for each in series([one, empty])] == ["empty", "night-01"]


def test_series_csv_has_the_report_of_each_line(tmp_path: Path) -> None:
    nights = series([report(tmp_path, 1), report(tmp_path, 2)])
    write_series(tmp_path, nights)
    with (tmp_path / DRIFT).open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["report"], line["at"][:10], line["measure"]) for line in lines] == [
        ("night-01", "2026-11-01", "all"),
        ("night-02", "2026-11-02", "all"),
    ]
