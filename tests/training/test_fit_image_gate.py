"""The image gate is fitted on synthetic films and pictures, with a fake embedding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from screening.errors import TrainingDataError
from screening.model.image_gate import ORIENTATIONS, ImageGate
from screening.training.fit_image_gate import (
    FRONTAL,
    Example,
    Frontal,
    _Examples,
    _fit_frontal,
    fit_image_gate,
    turn,
)

Greys = npt.NDArray[np.float32]

SIDE = 32
NO_FILMS = Frontal(np.empty((0, SIDE, SIDE), np.float32), np.empty(0, dtype=str))


def chest(seed: int) -> Greys:
    """Two dark fields, a heart and darker shoulders, so that top and left can be recognised."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    middle, width = rng.normal(0.5, 0.03), rng.uniform(0.09, 0.15)
    lungs = sum(
        np.exp(-(((x - middle - side * 0.24) / width) ** 2) - ((y - 0.4) / 0.3) ** 2)
        for side in (-1, 1)
    )
    heart = np.exp(-(((x - middle - 0.1) / 0.12) ** 2) - ((y - 0.6) / 0.15) ** 2)
    grey = 0.1 + 0.3 * (y - 0.5) - 0.45 * lungs + 0.3 * heart
    grey = grey * rng.uniform(0.8, 1.2) + 0.5 + rng.normal(0, 0.05, (SIDE, SIDE))
    return np.clip(grey, 0, 1).astype(np.float32)


def tiles(seed: int) -> Greys:
    """Not a chest: sixteen tiles of random brightness."""
    return np.kron(np.random.default_rng(seed).random((4, 4)), np.ones((8, 8))).astype(np.float32)


def chests(first: int, count: int) -> Greys:
    return np.stack([chest(first + index) for index in range(count)])


def embed(greys: Greys) -> npt.NDArray[np.float32]:
    """Means of 8 x 8 blocks, and their squared differences from middle grey."""
    blocks = greys.reshape(len(greys), 8, SIDE // 8, 8, SIDE // 8).mean(axis=(2, 4))
    flat = blocks.reshape(len(greys), 64)
    return np.concatenate([flat, (flat - 0.5) ** 2], axis=1).astype(np.float32)


def own(count: int = 100, films_each: int = 2) -> Frontal:
    groups = [f"patient {index // films_each}" for index in range(count)]
    return Frontal(chests(0, count), np.array(groups))


def examples(count: int = 40) -> list[Example]:
    computed = [Example(FRONTAL, f"volume {index % 3}", chest(5000 + index)) for index in range(6)]
    kinds = ("photo", "plot")
    return computed + [
        Example(kinds[index % 2], f"source {index // 2}", tiles(6000 + index))
        for index in range(count)
    ]


def fitted(**changes: Any) -> ImageGate:
    values: dict[str, Any] = {
        "embed": embed,
        "own": own(),
        "unseen": chests(1000, 60),
        "others": NO_FILMS,
        "examples": examples(),
        "seed": 1,
    }
    return fit_image_gate(**values | changes)


@pytest.fixture(scope="module")
def gate() -> ImageGate:
    return fitted()


def warned(gate: ImageGate, films: Greys) -> list[list[str]]:
    """Warnings of each film except out_of_domain, with the degrees."""
    return [
        [str(one) for one in given.warnings if one.code != "out_of_domain"]
        for given in gate.check_film(embed(films))
    ]


def test_same_seed_gives_the_same_gate_and_another_seed_another(gate: ImageGate) -> None:
    assert fitted().as_dict() == gate.as_dict()
    other = fitted(seed=2).as_dict()
    assert other["mean"] == gate.as_dict()["mean"]
    assert other["frontal"] != gate.as_dict()["frontal"]


def test_new_films_are_accepted_and_new_pictures_are_refused(gate: ImageGate) -> None:
    films = gate.check_film(embed(chests(2000, 100)))
    pictures = gate.check_film(embed(np.stack([tiles(7000 + index) for index in range(100)])))
    assert sum(bool(given.refusal) for given in films) <= 5
    assert sum(bool(given.refusal) for given in pictures) >= 90


def test_about_one_new_film_in_a_hundred_is_out_of_domain(gate: ImageGate) -> None:
    distance = [given.distance or 0 for given in gate.check_film(embed(chests(3000, 200)))]
    assert np.mean(np.array(distance) > 1) <= 0.05
    assert np.median(distance) > 0.3


def test_limit_is_the_distance_of_unseen_films_with_a_margin(gate: ImageGate) -> None:
    distance = [given.distance for given in gate.check_film(embed(chests(1000, 60)))]
    assert np.quantile(np.array(distance, float), 0.99) == pytest.approx(1 / 1.18, abs=0.001)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turned_and_inverted_films_get_their_warning_and_no_other(
    gate: ImageGate, orientation: str
) -> None:
    given = warned(gate, turn(chests(2000, 100), orientation))
    named = [warnings for warnings in given if warnings]
    if orientation == "upright":
        assert len(named) <= 2
        return
    expected = "inverted: " if orientation == "inverted" else f"(by {orientation} degrees)."
    right = [warnings for warnings in named if expected in warnings[0]]
    # Films without a warning were refused, or not turned with certainty.
    assert len(named) - len(right) <= 2
    assert len(right) >= 50


def test_fitted_on_describes_the_data_of_the_gate(gate: ImageGate) -> None:
    about = gate.fitted_on
    assert (about["own_films"], about["other_films"], about["negatives"]) == (100, 0, 40)
    assert about["held_out_films_refused"].endswith(" of 100")
    assert about["held_out_pictures_refused"].endswith(" of 40")
    by_kind = about["held_out_pictures_refused_by_kind"]
    assert {kind: share.partition(" of ")[2] for kind, share in by_kind.items()} == {
        "photo": "20",
        "plot": "20",
    }
    refused = [int(share.partition(" of ")[0]) for share in by_kind.values()]
    assert sum(refused) == int(about["held_out_pictures_refused"].partition(" of ")[0])


def test_threshold_stays_within_its_bounds(gate: ImageGate) -> None:
    assert 0.5 <= gate.frontal_threshold <= 0.75
    # Inseparable pictures give the lower bound, fully separable ones the upper.
    alike = [Example("photo", f"source {index}", chest(8000 + index)) for index in range(40)]
    computed = [example for example in examples() if example.kind == FRONTAL]
    assert fitted(examples=computed + alike).frontal_threshold == 0.5
    dark = [Example("photo", f"source {i}", tiles(i) * np.float32(0.1)) for i in range(40)]
    assert fitted(examples=computed + dark).frontal_threshold == 0.75


def test_films_from_elsewhere_widen_what_is_accepted(gate: ImageGate) -> None:
    def faint(films: Greys) -> Greys:
        return 0.8 + 0.2 * films[:, ::-1]

    elsewhere = Frontal(faint(chests(4000, 40)), np.array([f"other {i}" for i in range(40)]))
    wider = fitted(others=elsewhere)
    assert wider.fitted_on["other_films"] == 40
    assert wider.fitted_on["held_out_films_refused"].endswith(" of 140")
    films = embed(faint(chests(4100, 60)))
    refused = [sum(bool(one.refusal) for one in by.check_film(films)) for by in (gate, wider)]
    assert refused[0] >= 50
    assert refused[1] <= 10


@pytest.mark.parametrize("films", [2, 3, 8, 20])
def test_few_films_of_few_patients_are_enough_for_a_working_gate(films: int) -> None:
    gate = fitted(own=own(films), unseen=chests(1000, 4))
    assert len(gate.variances) < 5 * films
    # Probabilistic PCA: no component has less variance than the residual.
    assert gate.variances.min() >= np.float32(gate.residual)
    given = gate.check_film(embed(chests(2000, 40)))
    distance = np.array([one.distance for one in given], float)
    assert (distance < 20).all()
    pictures = gate.check_film(embed(np.stack([tiles(7000 + index) for index in range(40)])))
    assert sum(bool(one.refusal) for one in pictures) >= 30


# A picture differs by 1000 times the spread of features that are constant on all films.
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_identical_films_still_have_a_density() -> None:
    film = np.repeat(chests(0, 1), 30, axis=0)
    same = Frontal(film, np.array([f"patient {index}" for index in range(30)]))
    gate = fitted(own=same, unseen=film[:5])
    assert [one.distance for one in gate.check_film(embed(film[:2]))] == [0, 0]
    (other,) = gate.check_film(embed(chests(1, 1)))
    assert other.distance is not None
    assert other.distance > 1


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_too_few_groups_to_hold_any_out_are_an_error(sources: int) -> None:
    few = [
        Example(kind, f"source {index % sources}", chest(index))
        for index in range(8)
        for kind in (FRONTAL, "photo")
    ]
    with pytest.raises(TrainingDataError, match="patients and sources of pictures"):
        fitted(own=own(4, films_each=4), examples=few)


def test_films_of_a_single_group_are_an_error() -> None:
    negatives = [example for example in examples() if example.kind != FRONTAL]
    same = Example(FRONTAL, "patient 0", chest(1))
    with pytest.raises(TrainingDataError, match="more patients"):
        fitted(own=own(4, films_each=4), examples=[same, *negatives])


def marked(groups: npt.NDArray[np.str_], marks: npt.NDArray[np.intp], width: int) -> _Examples:
    """Examples whose features contain only their mark."""
    count = len(groups)
    features = 10 * np.eye(width)[marks]
    return _Examples(features, groups, np.full(count, 1 / count), np.ones(count, bool))


@pytest.mark.parametrize("leaking", [False, True])
def test_no_group_is_both_fitted_on_and_held_out(leaking: bool) -> None:
    # 40 patients and 40 sources with five pictures each, and features that only identify the group:
    # they say nothing about other groups, and everything about other films of the same group.
    marks = np.repeat(np.arange(80), 5)
    unit = np.arange(400) if leaking else marks
    groups = np.array([f"group {index}" for index in unit])
    films, pictures = slice(0, 200), slice(200, 400)
    _weights, _threshold, figures = _fit_frontal(
        marked(groups[films], marks[films], 80),
        marked(groups[pictures], marks[pictures], 80),
        ["photo"] * 200,
    )
    films_refused, pictures_refused = (
        int(figures[f"held_out_{what}_refused"].partition(" of ")[0])
        for what in ("films", "pictures")
    )
    wrong = films_refused + 200 - pictures_refused
    assert wrong <= 10 if leaking else wrong >= 150


def test_chosen_takes_a_random_sample_with_its_groups() -> None:
    films = np.zeros((1500, 2, 2), np.uint8)
    films[:, 0, 0] = np.arange(1500) % 256
    groups = [str(index % 256) for index in range(1500)]
    chosen = Frontal.chosen(films, groups, seed=3)
    assert chosen.greys.shape == (1200, 2, 2)
    assert chosen.greys.dtype == np.float32
    values = np.rint(chosen.greys[:, 0, 0] * 255).astype(int)
    assert [str(value) for value in values] == list(chosen.groups)
    assert not (np.diff(values[:100]) == 1).all()
    np.testing.assert_array_equal(Frontal.chosen(films, groups, seed=3).greys, chosen.greys)
    assert (Frontal.chosen(films, groups, seed=4).greys != chosen.greys).any()
    assert len(Frontal.chosen(films[:7], groups[:7], seed=3).greys) == 7


def test_films_are_embedded_as_in_a_screening_run() -> None:
    seen: list[Greys] = []

    def watched(greys: Greys) -> npt.NDArray[np.float32]:
        seen.append(greys)
        return embed(greys)

    look: Callable[[Greys], npt.NDArray[np.float32]] = watched
    fitted(embed=look)
    for greys in seen:
        assert greys.dtype == np.float32
        assert greys.shape[1:] == (SIDE, SIDE)
        assert 0 <= greys.min() <= greys.max() <= 1
