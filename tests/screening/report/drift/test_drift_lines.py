"""The lines of ``drift.csv``."""

import csv
from pathlib import Path

from screening.report.drift.lines import (
    COLUMNS,
    DRIFT,
    NIGHTS,
    THREE,
    TONIGHT,
    Drift,
    breaches,
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
