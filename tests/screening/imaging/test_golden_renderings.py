"""Samples, tables, windows and ranges compared with the formulas of the standard and with DCMTK.

The tables are `golden/samples.py`, `palettes.py`, `windows.py` and `ranges.py`.
"""

from pathlib import Path

import numpy as np
import pytest

from golden import palettes, ranges, samples, windows
from golden.case import STEP, Case
from screening.imaging.readers import open_film

GOLDEN = Path(__file__).parents[2] / "support" / "golden"
CASES = (*samples.CASES, *palettes.CASES, *windows.CASES, *ranges.CASES)
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.proves)
WITNESSED = [case for case in CASES if case.witness is not None]
SMALL = windows.SMALL | palettes.SMALL


@EVERY_CASE
def test_film_is_rendered_as_the_standard_defines(case: Case) -> None:
    grey, _warnings = open_film(case.film(), case.name).decode()
    assert grey.dtype == np.float32
    assert grey.min() >= 0
    assert grey.max() <= 1
    assert case.difference(grey) <= case.tolerance


@EVERY_CASE
def test_comparison_detects_a_reader_without_the_rule(case: Case) -> None:
    assert np.ptp(case.expected) > 0.15
    other = case.without
    if callable(other):
        other, _warnings = open_film(other(), case.name).decode()
    assert case.difference(other) > 10 * case.tolerance


@pytest.mark.parametrize("case", WITNESSED, ids=lambda case: case.proves)
def test_dcmtk_agrees_with_the_expected_values(case: Case) -> None:
    """Checks the expected values themselves; the code under test is not involved."""
    with np.load(GOLDEN / "witness.npz") as shown:
        witness = shown[case.proves] / 65535
    difference = np.abs(witness - case.expected.ravel()[::STEP])
    assert difference.max() <= case.quantum


def test_case_names_are_unique() -> None:
    names = [case.proves for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("order", ["implicit", "bigendian"])
@pytest.mark.parametrize("name", SMALL)
def test_table_is_read_in_any_byte_order(name: str, order: str) -> None:
    """PS3.5 7.3 and A.1: words and the bytes in them are swapped; implicit VR names no type."""
    grey, _warnings = open_film((GOLDEN / f"{name}-{order}.dcm").read_bytes(), "film").decode()
    expected, _warnings = open_film(SMALL[name], "film").decode()
    np.testing.assert_array_equal(grey, expected)
    assert len(np.unique(grey)) > 12
