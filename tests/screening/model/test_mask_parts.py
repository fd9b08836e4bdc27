"""Connected parts compared with SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from screening.model.lungs import filled, opened, parts_of

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14))
QUICK = settings(deadline=None, max_examples=200, database=None)


@QUICK
@given(MASKS)
def test_parts_match_scipy(mask: np.ndarray) -> None:
    labels, count = ndimage.label(mask)
    parts = parts_of(mask)
    assert len(parts.sizes) == count
    assert sorted(parts.sizes, reverse=True) == list(parts.sizes)
    for part, size in zip(parts.each(), parts.sizes, strict=True):
        (label,) = np.unique(labels[part])
        np.testing.assert_array_equal(part, labels == label)
        assert part.sum() == size


@QUICK
@given(MASKS)
def test_filled_matches_scipy(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(filled(mask), ndimage.binary_fill_holes(mask))


@QUICK
@given(MASKS)
def test_opened_matches_scipy_with_padded_edges(mask: np.ndarray) -> None:
    square = np.ones((3, 3))
    eroded = ndimage.binary_erosion(mask, square, border_value=1)
    np.testing.assert_array_equal(opened(mask), ndimage.binary_dilation(eroded, square))


@given(st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=10, database=None)
def test_empty_mask_has_no_parts(rows: int, columns: int) -> None:
    parts = parts_of(np.zeros((rows, columns), np.bool_))
    assert parts.each() == []
    assert not parts.drawn(np.zeros(0, np.bool_)).any()


@pytest.mark.parametrize("shape", [(3, 4), (1, 1)])
def test_full_mask_is_one_part(shape: tuple[int, int]) -> None:
    full = np.ones(shape, np.bool_)
    (part,) = parts_of(full).each()
    np.testing.assert_array_equal(part, full)
