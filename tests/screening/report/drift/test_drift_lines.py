"""Tests of writing and reading ``drift.csv``."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from screening.errors import ReportError
from screening.report.drift.drift_csv import (
    COLUMNS,
    DRIFT,
    NIGHTS,
    THREE,
    TONIGHT,
    Drift,
    breaches,
    read_drift,
    write_drift,
)

BREACH = Drift(
    measure="scanners",
    against=NIGHTS,
    window=TONIGHT,
    value=0.25,
    expected=0.5,
    low=0.4123456789,
    high=0.6,
    n=100,
    breach=True,
    sentence="=1+1",
)
SILENT = Drift(measure="all", against=NIGHTS, window=THREE, n=5, sentence="Nothing, größer.")


def test_unknown_values_are_written_as_empty_cells(tmp_path: Path) -> None:
    write_drift(tmp_path, [BREACH, SILENT])
    with (tmp_path / DRIFT).open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines == [
        list(COLUMNS),
        ["scanners", NIGHTS, TONIGHT, "0.25", "0.5", "0.412346", "0.6", "100", "breach", "'=1+1"],
        ["all", NIGHTS, THREE, "", "", "", "", "5", "", "Nothing, größer."],
    ]


def test_breaches_returns_only_lines_with_a_breach() -> None:
    assert list(breaches([BREACH, SILENT])) == [BREACH]


def test_lines_survive_writing_and_reading(tmp_path: Path) -> None:
    lines = [replace(BREACH, low=0.125, sentence='the view "PA", say'), SILENT, BREACH]
    write_drift(tmp_path, lines)
    assert read_drift(tmp_path) == [*lines[:2], replace(BREACH, low=0.412346)]


def test_report_without_drift_csv_has_no_lines(tmp_path: Path) -> None:
    assert read_drift(tmp_path) == []


@pytest.mark.parametrize("content", [b"measure\nks\n", b"\xff\xfe", b"measure,n\nks,many\n"])
def test_malformed_drift_csv_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DRIFT).write_bytes(content)
    with pytest.raises(ReportError, match=r"drift\.csv is damaged"):
        read_drift(tmp_path)
