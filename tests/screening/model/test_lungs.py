"""The lung fields of a film and its image quality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lung_makers import ellipse, two_lungs
from makers import grey_film
from screening.model.lungs import (
    CODES,
    QUALITY,
    SIDE,
    LungCard,
    LungFields,
    clean,
    coverage,
    lung_evidence,
    lung_input,
    quality,
)
from screening.results import REFUSALS, WARNINGS

QUICK = settings(deadline=None, max_examples=100, database=None)
EVIDENCE = arrays(np.float32, (4, 4), elements=st.floats(-30, 30, width=32))
SMALL_MASKS = arrays(np.bool_, (8, 8))


def measured(mask: np.ndarray) -> LungFields:
    return LungFields.of(clean(mask.astype(np.float32)))


def codes(mask: np.ndarray) -> list[str]:
    return [code for code, _detail in quality(measured(mask))]


def test_input_is_standardised_at_any_exposure() -> None:
    film = grey_film(3, side=200).astype(np.float32) / 255
    given_, darker = lung_input(film), lung_input(film * 0.5 + 0.1)
    assert given_.shape == (SIDE, SIDE, 1)
    assert given_.dtype == np.float32
    assert float(given_.mean()) == pytest.approx(0, abs=1e-5)
    assert float(given_.std()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(given_, darker, atol=1e-4)


def test_film_with_a_single_value_does_not_divide_by_zero() -> None:
    assert not lung_input(np.full((50, 40), 0.5, np.float32)).any()


def test_good_film_has_no_quality_problem() -> None:
    lungs = measured(two_lungs())
    assert quality(lungs) == ()
    assert lungs.area == pytest.approx(2 * np.pi * 0.14 * 0.3, rel=0.01)
    assert lungs.left == pytest.approx(lungs.right, rel=0.01)
    assert lungs.tilt == pytest.approx(0, abs=0.1)
    assert lungs.edges == {"top": 0, "bottom": 0, "left": 0, "right": 0}


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.zeros((SIDE, SIDE), np.bool_), ["lungs_not_found"]),
        (ellipse(0.3, 0.5, 0.1, 0.1), ["lungs_not_found"]),
        (two_lungs(width=0.1, height=0.2), ["lungs_small"]),
        (ellipse(0.28, 0.5, 0.2, 0.35), ["lungs_asymmetric"]),
        (ellipse(0.28, 0.5) | ellipse(0.72, 0.5, 0.14, 0.18), ["lungs_asymmetric"]),
        (np.roll(two_lungs(), 20, axis=0), []),
        (ellipse(0.28, 0.98, 0.16, 0.5) | ellipse(0.72, 0.98, 0.16, 0.5), ["lungs_cut_off"]),
        (ellipse(0.02, 0.5, 0.25) | ellipse(0.5, 0.5, 0.16), ["lungs_cut_off"]),
        (two_lungs(tilt=8), []),
        (two_lungs(tilt=13), ["lungs_tilted"]),
        (two_lungs(tilt=-13), ["lungs_tilted"]),
        (two_lungs(tilt=90), ["lungs_tilted"]),
    ],
)
def test_each_quality_problem_has_its_code(mask: np.ndarray, expected: list[str]) -> None:
    assert codes(mask) == expected


def test_detail_names_the_edge_that_cuts_off_the_lungs() -> None:
    mask = ellipse(0.28, 0.98, 0.16, 0.5) | ellipse(0.72, 0.98, 0.16, 0.5)
    assert dict(quality(measured(mask)))["lungs_cut_off"] == "at the bottom"


@pytest.mark.parametrize("tilt", [-40, -10, 0, 10, 25, 60])
def test_tilt_is_in_degrees_anticlockwise(tilt: float) -> None:
    assert measured(two_lungs(tilt)).tilt == pytest.approx(tilt, abs=0.5)


def test_lungs_leaning_towards_each_other_are_not_tilted() -> None:
    mask = ellipse(0.28, 0.5, tilt=-12) | ellipse(0.72, 0.5, tilt=12)
    assert measured(mask).tilt == pytest.approx(0, abs=0.5)


def test_single_lung_has_no_tilt_and_no_area_on_the_other_side() -> None:
    lungs = measured(ellipse(0.75, 0.5))
    assert (lungs.left, lungs.tilt, lungs.symmetry) == (0, None, 0)
    assert lungs.right > 0.1


def test_touching_lungs_are_separated() -> None:
    lungs = two_lungs()
    lungs[60:66, 40:90] = True
    found = measured(lungs)
    assert found.symmetry > 0.9
    assert quality(found) == ()


def test_clean_keeps_the_two_largest_parts_without_holes() -> None:
    lungs = two_lungs()
    spoilt = lungs.astype(np.float32)
    spoilt[20, 60:70] = 1  # a thin line
    spoilt[2:8, 2:8] = 1  # a speckle
    spoilt[110:124, 50:80] = 1  # a third part
    spoilt[60:64, 34:38] = 0.4  # a hole
    np.testing.assert_array_equal(clean(spoilt), lungs)


def test_nan_is_not_lung() -> None:
    assert not clean(np.full((SIDE, SIDE), np.nan, np.float32)).any()


@QUICK
@given(mask=SMALL_MASKS, rows=st.integers(1, 11), columns=st.integers(1, 11))
def test_coverage_preserves_the_area(mask: np.ndarray, rows: int, columns: int) -> None:
    cells = coverage(mask, rows, columns)
    assert cells.shape == (rows, columns)
    assert cells.dtype == np.float32
    assert float(cells.min()) >= 0
    assert float(cells.max()) <= 1 + 1e-6
    assert float(cells.mean()) == pytest.approx(float(mask.mean()), abs=1e-6)


def test_cell_counts_by_its_share_of_lung() -> None:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[:, :32] = True
    assert coverage(mask, 2, 2).tolist() == [[0.5, 0], [0.5, 0]]
    evidence = np.array([[2, 2], [-9, 0]], np.float32)
    assert lung_evidence(evidence, mask) == 0.25


def test_lung_evidence_counts_positive_cells_by_coverage() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[:4, :6] = True  # one of four cells, and half of another
    assert coverage(mask, 2, 2).tolist() == [[1, 0.5], [0, 0]]
    assert lung_evidence(np.array([[3, 2], [-100, 5]], np.float32), mask) == 0.4


@QUICK
@given(evidence=EVIDENCE, mask=SMALL_MASKS)
def test_lung_evidence_is_a_share(evidence: np.ndarray, mask: np.ndarray) -> None:
    share = lung_evidence(evidence, mask)
    if share is None:
        assert not (evidence > 0).any()
    else:
        assert 0 <= share <= 1
        assert share == round(share, 4)


@QUICK
@given(evidence=EVIDENCE, factor=st.floats(0.1, 10))
def test_lung_evidence_does_not_depend_on_strength(evidence: np.ndarray, factor: float) -> None:
    evidence[:, 2:] = -1
    evidence[0, 0] = 1
    mask = np.zeros((8, 8), np.bool_)
    mask[:, :4] = True
    assert lung_evidence(evidence, mask) == 1
    assert lung_evidence(evidence, ~mask) == 0
    half = np.zeros((8, 8), np.bool_)
    half[:4] = True
    stronger = lung_evidence(evidence * np.float32(factor), half)
    assert stronger == pytest.approx(lung_evidence(evidence, half), abs=2e-4)


@pytest.mark.parametrize("value", [-1.0, 0.0, np.nan, np.inf])
def test_lung_evidence_is_none_without_positive_evidence(value: float) -> None:
    assert lung_evidence(np.full((7, 7), value, np.float32), two_lungs()) is None


def test_every_code_has_a_sentence() -> None:
    assert set(CODES) <= WARNINGS.keys()
    assert set(QUALITY) <= REFUSALS.keys()


@pytest.mark.parametrize(
    "fields", [{"low_evidence": 2}, {"low_evidence": "0.5"}, {"low_evidence": True}]
)
def test_card_with_invalid_low_evidence_is_rejected(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="low_evidence"):
        LungCard(**fields)  # type: ignore[arg-type]
