"""The age range of a training, from films and from ages that the user gives for a source."""

from pathlib import Path

from screening.training.data.manifest import LabelledFilm, range_of_ages


def film(source: str, age: float | None) -> LabelledFilm:
    return LabelledFilm(Path("a"), "a", 0, "a", source=source, age=age)


def test_range_covers_all_sources() -> None:
    films = [film("adults", 18), film("adults", 88), film("children", None)]
    assert range_of_ages(films, {"children": (1, 5)}) == (1, 88)


def test_range_is_unknown_if_one_source_has_no_ages() -> None:
    assert range_of_ages([film("adults", 18), film("children", None)], {}) is None
    assert range_of_ages([], {"children": (1, 5)}) is None


def test_films_without_age_do_not_hide_known_ages() -> None:
    assert range_of_ages([film("adults", 40), film("adults", None)], {}) == (40, 40)
