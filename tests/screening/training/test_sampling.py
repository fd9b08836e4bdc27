"""Drawing the films of an epoch from several sources and views."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from makers import grey_film
from screening.model.preprocess import Preprocessing
from screening.training.batches import (
    Material,
    augmented_batches,
    batches_of_epoch,
    draw_epoch,
    order_of_epoch,
    soft_targets,
)
from screening.training.fit import FilmSet
from screening.training.recipe import Recipe

# Source 0: no views, both classes. Source 1: AP and PA of both classes. Source 2: only normal PA.
CHILDREN, AP, PA, NORMAL_PA = 0, 4, 5, 8
SIZES = {
    (0, CHILDREN): 60,
    (1, CHILDREN): 120,
    (0, AP): 40,
    (0, PA): 20,
    (1, AP): 30,
    (1, PA): 30,
    (0, NORMAL_PA): 300,
}
LABELS = np.repeat([label for label, _stratum in SIZES], [*SIZES.values()])
STRATA = np.repeat([stratum for _label, stratum in SIZES], [*SIZES.values()])


def drawn(films=0, most_repeats=6, epoch=0, seed=1, labels=LABELS, strata=STRATA):
    return draw_epoch(labels, strata, films, most_repeats, (seed, epoch))


def numbers(indices, labels=LABELS, strata=STRATA):
    pairs = zip(labels[indices].tolist(), strata[indices].tolist(), strict=True)
    return dict(Counter(pairs))


def test_classes_sources_and_views_count_the_same() -> None:
    assert numbers(drawn()) == {
        (0, CHILDREN): 60,
        (0, AP): 30,
        (0, PA): 30,
        (0, NORMAL_PA): 60,
        (1, CHILDREN): 90,
        (1, AP): 45,
        (1, PA): 45,
    }


def test_epoch_has_the_length_in_the_recipe() -> None:
    assert numbers(drawn(films=240))[1, CHILDREN] == 60
    assert len(drawn(films=240)) == 240
    assert len(drawn(films=1001)) == 1000


def test_draws_beyond_most_repeats_go_to_other_strata_of_the_class() -> None:
    labels = np.repeat([0, 0, 0, 1], [2, 50, 100, 120])
    strata = np.repeat([CHILDREN, AP, PA, CHILDREN], [2, 50, 100, 120])
    indices = drawn(most_repeats=3, labels=labels, strata=strata)
    assert numbers(indices, labels, strata) == {
        (0, CHILDREN): 6,
        (0, AP): 57,
        (0, PA): 57,
        (1, CHILDREN): 120,
    }
    assert max(Counter(indices.tolist()).values()) == 3


def test_class_with_too_few_films_repeats_all_of_them_equally() -> None:
    labels, strata = np.array([0, 0, 0, 1, 1, 1]), np.array([AP, PA, PA, AP, AP, PA])
    indices = drawn(films=120, most_repeats=2, labels=labels, strata=strata)
    assert Counter(indices.tolist()) == dict.fromkeys(range(6), 20)


@pytest.mark.parametrize("epochs", [1, 7])
def test_all_films_of_a_stratum_are_drawn_before_any_repeats(epochs: int) -> None:
    counts = Counter(
        index for epoch in range(epochs) for index in drawn(films=500, epoch=epoch).tolist()
    )
    for stratum in SIZES:
        members = np.flatnonzero((stratum[0] == LABELS) & (stratum[1] == STRATA))
        own = [counts[index] for index in members.tolist()]
        assert max(own) - min(own) <= 1


def test_films_depend_on_seed_and_epoch() -> None:
    np.testing.assert_array_equal(drawn(epoch=3), drawn(epoch=3))
    assert {*drawn(epoch=3).tolist()} != {*drawn(epoch=4).tolist()}
    assert {*drawn(seed=1).tolist()} != {*drawn(seed=2).tolist()}


def test_single_source_and_view_uses_order_of_epoch() -> None:
    recipe = Recipe(batch=7, seed=3)
    for strata in (np.zeros(len(LABELS), np.int64), np.full(len(LABELS), PA)):
        for balanced in (True, False):
            own = replace(recipe, balanced=balanced)
            for one, other in zip(
                batches_of_epoch(own, LABELS, strata, 2),
                order_of_epoch(LABELS, 7, balanced, (3, 2)),
                strict=True,
            ):
                np.testing.assert_array_equal(one, other)


def test_strata_are_mixed_within_an_epoch() -> None:
    batches = batches_of_epoch(Recipe(batch=60), LABELS, STRATA, 0)
    assert [len(batch) for batch in batches] == [60] * 6
    assert all(len(numbers(batch)) >= 6 for batch in batches)


def test_epoch_length_also_applies_to_a_single_source() -> None:
    recipe = Recipe(batch=50, films_per_epoch=100)
    batches = batches_of_epoch(recipe, LABELS, np.zeros(len(LABELS), np.int64), 0)
    assert np.bincount(LABELS[np.concatenate(batches)]).tolist() == [50, 50]


def test_repeated_film_is_augmented_differently() -> None:
    films = np.stack([grey_film(seed, side=32) for seed in range(3)])
    batches = [np.array([2, 0, 2]), np.array([0, 1])]
    preprocessing = Preprocessing(32, 32, 1)
    with ThreadPoolExecutor(2) as pool:
        first, second = augmented_batches(
            Material(films), preprocessing, batches, Recipe(), 0, pool
        )
    assert np.abs(first.tensors[0] - first.tensors[2]).mean() > 0.01
    assert np.abs(first.tensors[1] - second.tensors[0]).mean() > 0.01


def test_weak_label_is_a_soft_target() -> None:
    targets = soft_targets(np.array([0, 1, 1]), np.array([1, 1, 0.75], np.float32))
    assert targets.dtype == np.float32
    assert targets.tolist() == [[1, 0], [0, 1], [0.25, 0.75]]


def test_film_set_defaults_to_one_stratum_and_full_confidence() -> None:
    films = FilmSet(np.zeros((3, 4, 4), np.uint8), np.array([0, 1, 1]))
    assert films.strata.tolist() == [0, 0, 0]
    assert films.confidence.tolist() == [1, 1, 1]
    assert films.only(np.arange(3)) is films
    weak = replace(films, confidence=np.array([1, 0.7, 0.6], np.float32))
    some = weak.only(np.array([2, 0]))
    assert some.labels.tolist() == [1, 0]
    assert some.confidence.tolist() == pytest.approx([0.6, 1])
    assert some.greys.shape == (2, 4, 4)
