from dataclasses import replace

import numpy as np
import pytest

from gate_makers import make_recogniser
from makers import make_card
from screening.model.calibration import OperatingPoint
from screening.model.card import Card
from screening.model.drift_baseline import Spread, input_statistics
from screening.training.evaluate import build_drift_baseline


def card(**gate: float) -> Card:
    """Feature 0 decides on frontal (0 is 0.5, 5 is 0.99); feature 1 above the others: inverted."""
    return replace(
        make_card(),
        operating_point=OperatingPoint(0.5, "given by the test"),
        gate=make_recogniser(**gate),
    )


def embeddings(n: int, seed: int = 0) -> np.ndarray:
    """Embeddings of frontal, upright films."""
    found = np.random.default_rng(seed).normal(size=(n, 6))
    found[:, 0] = 20
    return found


def films(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 8, 8)).astype(np.float32)


def test_accepted_films_are_counted_by_probability_and_call() -> None:
    p = np.array([0.1, 0.499999, 0.5, 1.0])
    made = build_drift_baseline(card(), films(4), p, embeddings(4))
    assert made is not None
    assert (made.n, made.refused, made.called) == (4, 0, 2)
    assert [index for index, count in enumerate(made.histogram) if count] == [2, 9, 10, 19]
    assert made.probabilities.tolist() == p.astype(np.float32).tolist()
    assert made.warnings == {"out_of_domain": 0, "inverted": 0, "rotated": 0}


def test_refused_film_is_counted_and_left_out_of_everything_else() -> None:
    greys, p, seen = films(5), np.array([0.2, 0.4, 0.6, 0.8, 1.0]), embeddings(5)
    seen[4, 0] = -20
    made = build_drift_baseline(card(), greys, p, seen)
    without = build_drift_baseline(card(), greys[:4], p[:4], seen[:4])
    assert made is not None
    assert without is not None
    assert made.refusal_rate == 1 / 5
    assert made.as_dict() == without.as_dict() | {"n": 5, "refused": 1}


def test_film_without_a_valid_probability_counts_as_refused() -> None:
    made = build_drift_baseline(card(), films(3), np.array([0.2, np.nan, 0.6]), embeddings(3))
    assert made is not None
    assert (made.n, made.refused, sum(made.histogram)) == (3, 1, 2)


def test_warnings_of_the_gate_are_counted_by_code() -> None:
    seen = embeddings(4)
    seen[1, 1] = 60  # inverted
    seen[2, 3] = 60  # rotated by 180 degrees; feature 3 is also part of the density
    made = build_drift_baseline(card(limit=20.0), films(4), np.full(4, 0.5), seen)
    assert made is not None
    assert made.warnings == {"out_of_domain": 1, "inverted": 1, "rotated": 1}


def test_embeddings_are_kept_as_mean_and_covariance_along_the_density() -> None:
    seen = embeddings(50)
    made = build_drift_baseline(card(), films(50), np.full(50, 0.5), seen)
    along = make_recogniser().coordinates(seen)
    assert made is not None
    assert made.embedding_mean == pytest.approx(along.mean(axis=0), rel=1e-5)
    assert made.embedding_covariance == pytest.approx(np.cov(along.T), rel=1e-5)


def test_inputs_are_kept_as_their_spread() -> None:
    greys = films(30)
    made = build_drift_baseline(card(), greys, np.full(30, 0.5), embeddings(30))
    assert made is not None
    measured = input_statistics(greys)
    assert made.inputs == {name: Spread.of(values) for name, values in measured.items()}


def test_one_film_is_enough() -> None:
    made = build_drift_baseline(card(), films(1), np.array([0.3]), embeddings(1))
    assert made is not None
    assert made.scored == 1
    assert not made.embedding_covariance.any()


def test_no_reference_if_all_films_are_refused() -> None:
    seen = embeddings(3)
    seen[:, 0] = -20
    assert build_drift_baseline(card(), films(3), np.full(3, 0.5), seen) is None


def test_no_reference_without_a_gate() -> None:
    assert build_drift_baseline(make_card(), films(3), np.full(3, 0.5), embeddings(3)) is None
