"""The grey range of a film without a window is measured on a smaller copy, which is less noisy."""

import imagecodecs
import numpy as np
import pytest

from makers import dicom_film, grey_film
from screening.imaging.downscale import decode
from screening.imaging.masks import Padding
from screening.imaging.render import Cells, grey_range, halvings_for_range

SIDES = (400, 673, 1400)


def film_of(side: int, noise: float = 8.0, seed: int = 1) -> np.ndarray:
    """A 12-bit film."""
    small = grey_film(seed, side=side).astype(np.float64)
    film = 400 + small * 12 + np.random.default_rng(seed).normal(0, noise, small.shape)
    return np.rint(film).clip(0, 4095).astype(np.uint16)


def range_of(stored: np.ndarray, padding: Padding | None = None, **attributes: object):
    dataset = dicom_film(stored, **attributes)
    return grey_range(dataset, Cells.of(stored), padding, lambda values: values)


@pytest.mark.parametrize(("side", "power"), [(671, 0), (672, 1), (1343, 1), (1344, 2), (2688, 3)])
def test_film_is_halved_while_it_keeps_336_rows(side, power):
    assert halvings_for_range(side, side + 1) == power


@pytest.mark.parametrize("side", SIDES[1:])
def test_low_resolutions_of_jpeg_2000_have_the_same_range_as_full(side):
    stored = film_of(side)
    whole = range_of(stored)
    code = imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, bitspersample=12)
    for power in range(1, halvings_for_range(side, side) + 1):
        cells = Cells(decode(code, power, 12), side, side, power)
        low = grey_range(dicom_film(stored), cells, None, lambda values: values)
        np.testing.assert_allclose(low, whole, atol=1)  # of 4,095


@pytest.mark.parametrize("side", SIDES)
def test_noise_does_not_widen_the_range(side):
    low, high = range_of(film_of(side, noise=0))
    noisy = range_of(film_of(side, noise=100))
    least = {400: 0.05, 673: 0.05, 1400: 0.02}[side] * (high - low)
    np.testing.assert_allclose(noisy, (low, high), atol=least)


@pytest.mark.parametrize("side", SIDES)
def test_border_is_excluded(side):
    stored = film_of(side)
    inside = range_of(stored[40:-40, 40:-40])
    for value in (0, 4095):
        bordered = stored.copy()
        bordered[:40] = bordered[-40:] = value
        bordered[:, :40] = bordered[:, -40:] = value
        np.testing.assert_allclose(range_of(bordered), inside, atol=40)


@pytest.mark.parametrize("side", SIDES)
def test_area_outside_the_collimator_is_excluded(side):
    stored = film_of(side)
    edge = side // 4
    inside = range_of(stored[edge:-edge, edge:-edge])
    stored[: edge - 1] = 4095
    edges = {
        "CollimatorShape": "RECTANGULAR",
        "CollimatorLeftVerticalEdge": edge + 1,
        "CollimatorRightVerticalEdge": side - edge,
        "CollimatorUpperHorizontalEdge": edge + 1,
        "CollimatorLowerHorizontalEdge": side - edge,
    }
    np.testing.assert_allclose(range_of(stored, **edges), inside, atol=60)


@pytest.mark.parametrize("side", SIDES)
def test_padding_and_values_mixed_with_it_are_excluded(side):
    stored = film_of(side)
    low, high = range_of(stored)
    rows = np.arange(side)[:, np.newaxis]
    stored[(rows - side / 2) ** 2 + (rows.T - side / 2) ** 2 > (side / 2) ** 2] = 0
    found = range_of(stored, Padding(0, 0))
    assert found[0] > 300
    assert range_of(stored)[0] < 1
    assert found[1] - found[0] > 0.8 * (high - low)


def test_wide_cells_have_the_same_range_as_narrow_ones():
    stored = film_of(700)
    low, high = range_of(stored)
    wide = range_of(stored.astype(np.uint32) * 1000)
    np.testing.assert_allclose(wide, (low * 1000, high * 1000), rtol=1e-4)


def test_few_pixels_of_a_uniform_film_are_in_the_range():
    stored = np.full((700, 700), 7, np.uint16)
    stored[350, 350:353] = [8, 9, 11]
    assert range_of(stored)[1] > 7
    stored[350, 350:353] = 7
    stored[0, 0] = 11
    assert range_of(stored) == (7, 11)


def test_film_with_a_single_value_has_no_range():
    assert range_of(np.full((700, 700), 5, np.uint16)) is None
