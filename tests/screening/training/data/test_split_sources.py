"""Films of several sources are split within each source."""

from dataclasses import replace
from pathlib import Path

import pytest

from screening.errors import TrainingDataError
from screening.training.data.manifest import LabelledFilm
from screening.training.data.split import Sides, joined, split


def films_of(source: str, normal: int, pneumonia: int, side: str = "") -> list[LabelledFilm]:
    """Films of single patients, named after their source as in a manifest."""
    return [
        LabelledFilm(Path(name), name, label, name, side, source)
        for label, number in enumerate((normal, pneumonia))
        for name in (f"{source}/{label}-{n:03}" for n in range(number))
    ]


def counts(side: list[LabelledFilm]) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for film in side:
        found[film.source, film.label] = found.get((film.source, film.label), 0) + 1
    return found


@pytest.mark.parametrize("protocol", ["patient", "film"])
def test_each_source_gives_its_share_of_each_class(protocol: str) -> None:
    films = [*films_of("a", 10, 20), *films_of("b", 100, 40)]
    sides = split(films, protocol, 0.2, 0.1, 1)
    assert counts(sides.validation) == {("a", 0): 2, ("a", 1): 4, ("b", 0): 20, ("b", 1): 8}
    assert counts(sides.test) == {("a", 0): 1, ("a", 1): 2, ("b", 0): 10, ("b", 1): 4}


def test_source_of_one_class_is_split_too() -> None:
    sides = split([*films_of("a", 10, 10), *films_of("b", 50, 0)], "patient", 0.2, 0, 1)
    assert counts(sides.validation) == {("a", 0): 2, ("a", 1): 2, ("b", 0): 10}


def test_classes_may_come_from_different_sources() -> None:
    sides = split([*films_of("a", 10, 0), *films_of("b", 0, 10)], "patient", 0.2, 0, 1)
    assert counts(sides.validation) == {("a", 0): 2, ("b", 1): 2}


def test_split_of_a_source_does_not_depend_on_other_sources() -> None:
    own, others = films_of("b", 30, 40), [*films_of("a", 10, 20), *films_of("c", 5, 5)]
    alone = split(own, "patient", 0.2, 0.2, 1)
    among = split([*own, *others], "patient", 0.2, 0.2, 1)
    for name, side in among.items():
        assert [film for film in side if film.source == "b"] == dict(alone.items())[name]


def test_split_does_not_depend_on_the_name_of_the_source() -> None:
    films = films_of("a", 30, 40)
    plain = [replace(film, name=film.name[2:], patient=film.name[2:], source="") for film in films]
    for one, other in zip(
        split(films, "patient", 0.2, 0.2, 1).items(),
        split(plain, "patient", 0.2, 0.2, 1).items(),
        strict=True,
    ):
        assert [film.name[2:] for film in one[1]] == [film.name for film in other[1]]


def test_patient_of_two_sources_is_on_one_side() -> None:
    films = joined(
        [*films_of("a", 20, 20), *films_of("b", 20, 20)], [(n, n + 40) for n in range(20)]
    )
    sides = split(films, "patient", 0.3, 0.2, 1)
    patients = [{film.patient for film in side} for _name, side in sides.items()]
    assert not any(patients[one] & patients[other] for one, other in ((0, 1), (0, 2), (1, 2)))
    assert sum(len(side) for _name, side in sides.items()) == 80


@pytest.mark.parametrize("protocol", ["patient", "film", "given"])
def test_films_of_left_out_sources_are_on_no_side(protocol: str) -> None:
    others = [
        film for side in ("train", "val", "test") for film in films_of(f"b{side}", 10, 10, side)
    ]
    left_out = films_of("a", 4, 3)
    sides = split([*left_out, *others], protocol, 0.2, 0.2, 1, ["a"])
    assert sides.left_out == left_out
    assert sides == replace(split(others, protocol, 0.2, 0.2, 1), left_out=left_out)
    assert [name for name, _side in sides.items()] == ["training", "validation", "test"]


def test_nothing_is_left_out_by_default() -> None:
    assert Sides([], [], []).left_out == []
    assert split(films_of("a", 10, 10), "patient", 0.2, 0, 1).left_out == []


def test_leaving_out_the_only_source_of_a_class_is_refused() -> None:
    films = [*films_of("a", 10, 0), *films_of("b", 0, 10)]
    with pytest.raises(TrainingDataError, match=r"no NORMAL film; .* or leave out fewer sources"):
        split(films, "patient", 0.2, 0, 1, ["a"])
