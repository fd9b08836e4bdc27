"""Films are averaged before any expensive step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.imaging.downscale import JPEG, LOW_PASS, MEANS, averaged, halvings


@pytest.mark.parametrize(
    ("rows", "columns", "least", "power"),
    [
        (0, 0, MEANS, 0),
        (447, 447, MEANS, 0),
        (895, 2000, MEANS, 0),
        (896, 2000, MEANS, 1),
        (2000, 896, MEANS, 1),
        (2687, 2687, MEANS, 1),
        (2688, 2688, MEANS, 2),
        (5376, 6000, MEANS, 3),
        (40_000, 40_000, MEANS, 3),
        (1007, 2000, JPEG, 0),
        (1008, 2000, JPEG, 1),
        (2688, 3000, JPEG, 2),
        (783, 2000, LOW_PASS, 0),
        (784, 2000, LOW_PASS, 1),
        (1343, 2000, LOW_PASS, 1),
        (1344, 2000, LOW_PASS, 2),
        (2688, 3000, LOW_PASS, 3),
    ],
)
def test_film_is_halved_at_most_three_times(rows, columns, least, power):
    assert halvings(rows, columns, 448, least) == power


@settings(deadline=None, database=None, max_examples=60)
@given(
    rows=st.integers(8, 40),
    columns=st.integers(8, 40),
    power=st.integers(1, 3),
    kind=st.sampled_from(["u1", "i1", "u2", "i2"]),
    more=st.sampled_from([(), (3,)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_blocks_are_averaged_including_partial_ones(rows, columns, power, kind, more, seed):
    ends = np.iinfo(kind)
    rng = np.random.default_rng(seed)
    cells = rng.integers(ends.min, ends.max, (rows, columns, *more), kind, endpoint=True)
    means, factor = averaged(cells, power), 1 << power
    assert means.dtype == np.float32
    assert means.shape == (-(-rows // factor), -(-columns // factor), *more)
    for row in range(means.shape[0]):
        for column in range(means.shape[1]):
            block = cells[
                row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
            ]
            expected = block.mean(axis=(0, 1), dtype=np.float64)
            # Sums of a partial block are rounded to whole numbers, twice.
            cut = block.shape[:2] != (factor, factor)
            np.testing.assert_allclose(
                means[row, column], expected, rtol=1e-6, atol=0.6 if cut else 0
            )


def test_extreme_cell_values_do_not_overflow():
    for kind in ("u1", "u2"):
        top = np.iinfo(kind).max
        np.testing.assert_array_equal(averaged(np.full((64, 64), top, kind), 3), top)


@pytest.mark.parametrize("kind", ["u2", "i2"])
@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("most", [1, 511, 512, 1023, 1024, 4095, 8191, 8192, 16383, 32767])
def test_cells_with_a_stated_limit_do_not_overflow(kind, power, most):
    assert (averaged(np.full((16, 16), most, kind), power, most) == most).all()
    if kind == "i2":
        assert (averaged(np.full((16, 16), -most, kind), power, most) == -most).all()
