from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from lung_films import lung_mask
from makers import grey_film
from screening.model.preprocess import Preprocessing
from screening.training import augment
from screening.training.batches import Material, augmented_batches, class_weights, order_of_epoch
from screening.training.film_edits import exchange_outside, soft_mask
from screening.training.recipe import CONTRAST, GEOMETRY, HOSPITALS, Recipe

LABELS = np.array([0] * 7 + [1] * 25)


def test_balanced_epoch_has_the_smaller_class_and_as_many_of_the_larger():
    indices = np.concatenate(order_of_epoch(LABELS, 4, True, (1, 0)))
    assert sorted(indices[LABELS[indices] == 0]) == [*range(7)]
    assert len({*indices[LABELS[indices] == 1]}) == 7


def test_each_epoch_draws_other_films_of_the_larger_class():
    epochs = [np.concatenate(order_of_epoch(LABELS, 4, True, (1, epoch))) for epoch in range(40)]
    assert {*np.concatenate(epochs)} == {*range(32)}
    assert {*epochs[0]} != {*epochs[1]}


def test_unbalanced_epoch_has_every_film_once():
    batches = order_of_epoch(LABELS, 5, False, (1, 0))
    assert [len(batch) for batch in batches] == [5] * 6 + [2]
    assert sorted(np.concatenate(batches)) == [*range(32)]


def test_same_seed_and_epoch_give_the_same_order():
    first, second = (order_of_epoch(LABELS, 4, True, (3, 2)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_classes_are_mixed_within_an_epoch():
    indices = np.concatenate(order_of_epoch(LABELS, 4, True, (1, 0)))
    assert 0 < LABELS[indices][:7].sum() < 7


def test_class_weights_balance_the_classes():
    weights = class_weights(LABELS)
    assert 7 * weights[0] == pytest.approx(25 * weights[1])
    assert weights[LABELS].sum() == pytest.approx(len(LABELS))


def test_batches_are_augmented_and_the_same_for_the_same_seed():
    films = np.stack([grey_film(seed, side=32) for seed in range(6)])
    batches = [np.array([4, 1]), np.array([0, 5]), np.array([2])]
    preprocessing = Preprocessing(32, 32, 3, 2.0, -1.0)
    with ThreadPoolExecutor(2) as pool:
        first, second, other = (
            [*augmented_batches(Material(films), preprocessing, batches, Recipe(), epoch, pool)]
            for epoch in (0, 0, 1)
        )
    assert [[*batch.indices] for batch in first] == [[4, 1], [0, 5], [2]]
    for batch, again, later in zip(first, second, other, strict=True):
        assert batch.coverage is None
        assert batch.tensors.shape == (len(batch.indices), 32, 32, 3)
        assert batch.tensors.min() >= -1
        assert batch.tensors.max() <= 1
        np.testing.assert_array_equal(batch.tensors, again.tensors)
        assert np.abs(batch.tensors - later.tensors).mean() > 0.01


def test_geometry_augmentation_only_moves_films():
    films = np.full((20, 32, 32), 51, np.uint8)
    preprocessing = Preprocessing(32, 32, 1)
    with ThreadPoolExecutor(2) as pool:
        moved, changed = (
            next(augmented_batches(Material(films), preprocessing, [np.arange(20)], how, 0, pool))[
                1
            ]
            for how in (Recipe(augmentation=GEOMETRY), Recipe(augmentation=HOSPITALS))
        )
    np.testing.assert_allclose(np.median(moved, axis=(1, 2)), 0.2, rtol=1e-6)
    assert np.ptp(np.median(changed, axis=(1, 2))) > 0.1


SIDE = 64

#: Films of one grey each, whose lungs are 40 brighter; the last film has no lungs.
LUNGS = np.stack([lung_mask(SIDE)] * 5 + [np.zeros((SIDE, SIDE), bool)])
GREYS = np.array([20, 50, 80, 110, 140, 170], np.uint8)
FILMS = GREYS[:, None, None] + 40 * LUNGS.astype(np.uint8)


def material(cells=(4, 4)):
    alphas = [np.rint(255 * soft_mask(lungs)).astype(np.uint8) for lungs in LUNGS]
    return Material(FILMS, LUNGS.astype(np.uint8) * 255, np.stack(alphas), cells)


def only_batch(of, recipe, indices, epoch=0):
    with ThreadPoolExecutor(2) as pool:
        (batch,) = augmented_batches(of, Preprocessing(SIDE, SIDE), [indices], recipe, epoch, pool)
    return batch


@pytest.fixture
def unmoved(monkeypatch):
    """Disable geometry and patches, so that only the exchange changes films."""
    still = augment.Ranges(0, (0, 0), 0, 0)
    monkeypatch.setattr(augment, "LIGHT_VIEWS", still)
    monkeypatch.setattr(augment, "_cover", lambda film, _rng: film)
    return Recipe(augmentation=GEOMETRY)


def greys_of(batch):
    return np.rint(batch.tensors[..., 0] * 255).astype(int)


def test_nothing_is_exchanged_at_rate_0(unmoved):
    batch = only_batch(material(), unmoved, np.arange(6))
    np.testing.assert_array_equal(greys_of(batch), FILMS)


def test_all_outsides_come_from_donors_of_the_epoch_at_rate_1(unmoved):
    # Film 3 is not in this epoch, so it is never a donor.
    indices = np.array([0, 1, 2, 4])
    views = np.concatenate(
        [
            greys_of(only_batch(material(), replace(unmoved, exchange=1.0), indices, epoch))
            for epoch in range(10)
        ]
    )
    outside = views[:, 0, 0]
    assert {*outside} == {20, 50, 80, 140}
    # The lungs have the donor's exposure, so only their shape shows which film they belong to.
    core = soft_mask(LUNGS[0]) == 1
    inside = views[:, LUNGS[0] & core].mean(axis=1)
    np.testing.assert_allclose(inside, outside + 40, atol=3)


def test_lungs_of_an_exchanged_film_are_its_own(unmoved):
    films = FILMS.copy()
    films[0, 30:34, 16:24] = 255
    marked = replace(material(), films=films)
    for epoch in range(5):
        batch = only_batch(marked, replace(unmoved, exchange=1.0), np.array([0, 1, 2]), epoch)
        brightest = [divmod(int(view.argmax()), SIDE) for view in greys_of(batch)]
        assert 30 <= brightest[0][0] < 34
        assert 16 <= brightest[0][1] < 24
        donors = greys_of(batch)[:, 0, 0]
        donor = [*GREYS].index(donors[0])
        expected = exchange_outside(films[0], material().alphas[0] / np.float32(255), films[donor])
        np.testing.assert_array_equal(greys_of(batch)[0], expected)


def test_half_of_the_films_are_exchanged_at_rate_one_half(unmoved):
    recipe = replace(unmoved, exchange=0.5)
    indices = np.arange(5)
    kept = [
        (greys_of(only_batch(material(), recipe, indices, epoch))[:, 0, 0] == GREYS[:5]).mean()
        for epoch in range(60)
    ]
    # One donor in five is the film itself.
    assert np.mean(kept) == pytest.approx(0.6, abs=0.1)


def test_film_without_lungs_is_not_exchanged_and_fully_covered(unmoved):
    recipe = replace(unmoved, exchange=1.0)
    for epoch in range(5):
        batch = only_batch(material(), recipe, np.arange(6), epoch)
        np.testing.assert_array_equal(greys_of(batch)[5], FILMS[5])
        np.testing.assert_array_equal(batch.coverage[5], np.ones((4, 4, 1)))


def test_coverage_is_the_share_of_each_cell_that_is_lung(unmoved):
    batch = only_batch(material((8, 16)), unmoved, np.array([2, 0]))
    assert batch.coverage.shape == (2, 8, 16, 1)
    assert batch.coverage.dtype == np.float32
    shares = LUNGS[0].reshape(8, 8, 16, 4).mean(axis=(1, 3))
    assert 0 < shares[shares < 1].max() < 1
    np.testing.assert_allclose(batch.coverage[0, ..., 0], shares, atol=1 / 255)


@pytest.mark.parametrize("augmentation", [HOSPITALS, CONTRAST, GEOMETRY])
def test_coverage_moves_with_the_film(augmentation):
    # Films with one lung; half of them are mirrored, together with their coverage.
    one = lung_mask(SIDE) & (np.arange(SIDE) < SIDE // 2)
    lungs = np.stack([one] * 5).astype(np.uint8) * 255
    one_lung = Material(40 + lungs // 2, lungs, None, (16, 16))
    on_the_right, is_brighter = [], []
    for epoch in range(8):
        recipe = Recipe(augmentation=augmentation, flip=0.5)
        batch = only_batch(one_lung, recipe, np.arange(5), epoch)
        cells = batch.tensors[..., 0].reshape(5, 16, 4, 16, 4).mean(axis=(2, 4))
        for cell, coverage in zip(cells, batch.coverage[..., 0], strict=True):
            on_the_right.append(coverage[:, 8:].sum() > coverage[:, :8].sum())
            is_brighter.append(np.median(cell[coverage > 0.9]) > np.median(cell[coverage == 0]))
    assert 0.25 < np.mean(on_the_right) < 0.75
    assert np.mean(is_brighter) > 0.85


def test_no_coverage_without_cells():
    batch = only_batch(material(None), Recipe(exchange=1.0), np.arange(3))
    assert batch.coverage is None


def test_exchanged_batches_are_the_same_for_the_same_seed():
    recipe = Recipe(exchange=0.5, flip=0.5, augmentation=CONTRAST)
    first, second = (only_batch(material(), recipe, np.arange(6)) for _ in range(2))
    np.testing.assert_array_equal(first.tensors, second.tensors)
    np.testing.assert_array_equal(first.coverage, second.coverage)
    other = only_batch(material(), replace(recipe, seed=2), np.arange(6))
    assert np.abs(first.tensors - other.tensors).mean() > 0.01
