"""Tests that the reference pages list exactly the codes and columns of the program."""

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest

from exports import parity
from screening import audit, results
from screening.model.card import Card
from screening.report import labels, operating_points, summary
from screening.report.comparison import text
from screening.report.drift import drift_csv, series
from screening.report.drift.profile import NightProfile
from screening.report.intervals import NOTES

DOCS = Path(__file__).parents[2] / "docs"

CODES = {
    "Refused": results.REFUSALS,
    "Failed": results.FAILURES,
    "Duplicate": results.DUPLICATES,
    "Warnings": results.WARNINGS,
}
COLUMNS: dict[str, Iterable[str]] = {
    "`predictions.csv`": results.COLUMNS,
    "`summary.csv`": summary._COLUMNS,
    "Notes": NOTES,
    "`operating_points.csv`": operating_points._COLUMNS,
    "`labels.csv`": labels._COLUMNS,
    "Problems": [problem.value for problem in labels.LabelProblem],
    "`drift.csv`": drift_csv.COLUMNS,
    "Measures": [*drift_csv.NAMES, drift_csv.ALL],
    "`profile.json`": [field.name for field in fields(NightProfile)],
    "`audit.csv`": audit._COLUMNS,
    "`comparison.csv`": text._COLUMNS,
    "`changed.csv`": text._CHANGED_COLUMNS,
    "`drift.csv` of several reports": series._COLUMNS[: -len(drift_csv.COLUMNS)],
    "`card.json`": [field.name for field in fields(Card)],
    "`parity.csv`": parity._COLUMNS,
}


@pytest.mark.parametrize("heading", CODES)
def test_reason_codes_page_lists_every_code(heading: str) -> None:
    assert listed("reason-codes.md", heading) == as_code(CODES[heading])


@pytest.mark.parametrize("heading", COLUMNS)
def test_files_and_columns_page_lists_every_column(heading: str) -> None:
    assert listed("files-and-columns.md", heading) == as_code(COLUMNS[heading])


def listed(page: str, heading: str) -> list[str]:
    """Return the first cells of the table below a heading, with their backticks."""
    sections = re.split(r"^#+ (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sections[1::2].count(heading) == 1, f"{page} needs the heading {heading!r} once"
    section = sections[sections.index(heading) + 1]
    cells = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    return cells[2:]


def as_code(names: Iterable[str]) -> list[str]:
    return [f"`{name}`" for name in names]
