import numpy as np
import pytest

from screening.training.film_edits import dilate, exchange_outside, soft_mask


def lungs(rows=112, columns=112):
    y, x = np.mgrid[:rows, :columns] / np.array([rows, columns]).reshape(2, 1, 1)
    left = ((x - 0.3) / 0.15) ** 2 + ((y - 0.5) / 0.3) ** 2 < 1
    return left | left[:, ::-1]


def film(seed, rows=112, columns=112):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), np.uint8)


def test_outside_is_the_donors_and_lungs_are_the_films():
    mask = lungs()
    own = np.where(mask, 200, 60).astype(np.uint8) + film(0) // 16
    donor = film(1) // 4 + 90
    mixed = exchange_outside(own, soft_mask(mask), donor)
    assert mixed.dtype == np.uint8
    assert (mixed[:8] == donor[:8]).all()
    core = soft_mask(mask) == 1
    assert core.sum() > 0.8 * mask.sum()
    assert np.corrcoef(mixed[core], own[core])[0, 1] > 0.95


def test_film_gets_mean_and_deviation_of_the_donor():
    own = (film(0) // 4 + 20).astype(np.float32) / 255
    donor = (film(1) // 2 + 60).astype(np.float32) / 255
    mixed = exchange_outside(own, np.ones_like(own), donor)
    assert mixed.dtype == np.float32
    assert mixed.mean() == pytest.approx(donor.mean(), abs=1e-4)
    assert mixed.std() == pytest.approx(donor.std(), abs=1e-4)


def test_bytes_and_floats_agree():
    alpha = soft_mask(lungs())
    whole = exchange_outside(film(0), alpha, film(1))
    part = exchange_outside(
        film(0).astype(np.float32) / 255, alpha, film(1).astype(np.float32) / 255
    )
    assert np.abs(whole / 255 - part).max() <= 0.5 / 255 + 1e-5


def test_film_without_lungs_keeps_its_outside():
    empty = np.zeros((112, 112), bool)
    assert (soft_mask(empty) == 1).all()
    assert not dilate(empty).any()
    own = film(0)
    assert (exchange_outside(own, soft_mask(empty), own) == own).all()


def test_mask_is_dilated_by_four_pixels_at_224():
    mask = np.zeros((224, 224), bool)
    mask[100:120, 100:120] = True
    grown = dilate(mask)
    assert grown[96:124, 110].all()
    assert not grown[95, 110]
    assert not grown[124, 110]


def test_flat_film_gives_no_invalid_values():
    flat = np.full((112, 112), 0.5, np.float32)
    mixed = exchange_outside(flat, soft_mask(lungs()), flat * 0)
    assert np.isfinite(mixed).all()


def test_exchange_refuses_other_shapes():
    with pytest.raises(ValueError, match="differ"):
        exchange_outside(film(0), np.ones((56, 56), np.float32), film(1))
