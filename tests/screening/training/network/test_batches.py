from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from makers import grey_film
from screening.preprocess import Preprocessing
from screening.training.network.batches import augmented_batches, class_weights, order_of_epoch
from screening.training.network.recipe import GEOMETRY, HOSPITALS

LABELS = np.array([0] * 7 + [1] * 25)


def test_a_balanced_epoch_has_all_films_of_the_smaller_class_and_as_many_of_the_other():
    indices = np.concatenate(order_of_epoch(LABELS, 4, True, (1, 0)))
    assert sorted(indices[LABELS[indices] == 0]) == [*range(7)]
    assert len({*indices[LABELS[indices] == 1]}) == 7


def test_another_epoch_chooses_other_films_of_the_larger_class():
    epochs = [np.concatenate(order_of_epoch(LABELS, 4, True, (1, epoch))) for epoch in range(40)]
    assert {*np.concatenate(epochs)} == {*range(32)}
    assert {*epochs[0]} != {*epochs[1]}


def test_an_epoch_that_is_not_balanced_has_every_film_once():
    batches = order_of_epoch(LABELS, 5, False, (1, 0))
    assert [len(batch) for batch in batches] == [5] * 6 + [2]
    assert sorted(np.concatenate(batches)) == [*range(32)]


def test_the_same_seed_and_epoch_give_the_same_order():
    first, second = (order_of_epoch(LABELS, 4, True, (3, 2)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_classes_are_mixed_within_an_epoch():
    indices = np.concatenate(order_of_epoch(LABELS, 4, True, (1, 0)))
    assert 0 < LABELS[indices][:7].sum() < 7


def test_class_weights_let_both_classes_count_the_same():
    weights = class_weights(LABELS)
    assert 7 * weights[0] == pytest.approx(25 * weights[1])
    assert weights[LABELS].sum() == pytest.approx(len(LABELS))


def test_batches_hold_their_films_changed_and_are_the_same_for_the_same_seed():
    films = np.stack([grey_film(seed, side=32) for seed in range(6)])
    batches = [np.array([4, 1]), np.array([0, 5]), np.array([2])]
    preprocessing = Preprocessing(32, 32, 3, 2.0, -1.0)
    with ThreadPoolExecutor(2) as pool:
        first, second, other = (
            [*augmented_batches(films, preprocessing, batches, HOSPITALS, seed, pool)]
            for seed in ((1, 0), (1, 0), (1, 1))
        )
    assert [[*indices] for indices, _tensors in first] == [[4, 1], [0, 5], [2]]
    for (_i, tensors), (_j, again), (_k, later) in zip(first, second, other, strict=True):
        assert tensors.shape == (len(_i), 32, 32, 3)
        assert tensors.min() >= -1
        assert tensors.max() <= 1
        np.testing.assert_array_equal(tensors, again)
        assert np.abs(tensors - later).mean() > 0.01


def test_without_other_hospitals_films_are_only_moved():
    films = np.full((20, 32, 32), 51, np.uint8)
    preprocessing = Preprocessing(32, 32, 1)
    with ThreadPoolExecutor(2) as pool:
        moved, changed = (
            next(augmented_batches(films, preprocessing, [np.arange(20)], how, (1, 0), pool))[1]
            for how in (GEOMETRY, HOSPITALS)
        )
    np.testing.assert_allclose(np.median(moved, axis=(1, 2)), 0.2, rtol=1e-6)
    assert np.ptp(np.median(changed, axis=(1, 2))) > 0.1
