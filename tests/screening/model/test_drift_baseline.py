from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate_makers import make_recogniser
from screening.model.drift_baseline import (
    BINS,
    INPUTS,
    QUANTILES,
    WARNINGS,
    DriftBaseline,
    Spread,
    histogram,
    input_statistics,
    rising,
)
from screening.model.image_gate import distances, packed
from screening.model.preprocess import Preprocessing

QUICK = settings(deadline=None, max_examples=60, database=None)


def reference(**changes: Any) -> DriftBaseline:
    """Ten films, two of them refused; three of the others are classified as pneumonia."""
    p = np.array([0.01, 0.02, 0.1, 0.3, 0.4, 0.8, 0.9, 1.0])
    spread = Spread.of(p)
    values: dict[str, Any] = {
        "n": 10,
        "refused": 2,
        "called": 3,
        "warnings": {"out_of_domain": 4, "inverted": 1, "rotated": 0},
        "histogram": histogram(p),
        "probabilities": rising(p),
        "distance": spread,
        "inputs": dict.fromkeys(INPUTS, spread),
        "embedding_mean": np.zeros(3, np.float32),
        "embedding_covariance": np.eye(3, dtype=np.float32),
    }
    return DriftBaseline(**values | changes)


def test_rates_have_the_right_denominators() -> None:
    made = reference()
    assert made.scored == 8
    assert made.refusal_rate == 2 / 10
    assert made.positive_rate == 3 / 8
    assert made.warning_rates == {"out_of_domain": 4 / 8, "inverted": 1 / 8, "rotated": 0}


def test_reference_without_scored_films_is_rejected() -> None:
    with pytest.raises(ValueError, match="larger than the number of films"):
        reference(n=2, histogram=(0,) * BINS, called=0, warnings=dict.fromkeys(WARNINGS, 0))


@pytest.mark.parametrize("values", [None, [], "text", 3], ids=repr)
def test_reference_must_be_a_dict(values: object) -> None:
    with pytest.raises(TypeError, match="the reference is a"):
        DriftBaseline.from_dict(values)


def full(*shape: int, value: float = 1.0) -> dict[str, Any]:
    """An array with a single value, as stored in a card."""
    return packed(np.full(shape, value, np.float32))


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "blue"},
        {"n": 11},
        {"n": 9},
        {"n": 10.0},
        {"n": True},
        {"n": None},
        {"refused": -1},
        {"refused": 10},
        {"called": 9},
        {"called": "1"},
        {"warnings": {}},
        {"warnings": {"out_of_domain": 0, "inverted": 0, "rotated": 9}},
        {"warnings": {"out_of_domain": 0, "inverted": 0, "rotated": 0, "new": 0}},
        {"warnings": []},
        {"histogram": [8]},
        {"histogram": [0] * 20},
        {"histogram": [-1, 9] + [0] * 18},
        {"histogram": [8.0] + [0] * 19},
        {"histogram": None},
        {"distance": None},
        {"distance": {"mean": 0.5, "sd": 0.1}},
        {"distance": {"mean": 0.5, "sd": 0.1, "quantiles": [1, 2, 3]}},
        {"distance": {"mean": 0.5, "sd": 0.1, "quantiles": [5, 4, 3, 2, 1]}},
        {"distance": {"mean": 0.5, "sd": -0.1, "quantiles": [1, 2, 3, 4, 5]}},
        {"distance": {"mean": float("nan"), "sd": 0.1, "quantiles": [1, 2, 3, 4, 5]}},
        {"distance": {"mean": 10**400, "sd": 0.1, "quantiles": [1, 2, 3, 4, 5]}},
        {"distance": {"mean": "0.5", "sd": 0.1, "quantiles": [1, 2, 3, 4, 5]}},
        {"distance": {"mean": 0.5, "sd": 0.1, "quantiles": [1, 2, 3, 4, None]}},
        {"distance": []},
        {"probabilities": full(7, value=0.5)},
        {"probabilities": full(9, value=0.5)},
        {"probabilities": full(8, value=-0.1)},
        {"probabilities": full(8, value=1.1)},
        {"probabilities": full(8, value=float("nan"))},
        {"probabilities": packed(np.linspace(1, 0, 8, dtype=np.float32))},
        {"probabilities": [0.1, 0.2]},
        {"inputs": {}},
        {"inputs": {"mean": 1}},
        {"inputs": []},
        {"embedding_mean": full(4)},
        {"embedding_mean": [1.0, 2.0]},
        {"embedding_covariance": full(3)},
        {"embedding_covariance": full(3, 3, value=float("inf"))},
    ],
    ids=str,
)
def test_damaged_fields_are_rejected(fields: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        DriftBaseline.from_dict(reference().as_dict() | fields)


@pytest.mark.parametrize("name", sorted(vars(reference())))
def test_missing_field_is_rejected(name: str) -> None:
    fields = reference().as_dict()
    del fields[name]
    with pytest.raises((KeyError, TypeError), match=f"'{name}'"):
        DriftBaseline.from_dict(fields)


def test_reference_dict_round_trip() -> None:
    made = reference(embedding_mean=np.array([0.1, 1e-30, -7e8], np.float32))
    back = DriftBaseline.from_dict(made.as_dict())
    assert np.array_equal(back.embedding_mean, made.embedding_mean)
    assert back.as_dict() == made.as_dict()
    assert replace(back, n=11, refused=3).as_dict() != made.as_dict()


@QUICK
@given(st.lists(st.integers(0, 10**6), max_size=40))
def test_probabilities_are_counted_in_bins_of_a_twentieth(micros: list[int]) -> None:
    counts = histogram(np.array(micros, np.float64) / 10**6)
    expected = [0] * BINS
    for value in micros:
        expected[min(value // 50_000, BINS - 1)] += 1
    assert list(counts) == expected


def test_probability_on_an_edge_is_in_the_upper_bin() -> None:
    edges = np.round(np.arange(BINS) / BINS, 6)
    assert histogram(edges) == (1,) * BINS
    assert histogram(np.array([1.0]))[-1] == 1


def test_probabilities_are_sorted() -> None:
    p = np.round(np.random.default_rng(0).random(1001), 6)
    assert rising(p).tolist() == np.sort(p).astype(np.float32).tolist()


def test_stored_quantiles_preserve_the_distribution() -> None:
    p = np.round(np.random.default_rng(0).beta(0.3, 0.3, 20_000), 6)
    kept = rising(p)
    assert kept.shape == (1001,)
    for at in np.linspace(0, 1, 77):
        assert (kept <= at).mean() == pytest.approx((p <= at).mean(), abs=1e-3)


@QUICK
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_spread_matches_numpy(values: list[float]) -> None:
    spread = Spread.of(np.array(values))
    assert spread.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert spread.quantiles == pytest.approx(np.quantile(values, QUANTILES), rel=1e-9, abs=1e-6)
    if len(values) > 1:
        assert spread.sd == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-6)


def test_single_film_has_sd_0() -> None:
    assert Spread.of(np.array([0.25])) == Spread(0.25, 0, (0.25,) * len(QUANTILES))


def film(*rows: list[float]) -> np.ndarray:
    return np.array([rows], np.float32)


def test_input_statistics_of_a_known_film() -> None:
    # The inner pixel is 1 and its four neighbours are 0: its Laplacian is -4.
    grey = film([0, 0, 0.5], [0, 1, 0], [0.5, 0, 1])
    found = {name: values.tolist() for name, values in input_statistics(grey).items()}
    assert list(found) == list(INPUTS)
    assert found["mean"] == [pytest.approx(3 / 9)]
    assert found["sd"] == [pytest.approx(np.sqrt((1 + 1 + 0.25 + 0.25) / 9 - 1 / 9))]
    assert found["black"] == [pytest.approx(5 / 9)]
    assert found["white"] == [pytest.approx(2 / 9)]
    assert found["sharpness"] == [pytest.approx(4)]


def test_nearly_black_and_nearly_white_pixels_are_counted() -> None:
    # In an 8-bit film, five grey levels from either end, and the end itself.
    steps = np.array([0, 5, 6, 100, 128, 249, 250, 254, 255], np.float32).reshape(1, 3, 3) / 255
    found = input_statistics(steps)
    assert found["black"] == [pytest.approx(2 / 9)]
    assert found["white"] == [pytest.approx(3 / 9)]


def test_slope_has_sharpness_0() -> None:
    grey = np.linspace(0, 1, 20)[np.newaxis, :, np.newaxis] * np.ones((1, 1, 20))
    assert input_statistics(grey)["sharpness"][0] == pytest.approx(0, abs=1e-12)


def test_films_are_measured_independently() -> None:
    greys = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    together = input_statistics(greys)
    for index in range(3):
        alone = input_statistics(greys[index : index + 1])
        assert {name: values[0] for name, values in alone.items()} == {
            name: values[index] for name, values in together.items()
        }


def test_no_films_give_empty_statistics() -> None:
    found = input_statistics(np.empty((0, 8, 8), np.float32))
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(INPUTS, (0,))


def test_tensor_has_the_statistics_of_its_film() -> None:
    # Every grey value of an 8-bit film, through the number range of the shipped model.
    grey = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(1, 16, 16)
    preprocessing = Preprocessing(16, 16, scale=1.9921875, offset=-0.9921875)
    tensor = preprocessing.normalise(grey)[..., 0]
    back = (tensor - np.float32(preprocessing.offset)) / np.float32(preprocessing.scale)
    before, after = input_statistics(grey), input_statistics(back)
    for name in ("black", "white"):
        assert before[name] == after[name]
    for name in ("mean", "sd", "sharpness"):
        assert after[name] == pytest.approx(before[name], rel=1e-5)


def test_distance_is_the_length_of_the_coordinates() -> None:
    # All variance is along the components and none is orthogonal: the distance is their length.
    gate = make_recogniser(mean=np.arange(6, dtype=np.float32))
    embeddings = np.random.default_rng(1).normal(size=(5, 6))
    along = gate.coordinates(embeddings)
    z = gate.standardised(embeddings)
    measured = distances(z, gate.components, gate.variances, residual=1e30)
    assert along.shape == (5, 2)
    assert measured == pytest.approx(np.sqrt((along**2).sum(axis=1)), rel=1e-9)
