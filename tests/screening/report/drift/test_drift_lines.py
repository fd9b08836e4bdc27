"""The lines of ``drift.csv``."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from screening.errors import ReportError
from screening.report.drift.night_comparison import (
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


def test_a_line_is_written_with_its_limits_and_what_is_not_known_is_empty(tmp_path: Path) -> None:
    write_drift(tmp_path, [BREACH, SILENT])
    with (tmp_path / DRIFT).open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines == [
        list(COLUMNS),
        ["scanners", NIGHTS, TONIGHT, "0.25", "0.5", "0.412346", "0.6", "100", "breach", "'=1+1"],
        ["all", NIGHTS, THREE, "", "", "", "", "5", "", "Nothing, größer."],
    ]


def test_only_breaches_are_to_be_looked_at() -> None:
    assert list(breaches([BREACH, SILENT])) == [BREACH]


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    lines = [replace(BREACH, low=0.125, sentence='the view "PA", say'), SILENT, BREACH]
    write_drift(tmp_path, lines)
    assert read_drift(tmp_path) == [*lines[:2], replace(BREACH, low=0.412346)]


def test_a_report_without_the_file_has_no_lines(tmp_path: Path) -> None:
    assert read_drift(tmp_path) == []


@pytest.mark.parametrize("content", [b"measure\nks\n", b"\xff\xfe", b"measure,n\nks,many\n"])
def test_a_file_that_is_none_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DRIFT).write_bytes(content)
    with pytest.raises(ReportError, match=r"drift\.csv is damaged"):
        read_drift(tmp_path)
