from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.errors import TrainingDataError
from screening.training.manifest import LabelledFilm
from screening.training.split import split_by_patient

QUICK = settings(deadline=None, max_examples=80, database=None)

# Films for each patient of a class. With three patients or more of up to three films each, and a
# share of up to 0.3, each class can be on both sides: two patients have 2 films at least, and
# 2 >= 0.3 * (2 + 3) already.
SIZES = st.lists(st.integers(1, 3), min_size=3, max_size=12)
SHARES = st.floats(0.05, 0.3)
SEEDS = st.integers(0, 2**32)


def film(name: str, label: int, patient: str) -> LabelledFilm:
    return LabelledFilm(Path(name), name, label, patient)


def films_of(normal: list[int], pneumonia: list[int]) -> list[LabelledFilm]:
    return [
        film(f"{label}-{patient}-{number}", label, f"{label}-{patient}")
        for label, sizes in enumerate((normal, pneumonia))
        for patient, size in enumerate(sizes)
        for number in range(size)
    ]


@QUICK
@given(normal=SIZES, pneumonia=SIZES, share=SHARES, seed=SEEDS)
def test_no_patient_is_on_both_sides_and_no_film_is_lost(
    normal: list[int], pneumonia: list[int], share: float, seed: int
) -> None:
    films = films_of(normal, pneumonia)
    training, validation = split_by_patient(films, share, seed)
    assert not {film.patient for film in training} & {film.patient for film in validation}
    assert sorted(film.name for film in training + validation) == sorted(
        film.name for film in films
    )


@QUICK
@given(normal=SIZES, pneumonia=SIZES, share=SHARES, seed=SEEDS)
def test_each_class_gives_its_share_up_to_one_patient(
    normal: list[int], pneumonia: list[int], share: float, seed: int
) -> None:
    _training, validation = split_by_patient(films_of(normal, pneumonia), share, seed)
    for label, sizes in enumerate((normal, pneumonia)):
        given_up = sum(film.label == label for film in validation)
        assert share * sum(sizes) <= given_up < share * sum(sizes) + max(sizes)


MIXED = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 1)).map(
        lambda drawn: film(str(drawn), drawn[1], f"p{drawn[0]}")
    ),
    max_size=25,
)


@QUICK
@given(films=MIXED, share=st.floats(0.05, 0.95), seed=SEEDS)
def test_patients_with_films_of_both_classes_stay_whole_or_the_split_is_refused(
    films: list[LabelledFilm], share: float, seed: int
) -> None:
    try:
        training, validation = split_by_patient(films, share, seed)
    except TrainingDataError:
        training, validation = [], films
    else:
        assert {film.label for film in training} == {film.label for film in validation} == {0, 1}
    assert not {film.patient for film in training} & {film.patient for film in validation}
    assert len(training) + len(validation) == len(films)


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    films = films_of([1] * 50, [1] * 50)
    assert split_by_patient(films, 0.2, 1) == split_by_patient(films, 0.2, 1)
    assert split_by_patient(films, 0.2, 1) != split_by_patient(films, 0.2, 2)


def test_the_order_of_the_films_is_kept_on_each_side() -> None:
    films = films_of([2] * 10, [3] * 10)
    for side in split_by_patient(films, 0.2, 1):
        assert side == [film for film in films if film in side]


def test_the_class_mix_is_about_the_same() -> None:
    # 100 normal and 300 pneumonia films of single patients: a fifth of each.
    _training, validation = split_by_patient(films_of([1] * 100, [1] * 300), 0.2, 1)
    assert [film.label for film in validation].count(0) == 20
    assert [film.label for film in validation].count(1) == 60


@pytest.mark.parametrize(
    ("films", "side", "finding"),
    [
        (films_of([1], [1, 1]), "training", "NORMAL"),
        (films_of([1, 1], [3]), "training", "PNEUMONIA"),
        (films_of([1, 1], []), "training", "PNEUMONIA"),
        ([], "training", "NORMAL"),
    ],
)
def test_a_class_that_would_be_missing_on_one_side_is_named(
    films: list[LabelledFilm], side: str, finding: str
) -> None:
    with pytest.raises(TrainingDataError, match=f"{side} set has no {finding}"):
        split_by_patient(films, 0.2, 1)


def test_a_class_missing_in_validation_is_named() -> None:
    # The only patient with a normal film counts as pneumonia, and is only one of many.
    films = [*films_of([], [1] * 200), *[film(f"m{n}", int(n > 0), "mixed") for n in range(5)]]
    with pytest.raises(TrainingDataError, match=r"set has no NORMAL film; add films or patients"):
        split_by_patient(films, 0.01, 1)


def test_a_patient_with_a_film_set_aside_for_a_test_is_on_neither_side():
    films = [
        LabelledFilm(Path(f"{n}.png"), f"{n}.png", n % 2, f"p{n // 2}", "test" if n == 3 else "")
        for n in range(20)
    ]
    training, validation = split_by_patient(films, 0.3, seed=1)
    used = {film.name for film in training + validation}
    assert used == {film.name for film in films if film.patient != "p1"}
