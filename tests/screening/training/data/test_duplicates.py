"""Duplicate detection on generated copies; the choice of the threshold is explained in the code."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from makers import PICTURES, grey_film
from screening.training.data import duplicates
from screening.training.data.duplicates import NEAR, DuplicatePair, find_duplicates

SIDE = 224


def film(number: int):
    """A computed frontal projection; each number is a different patient."""
    with Image.open(PICTURES / f"frontal_chest_{number:03}.jpg") as picture:
        return np.asarray(picture.convert("L").resize((SIDE, SIDE)))


def recompressed(grey):
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


def cropped(grey, left, top, right, bottom):
    box = (left * SIDE, top * SIDE, (1 - right) * SIDE, (1 - bottom) * SIDE)
    image = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    return np.asarray(image)


def resized(grey):
    small = Image.fromarray(grey).resize((150, 180), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def gamma(grey, power):
    return np.rint(255 * (grey / 255) ** power).astype(np.uint8)


COPIES = {
    "recompressed": recompressed,
    "resized": resized,
    "brighter": lambda grey: np.clip(grey * 1.2 + 8, 0, 255).astype(np.uint8),
    "darker": lambda grey: (grey * 0.6).astype(np.uint8),
    "lower gamma": lambda grey: gamma(grey, 0.6),
    "higher gamma": lambda grey: gamma(grey, 1.6),
    "cropped at every edge": lambda grey: cropped(grey, 0.02, 0.02, 0.02, 0.02),
    "cropped at one corner": lambda grey: cropped(grey, 0.02, 0.02, 0, 0),
    "cropped at the bottom": lambda grey: cropped(grey, 0, 0, 0, 0.02),
    "all of it": lambda grey: gamma(recompressed(cropped(grey, 0.02, 0, 0.01, 0.02)), 0.8),
}


def find(films):
    """Duplicates of films that are all in different files."""
    return find_duplicates(np.stack(films), [str(index) for index in range(len(films))])


@pytest.mark.parametrize("change", COPIES)
def test_copy_is_found_among_other_films(change: str) -> None:
    films = [film(number) for number in range(1, 10)]
    found = find([*films, COPIES[change](films[4])])
    assert not found.exact
    assert [(pair.first, pair.second) for pair in found.near] == [(4, 9)]
    assert NEAR <= found.near[0].likeness <= 1


def test_copy_is_found_if_the_original_is_cropped() -> None:
    films = [film(number) for number in range(1, 10)]
    found = find([cropped(films[4], 0.02, 0.02, 0.02, 0.02), *films])
    assert found.pairs == [(0, 5)]


def test_films_of_other_patients_are_not_copies() -> None:
    assert find([film(number) for number in range(1, 31)]).pairs == []


@pytest.mark.parametrize(
    "change",
    [
        np.fliplr,
        np.rot90,
        lambda grey: cropped(grey, 0.2, 0.2, 0.1, 0.1),
        lambda grey: 255 - grey,
    ],
)
def test_turned_mirrored_inverted_or_cut_film_is_not_a_copy(change) -> None:
    assert find([film(1), film(2), change(film(1))]).pairs == []


@pytest.mark.parametrize("side", [32, 56, 100, 224])
def test_films_of_any_size_are_compared(side: int) -> None:
    films = [grey_film(seed, side=side) for seed in range(20)]
    found = find([*films, np.clip(films[3] * 0.8, 0, 255).astype(np.uint8)])
    assert found.pairs == [(3, 20)]


def test_films_need_not_be_square() -> None:
    films = [grey_film(seed)[:, :90] for seed in range(5)]
    assert find([*films, gamma(films[2], 0.8)]).pairs == [(2, 5)]


def test_films_without_structure_are_not_copies() -> None:
    blank = [np.full((SIDE, SIDE), value, np.uint8) for value in (0, 0, 100, 255)]
    noise = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)
    assert find([*blank, *noise]).pairs == []


def test_identical_files_are_exact_copies_of_the_first() -> None:
    films = [film(1), film(2), film(1), film(2), film(1)]
    found = find_duplicates(np.stack(films), ["a", "b", "a", "b", "a"])
    assert found.exact == (
        DuplicatePair(0, 2, 1.0),
        DuplicatePair(1, 3, 1.0),
        DuplicatePair(0, 4, 1.0),
    )
    assert not found.near
    assert found.pairs == [(0, 2), (1, 3), (0, 4)]


def test_only_the_first_of_exact_copies_is_compared() -> None:
    films = [film(1), film(2), film(1), recompressed(film(1))]
    found = find_duplicates(np.stack(films), ["a", "b", "a", "c"])
    assert [(pair.first, pair.second) for pair in found.exact] == [(0, 2)]
    assert [(pair.first, pair.second) for pair in found.near] == [(0, 3)]


def test_all_copies_of_a_film_are_connected() -> None:
    others = [film(number) for number in range(2, 8)]
    copies = [gamma(film(1), power) for power in np.linspace(0.7, 1.4, 12)]
    found = find([*others, *copies])
    reached = {6}
    for _round in range(len(copies)):
        reached |= {index for pair in found.pairs for index in pair if reached & set(pair)}
    assert reached == set(range(6, 18))


def test_films_of_different_chunks_are_compared(monkeypatch) -> None:
    films = [film(number) for number in range(1, 10)]
    films += [recompressed(films[0]), gamma(films[8], 0.7)]
    whole = find(films)
    monkeypatch.setattr(duplicates, "_CHUNK", 2)
    assert find(films) == whole
    assert sorted(whole.pairs) == [(0, 9), (8, 10)]


@pytest.mark.parametrize("films", [0, 1])
def test_no_copies_among_less_than_two_films(films: int) -> None:
    greys = np.zeros((films, SIDE, SIDE), np.uint8)
    assert find_duplicates(greys, ["a"] * films).pairs == []
