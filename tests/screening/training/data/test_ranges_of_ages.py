"""The age ranges of a training, from films and from ages that the user gives for a source."""

from pathlib import Path

from screening.training.data.manifest import LabelledFilm, ranges_of_ages


def film(source: str, age: float | None) -> LabelledFilm:
    return LabelledFilm(Path("a"), "a", 0, "a", source=source, age=age)


def test_ages_more_than_five_years_apart_are_two_ranges() -> None:
    films = [film("adults", age) for age in (28, 18, 23)] + [film("children", None)]
    assert ranges_of_ages(films, {"children": (1, 5)}) == ((1, 5), (18, 28))
    assert ranges_of_ages([*films, film("adults", 34)], {"children": (1, 13)}) == (
        (1, 28),
        (34, 34),
    )


def test_ranges_are_unknown_if_one_source_has_no_ages() -> None:
    assert ranges_of_ages([film("adults", 18), film("children", None)], {}) is None
    assert ranges_of_ages([], {"children": (1, 5)}) is None


def test_films_without_age_do_not_hide_known_ages() -> None:
    assert ranges_of_ages([film("adults", 40), film("adults", None)], {}) == ((40, 40),)
