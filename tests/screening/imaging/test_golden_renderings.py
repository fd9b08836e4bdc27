"""Samples, tables, windows and ranges against the formulas of the standard and DCMTK.

The tables are `golden/samples.py`, `palettes.py`, `windows.py` and `ranges.py`.
"""

from pathlib import Path

import numpy as np
import pytest
from golden import palettes, ranges, samples, windows
from golden.case import STEP, Case

from screening.imaging.readers import open_film

GOLDEN = Path(__file__).parent / "golden"
CASES = (*samples.CASES, *palettes.CASES, *windows.CASES, *ranges.CASES)
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.proves)
WITNESSED = [case for case in CASES if case.witness is not None]
SMALL = windows.SMALL | palettes.SMALL


@EVERY_CASE
def test_a_film_looks_as_the_standard_says(case: Case) -> None:
    grey, _warnings = open_film(case.film(), case.name).decode()
    assert grey.dtype == np.float32
    assert grey.min() >= 0
    assert grey.max() <= 1
    assert case.difference(grey) <= case.tolerance


@EVERY_CASE
def test_each_case_would_fail_without_its_rule(case: Case) -> None:
    assert np.ptp(case.expected) > 0.15
    other = case.without
    if callable(other):
        other, _warnings = open_film(other(), case.name).decode()
    assert case.difference(other) > 10 * case.tolerance


@pytest.mark.parametrize("case", WITNESSED, ids=lambda case: case.proves)
def test_dcmtk_shows_what_is_expected(case: Case) -> None:
    """The expected values themselves are checked: the program under test has no part in it."""
    with np.load(GOLDEN / "witness.npz") as shown:
        witness = shown[case.proves] / 65535
    difference = np.abs(witness - case.expected.ravel()[::STEP])
    assert difference.max() <= case.quantum


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.proves for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("order", ["implicit", "bigendian"])
@pytest.mark.parametrize("name", SMALL)
def test_a_table_is_the_same_in_any_byte_order(name: str, order: str) -> None:
    """PS3.5 7.3 and A.1: words turn, bytes in words turn with them, implicit VR names no type."""
    grey, _warnings = open_film((GOLDEN / f"{name}-{order}.dcm").read_bytes(), "film").decode()
    expected, _warnings = open_film(SMALL[name], "film").decode()
    np.testing.assert_array_equal(grey, expected)
    assert len(np.unique(grey)) > 12
