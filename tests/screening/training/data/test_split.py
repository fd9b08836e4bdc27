from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from screening.errors import TrainingDataError
from screening.training.data.manifest import LabelledFilm
from screening.training.data.split import PROTOCOLS, Sides, joined, split

QUICK = settings(deadline=None, max_examples=80, database=None)

# Numbers of films of the patients of a class. With at least five patients of up to two films each,
# and shares of up to 0.2, each class can be on all three sides: two drawn sides take 0.4 of the
# films and up to one patient more each; of ten films that is at most 6 + 2.
SIZES = st.lists(st.integers(1, 2), min_size=5, max_size=12)
SHARES = st.floats(0.05, 0.2)
SEEDS = st.integers(0, 2**32)


def film(name: str, label: int, patient: str, side: str = "") -> LabelledFilm:
    return LabelledFilm(Path(name), name, label, patient, side)


def films_of(normal: list[int], pneumonia: list[int], side: str = "") -> list[LabelledFilm]:
    """Films whose names sort in the order in which they are listed."""
    return [
        film(f"{side}{label}-{patient:03}-{number}", label, f"{side}{label}-{patient}", side)
        for label, sizes in enumerate((normal, pneumonia))
        for patient, size in enumerate(sizes)
        for number in range(size)
    ]


def patients(side: list[LabelledFilm]) -> set[str]:
    return {film.patient for film in side}


def names(sides: Sides) -> list[str]:
    return sorted(film.name for side in vars(sides).values() for film in side)


@QUICK
@given(normal=SIZES, pneumonia=SIZES, validation=SHARES, test=SHARES, seed=SEEDS)
def test_patients_are_on_one_side_and_no_film_is_lost(
    normal: list[int], pneumonia: list[int], validation: float, test: float, seed: int
) -> None:
    films = films_of(normal, pneumonia)
    sides = split(films, "patient", validation, test, seed)
    assert not patients(sides.training) & patients(sides.validation)
    assert not patients(sides.training) & patients(sides.test)
    assert not patients(sides.validation) & patients(sides.test)
    assert names(sides) == [film.name for film in films]


@QUICK
@given(normal=SIZES, pneumonia=SIZES, validation=SHARES, test=SHARES, seed=SEEDS)
def test_each_class_reaches_its_shares_within_one_patient(
    normal: list[int], pneumonia: list[int], validation: float, test: float, seed: int
) -> None:
    sides = split(films_of(normal, pneumonia), "patient", validation, test, seed)
    for label, sizes in enumerate((normal, pneumonia)):
        for share, side in ((validation, sides.validation), (test, sides.test)):
            given_up = sum(film.label == label for film in side)
            assert share * sum(sizes) <= given_up < share * sum(sizes) + max(sizes)


@QUICK
@given(normal=SIZES, pneumonia=SIZES, seed=SEEDS, order=st.randoms(use_true_random=False))
@pytest.mark.parametrize("protocol", ["patient", "film"])
def test_order_of_films_has_no_influence(protocol, normal, pneumonia, seed, order) -> None:
    films = films_of(normal, pneumonia)
    mixed = list(films)
    order.shuffle(mixed)
    assert split(mixed, protocol, 0.2, 0.2, seed) == split(films, protocol, 0.2, 0.2, seed)


@QUICK
@given(normal=SIZES, pneumonia=SIZES, validation=SHARES, test=SHARES, seed=SEEDS)
@example(normal=[1] * 5, pneumonia=[10, 10], validation=0.125, test=0.05000000000000001, seed=0)
def test_film_protocol_draws_single_films_within_each_class(
    normal: list[int], pneumonia: list[int], validation: float, test: float, seed: int
) -> None:
    films = films_of(normal, pneumonia)
    sides = split(films, "film", validation, test, seed)
    assert names(sides) == [film.name for film in films]
    for label, sizes in enumerate((normal, pneumonia)):
        for share, side in ((validation, sides.validation), (test, sides.test)):
            given_up = sum(film.label == label for film in side)
            assert given_up - 1 < share * sum(sizes) <= given_up


def test_film_protocol_puts_patients_on_several_sides() -> None:
    sides = split(films_of([10] * 10, [10] * 10), "film", 0.2, 0.2, 1)
    assert patients(sides.training) & patients(sides.validation) & patients(sides.test)


MIXED = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 1)).map(
        lambda drawn: film(str(drawn), drawn[1], f"p{drawn[0]}")
    ),
    max_size=25,
    unique_by=lambda film: film.name,
)


@QUICK
@given(films=MIXED, validation=st.floats(0.05, 0.6), test=st.floats(0, 0.39), seed=SEEDS)
def test_patients_with_both_classes_stay_on_one_side_or_are_refused(
    films: list[LabelledFilm], validation: float, test: float, seed: int
) -> None:
    try:
        sides = split(films, "patient", validation, test, seed)
    except TrainingDataError:
        return
    for side in vars(sides).values():
        assert {film.label for film in side} in ({0, 1}, set())
        assert not patients(side) & patients([film for film in films if film not in side])
    assert len(names(sides)) == len(films)


def test_same_seed_gives_the_same_split_and_other_seeds_others() -> None:
    films = films_of([1] * 50, [1] * 50)
    for protocol in ("patient", "film"):
        assert split(films, protocol, 0.2, 0.1, 1) == split(films, protocol, 0.2, 0.1, 1)
        assert split(films, protocol, 0.2, 0.1, 1) != split(films, protocol, 0.2, 0.1, 2)


def test_validation_is_the_same_with_and_without_a_test_side() -> None:
    films = films_of([2] * 30, [1] * 50)
    with_test = split(films, "patient", 0.2, 0.2, 1)
    without = split(films, "patient", 0.2, 0, 1)
    assert with_test.validation == without.validation
    assert without.test == []


def test_films_of_each_side_are_sorted_by_name() -> None:
    films = films_of([2] * 10, [3] * 10)
    for side in vars(split(films[::-1], "patient", 0.2, 0.2, 1)).values():
        assert side == [film for film in films if film in side]


def test_items_returns_the_sides_by_name() -> None:
    sides = split(films_of([1] * 10, [1] * 10), "patient", 0.2, 0, 1)
    assert dict(sides.items()) == {
        "training": sides.training,
        "validation": sides.validation,
        "test": [],
    }


def test_each_side_has_the_same_share_of_each_class() -> None:
    # 100 normal and 300 pneumonia films of single patients: a fifth of each.
    sides = split(films_of([1] * 100, [1] * 300), "patient", 0.2, 0.1, 1)
    assert [film.label for film in sides.validation].count(0) == 20
    assert [film.label for film in sides.validation].count(1) == 60
    assert [film.label for film in sides.test].count(0) == 10
    assert [film.label for film in sides.test].count(1) == 30


@pytest.mark.parametrize("protocol", ["patient", "film"])
def test_films_marked_as_test_are_the_whole_test_side(protocol: str) -> None:
    aside = films_of([1, 1], [1], "test")
    others = films_of([1] * 20, [1] * 20)
    sides = split([*aside, *others], protocol, 0.2, 0.3, 1)
    assert sides.test == aside
    assert len(sides.validation) == 8
    assert len(sides.training) == 32


def test_given_train_and_val_are_pooled_except_under_given() -> None:
    films = [*films_of([1] * 10, [1] * 10, "train"), *films_of([1] * 10, [1] * 10, "val")]
    sides = split(films, "patient", 0.2, 0, 1)
    assert {film.split for film in sides.training} == {"train", "val"}


def test_given_protocol_takes_the_sides_from_the_data() -> None:
    parts = {part: films_of([1, 2], [3], part) for part in ("train", "val", "test")}
    sides = split([film for part in parts.values() for film in part], "given", 0.2, 0.2, 1)
    assert sides == Sides(parts["train"], parts["val"], parts["test"])


def test_given_protocol_works_without_test_films() -> None:
    films = [*films_of([1], [1], "train"), *films_of([1], [1], "val")]
    assert split(films, "given", 0.2, 0.2, 1).test == []


def test_film_without_a_given_split_is_an_error_with_advice() -> None:
    films = [*films_of([1], [1], "train"), *films_of([1], [1], "val"), film("x.png", 1, "x")]
    with pytest.raises(
        TrainingDataError, match=r"1 films have no split, .* x\.png; .*column split"
    ):
        split(films, "given", 0.2, 0, 1)


@pytest.mark.parametrize(
    ("parts", "side", "finding"),
    [
        ({"train": ([1], [1])}, "validation", "NORMAL"),
        ({"train": ([1], [1]), "val": ([1], [])}, "validation", "PNEUMONIA"),
        ({"train": ([], [1]), "val": ([1], [1])}, "training", "NORMAL"),
        ({"train": ([1], [1]), "val": ([1], [1]), "test": ([], [1])}, "test", "NORMAL"),
    ],
)
def test_class_missing_on_a_given_side_is_an_error(parts, side: str, finding: str) -> None:
    films = [film for part, sizes in parts.items() for film in films_of(*sizes, part)]
    with pytest.raises(TrainingDataError, match=f"{side} set has no {finding} film.*--protocol"):
        split(films, "given", 0.2, 0, 1)


def torn(one: str, other: str, number: int = 5) -> list[LabelledFilm]:
    """Enough films of each part, and patients with films in two of them."""
    whole = [film for part in ("train", "val", "test") for film in films_of([1] * 9, [1] * 9, part)]
    both = [
        film(f"{side}/{n}.png", 1, f"p{n}", side) for side in (one, other) for n in range(number)
    ]
    return whole + both


@pytest.mark.parametrize(
    ("protocol", "one", "other"),
    [
        ("patient", "train", "test"),
        ("patient", "val", "test"),
        ("patient", "", "test"),
        ("given", "train", "test"),
        ("given", "val", "test"),
        ("given", "train", "val"),
    ],
)
def test_patients_in_two_given_splits_are_an_error_with_advice(protocol, one, other) -> None:
    films = torn(one or "train", other)
    if not one:
        films = [film(f.name, f.label, f.patient, f.split.replace("train", "")) for f in films]
    with pytest.raises(TrainingDataError) as error:
        split(films, protocol, 0.2, 0, 1)
    message = str(error.value)
    assert message.startswith("5 patients have films")
    assert message.count(".png and ") == 3
    assert "p0 (" in message
    for what in ("manifest", "--patient-pattern", "--protocol film"):
        assert what in message


def test_patients_in_pooled_train_and_val_stay_on_one_side() -> None:
    sides = split(torn("train", "val"), "patient", 0.2, 0, 1)
    assert not patients(sides.training) & patients(sides.validation)


def test_film_protocol_accepts_patients_in_two_given_splits() -> None:
    sides = split(torn("train", "test"), "film", 0.2, 0, 1)
    assert {film.split for film in sides.test} == {"test"}
    assert len(sides.test) == 18 + 5


@pytest.mark.parametrize("protocol", ["patient", "film"])
@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.9, 0.3), (0.2, 0.8)])
def test_shares_that_leave_nothing_for_training_are_refused(protocol, validation, test) -> None:
    with pytest.raises(TrainingDataError, match="leave no film for training"):
        split(films_of([1] * 9, [1] * 9), protocol, validation, test, 1)


def test_unknown_protocol_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=", ".join(PROTOCOLS)):
        split(films_of([1] * 9, [1] * 9), "patients", 0.2, 0, 1)


@pytest.mark.parametrize(
    ("films", "side", "finding"),
    [
        (films_of([1], [1, 1]), "training", "NORMAL"),
        (films_of([1, 1], [3]), "training", "PNEUMONIA"),
        (films_of([1, 1], []), "training", "PNEUMONIA"),
        ([], "training", "NORMAL"),
    ],
)
def test_class_missing_on_a_drawn_side_is_an_error(
    films: list[LabelledFilm], side: str, finding: str
) -> None:
    with pytest.raises(TrainingDataError, match=f"{side} set has no {finding} film; add"):
        split(films, "patient", 0.2, 0, 1)


def test_class_used_up_by_validation_and_test_is_an_error() -> None:
    # Validation takes two of the three normal films, and the test takes the last one.
    with pytest.raises(TrainingDataError, match="training set has no NORMAL film"):
        split(films_of([1, 1, 1], [1] * 200), "patient", 0.4, 0.3, 1)


def test_class_missing_in_validation_is_an_error() -> None:
    # The only patient with a normal film counts as pneumonia, and is one of many.
    films = [*films_of([], [1] * 200), *[film(f"m{n}", int(n > 0), "mixed") for n in range(5)]]
    with pytest.raises(TrainingDataError, match=r"set has no NORMAL film; add films or patients"):
        split(films, "patient", 0.01, 0, 1)


def test_copies_merge_patients_transitively() -> None:
    films = [film(str(n), 0, patient) for n, patient in enumerate("fbcabde")]
    assert "".join(f.patient for f in joined(films, [(0, 1), (2, 1), (3, 5)])) == "bbbabae"


@QUICK
@given(
    patients=st.lists(st.integers(0, 9), min_size=1, max_size=15),
    pairs=st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_joined_merges_the_connected_components_of_patients(patients, pairs, order) -> None:
    films = [film(str(n), 0, f"p{patient}") for n, patient in enumerate(patients)]
    pairs = [(a, b) for a, b in pairs if max(a, b) < len(films)]
    found = [f.patient for f in joined(films, pairs)]
    # A slow reference: spread the lowest name over connected patients until nothing changes.
    expected, before = [f.patient for f in films], None
    while expected != before:
        before = list(expected)
        for a, b in pairs:
            expected[a] = expected[b] = min(expected[a], expected[b])
        lowest = {}
        for own, name in zip(patients, expected, strict=True):
            lowest[own] = min(name, lowest.get(own, name))
        expected = [lowest[own] for own in patients]
    assert found == expected
    order.shuffle(pairs)
    assert [f.patient for f in joined(films, pairs)] == found
    assert [f.name for f in joined(films, pairs)] == [f.name for f in films]


def test_copies_are_never_on_two_sides() -> None:
    films = films_of([1] * 40, [1] * 40)
    pairs = [(n, n + 1) for n in range(0, 80, 4)]
    for seed in range(5):
        sides = split(joined(films, pairs), "patient", 0.2, 0.2, seed)
        side_of = {film.name: name for name, side in sides.items() for film in side}
        assert all(side_of[films[a].name] == side_of[films[b].name] for a, b in pairs)


def test_copies_in_the_given_test_set_and_elsewhere_are_refused() -> None:
    films = [*films_of([1] * 9, [1] * 9, "test"), *films_of([1] * 9, [1] * 9)]
    with pytest.raises(TrainingDataError, match=r"copies of one film.*remove the copies"):
        split(joined(films, [(0, 20)]), "patient", 0.2, 0, 1)
