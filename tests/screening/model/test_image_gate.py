"""The image gate compared with independent calculations."""

import json
import struct
from base64 import b64decode
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import multivariate_normal

from gate_makers import make_recogniser
from screening.errors import CardError
from screening.model.image_gate import ORIENTATIONS, ImageGate, ImageGateResult, distances, softmax
from screening.results import FilmWarning, Reason

INVERTED = FilmWarning("inverted")
NOT_FRONTAL = "not_frontal_chest"


def embedding(*values: float, features: int = 6) -> npt.NDArray[np.float32]:
    """One embedding, shape (1, features), that begins with `values`; the others are 0."""
    row = np.zeros((1, features), np.float32)
    row[0, : len(values)] = values
    return row


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def random_recogniser(seed: int, features: int = 12, deepest: int = 9, k: int = 3) -> ImageGate:
    """A gate whose parameters are neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    return make_recogniser(
        features,
        deepest,
        mean=rng.normal(size=features).astype(np.float32),
        scale=rng.uniform(0.5, 2, features).astype(np.float32),
        frontal=rng.normal(size=features + 1).astype(np.float32),
        orientation=rng.normal(size=(5, features + 1)).astype(np.float32),
        components=np.linalg.qr(rng.normal(size=(deepest, k)))[0].T.astype(np.float32),
        variances=rng.uniform(2, 9, k).astype(np.float32),
        residual=0.7,
        limit=3.0,
        frontal_threshold=0.0,
    )


def test_embedding_is_standardised_by_feature() -> None:
    gate = make_recogniser(
        mean=np.arange(6, dtype=np.float32), scale=np.array([1, 2, 4, 1, 2, 4], np.float32)
    )
    given = gate.standardised(np.array([[3, 3, 3, 3, 3, 3]], np.float32))
    assert given.dtype == np.float64
    np.testing.assert_array_equal(given, [[3, 1, 0.25, 0, -0.5, -0.5]])


def test_training_films_have_mean_0_and_variance_1() -> None:
    films = np.random.default_rng(0).normal(5, 3, (500, 6)).astype(np.float32)
    gate = make_recogniser(mean=films.mean(axis=0), scale=films.std(axis=0))
    z = gate.standardised(films)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-5)


def test_frontal_head_is_a_logistic_regression() -> None:
    gate = random_recogniser(1)
    films = np.random.default_rng(2).normal(size=(5, 12)).astype(np.float32)
    for film, given in zip(films, gate.check_film(films), strict=True):
        score = float(gate.frontal[-1])
        for value, mean, scale, weight in zip(
            film, gate.mean, gate.scale, gate.frontal[:-1], strict=True
        ):
            score += (float(value) - float(mean)) / float(scale) * float(weight)
        assert given.frontal == pytest.approx(1 / (1 + np.exp(-score)), abs=5.1e-5)


@pytest.mark.parametrize(
    ("probability", "refused"),
    [(0.5, True), (0.7498, True), (0.7499, True), (0.75, False), (0.7501, False), (0.99, False)],
)
def test_image_is_refused_below_the_threshold(probability: float, refused: bool) -> None:
    (given,) = make_recogniser().check_film(embedding(logit(probability)))
    assert given.frontal == probability
    assert bool(given.refusal) is refused


def test_refusal_uses_the_rounded_score() -> None:
    (given,) = make_recogniser().check_film(embedding(logit(0.749_96)))
    assert (given.frontal, given.refusal) == (0.75, None)


def test_refusal_states_score_and_threshold() -> None:
    (given,) = make_recogniser().check_film(embedding(logit(0.2)))
    assert given.refusal == Reason(NOT_FRONTAL, "0.2000, at least 0.75 is needed")
    assert given.frontal == 0.2
    assert given.distance is not None
    assert given.warnings == ()


@pytest.mark.parametrize(
    ("probability", "orientation", "needed"),
    [
        (0.74, 0, 0.75),
        (0.74, 1, 0),
        (0.5, 1, 0),
        (0.4999, 1, 0.5),
        (0.5, 4, 0),
        (0.4999, 4, 0.5),
        (0.4999, 0, 0.75),
    ],
)
def test_rotated_film_has_a_lower_threshold(
    probability: float, orientation: int, needed: float
) -> None:
    values = [logit(probability), 0, 0, 0, 0]
    values[orientation] += 9 * (orientation > 0)
    (given,) = make_recogniser().check_film(embedding(*values))
    detail = f"{probability:.4f}, at least {needed:g} is needed"
    assert given.refusal == (Reason(NOT_FRONTAL, detail) if needed else None)
    assert len(given.warnings) == (needed == 0)


def test_rotated_film_never_has_a_higher_threshold() -> None:
    gate = make_recogniser(frontal_threshold=0.3)
    upright, turned = gate.check_film(
        np.concatenate([embedding(logit(0.31)), embedding(logit(0.31), 9)])
    )
    assert (upright.refusal, turned.refusal) == (None, None)
    assert turned.warnings == (INVERTED,)


def test_extreme_scores_do_not_overflow() -> None:
    low, high = make_recogniser().check_film(
        np.concatenate([embedding(-3e38), embedding(3e38)]).astype(np.float32)
    )
    assert (low.frontal, high.frontal) == (0.0, 1.0)
    assert low.refusal.code == NOT_FRONTAL
    assert high.refusal is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("feature", range(6))
def test_nan_embedding_is_refused_without_affecting_others(value: float, feature: int) -> None:
    gate = make_recogniser()
    films = np.repeat(embedding(3.0, 1.0, 0.5), 3, axis=0)
    alone = gate.check_film(films[:1])[0]
    films[1, feature] = value
    first, broken, last = gate.check_film(films)
    assert broken == ImageGateResult(refusal=Reason(NOT_FRONTAL, "the embedding is not a number"))
    assert first == last == alone
    assert alone.refusal is None


@pytest.mark.parametrize("features", [1, 5, 7, 32])
def test_gate_of_another_model_is_an_error(features: int) -> None:
    films = np.zeros((2, features), np.float32)
    with pytest.raises(CardError, match=f"gate needs 6 features, but the model gives {features}"):
        make_recogniser().check_film(films)


def test_no_images_give_no_results() -> None:
    assert make_recogniser().check_film(np.empty((0, 6), np.float32)) == []


@pytest.mark.parametrize("seed", range(5))
def test_distance_is_the_mahalanobis_distance(seed: int) -> None:
    gate = random_recogniser(seed)
    films = np.random.default_rng(seed + 100).normal(0, 3, (20, 12)).astype(np.float32)
    components = gate.components.astype(np.float64)
    along = components.T @ components
    covariance = components.T @ np.diag(
        gate.variances.astype(np.float64)
    ) @ components + gate.residual * (np.eye(9) - along)
    z = ((films.astype(np.float64) - gate.mean) / gate.scale)[:, 3:]
    expected = np.sqrt(np.einsum("ni,ij,nj->n", z, np.linalg.inv(covariance), z)) / gate.limit
    given = [one.distance for one in gate.check_film(films)]
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=5.1e-5)


def test_distance_matches_a_gaussian_log_density() -> None:
    rng = np.random.default_rng(3)
    components = np.linalg.qr(rng.normal(size=(7, 3)))[0].T
    variances, residual = np.array([8.0, 5.0, 2.0]), 0.25
    covariance = components.T @ np.diag(variances - residual) @ components + residual * np.eye(7)
    z = rng.normal(0, 2, (30, 7))
    density = multivariate_normal(np.zeros(7), covariance)
    expected = np.sqrt(-2 * (density.logpdf(z) - density.logpdf(np.zeros(7))))
    np.testing.assert_allclose(distances(z, components, variances, residual), expected, rtol=1e-9)


def test_remainder_of_the_distance_is_never_negative() -> None:
    # Rounding to float32 can make components slightly longer than 1.
    components = np.array([[1.000_001, 0, 0]])
    given = distances(np.array([[5.0, 0, 0]]), components, np.array([25.0]), 1e-12)
    np.testing.assert_allclose(given, [1.000_001])


def test_distance_uses_only_the_last_features() -> None:
    gate = random_recogniser(4)
    film = np.random.default_rng(5).normal(size=(1, 12)).astype(np.float32)
    (before,) = gate.check_film(film)
    for feature in range(12):
        other = film.copy()
        other[0, feature] += 2
        (after,) = gate.check_film(other)
        assert (after.distance == before.distance) is (feature < 3)
        assert after.frontal != before.frontal


@pytest.mark.parametrize(
    ("distance", "warned"), [(0.5, False), (0.9999, False), (1.0, False), (1.0001, True)]
)
def test_film_beyond_the_distance_limit_has_a_warning(distance: float, warned: bool) -> None:
    gate = make_recogniser(limit=10.0)
    (given,) = gate.check_film(embedding(9, 0, 0, 0, 0, distance * 10))
    assert given.distance == distance
    assert given.refusal is None
    assert [one.code for one in given.warnings] == ["out_of_domain"] * warned


def test_warning_states_distance_and_limit() -> None:
    (given,) = make_recogniser(limit=2.0).check_film(embedding(9, 0, 0, 0, 0, 5))
    assert given.warnings == (FilmWarning("out_of_domain", "distance 2.50, limit 1"),)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        ("upright", ()),
        ("inverted", (INVERTED,)),
        ("90", (FilmWarning("rotated", "by 90 degrees"),)),
        ("180", (FilmWarning("rotated", "by 180 degrees"),)),
        ("270", (FilmWarning("rotated", "by 270 degrees"),)),
    ],
)
@pytest.mark.parametrize("probability", [0.3, 0.8999, 0.9001, 0.999])
def test_orientation_is_reported_from_probability_0_9(
    orientation: str, expected: tuple[str, ...], probability: float
) -> None:
    turned = np.full(5, (1 - probability) / 4)
    turned[ORIENTATIONS.index(orientation)] = probability
    # Feature 0 is the score of upright and of the frontal head; a constant on all scores has no
    # effect.
    (given,) = make_recogniser().check_film(embedding(*(np.log(turned) + 20)))
    assert given.refusal is None
    assert given.warnings == (expected if probability >= 0.9 else ())


def test_orientation_is_reported_at_the_threshold() -> None:
    gate = make_recogniser(orientation_threshold=0.5, frontal_threshold=0.0, limit=1e9)
    (given,) = gate.check_film(embedding(-2000, 5, 5, -2000, -2000))
    assert given.warnings == (INVERTED,)


def test_film_can_be_out_of_domain_and_rotated() -> None:
    gate = make_recogniser(limit=2.0)
    (given,) = gate.check_film(embedding(5, 0, 0, 0, 20))
    assert [one.code for one in given.warnings] == ["out_of_domain", "rotated"]
    assert given.warnings[1] == FilmWarning("rotated", "by 270 degrees")


def test_softmax_sums_to_1_and_does_not_overflow() -> None:
    given = softmax(np.array([[1e6, 0, -1e6], [0, 0, 0], [1, 2, 3]]))
    np.testing.assert_allclose(given.sum(axis=1), 1)
    np.testing.assert_allclose(given[2], np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum())


def test_gate_json_round_trip_is_exact() -> None:
    gate = random_recogniser(7)
    twin = ImageGate.from_dict(json.loads(json.dumps(gate.as_dict())))
    for name, value in vars(gate).items():
        other = getattr(twin, name)
        if isinstance(value, np.ndarray):
            assert (other.dtype, other.shape) == (np.float32, value.shape)
            assert other.tobytes() == value.tobytes()
        else:
            assert other == value
    films = np.random.default_rng(8).normal(size=(9, 12)).astype(np.float32)
    assert twin.check_film(films) == gate.check_film(films)


def test_arrays_are_little_endian_float32_in_row_order() -> None:
    packed = make_recogniser().as_dict()["orientation"]
    assert packed["shape"] == [5, 7]
    values = struct.unpack("<35f", b64decode(packed["float32"]))
    assert values == tuple(np.eye(5, 7).ravel())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mean": np.zeros(5, np.float32)}, "scale"),
        ({"mean": np.full(6, np.nan, np.float32)}, "mean"),
        ({"scale": np.zeros(6, np.float32)}, "scale"),
        ({"scale": np.full(6, np.inf, np.float32)}, "scale"),
        ({"frontal": np.zeros(6, np.float32)}, "frontal"),
        ({"frontal": np.full(7, np.inf, np.float32)}, "frontal"),
        ({"orientation": np.zeros((4, 7), np.float32)}, "orientation"),
        ({"orientation": np.zeros((7, 5), np.float32)}, "orientation"),
        ({"components": np.zeros((3, 4), np.float32)}, "components"),
        ({"components": np.zeros((2, 7), np.float32)}, "components"),
        ({"components": np.zeros((2, 0), np.float32)}, "components"),
        ({"components": np.zeros(2, np.float32)}, "components"),
        ({"components": np.float32(1) * np.ones((), np.float32)}, "components"),
        ({"components": np.zeros((2, 2, 4), np.float32)}, "components"),
        ({"variances": np.array([1, 0], np.float32)}, "variances"),
        ({"variances": np.array([1, -1], np.float32)}, "variances"),
        ({"variances": np.array([1, np.nan], np.float32)}, "variances"),
        *(
            ({name: value}, name)
            for name in ("residual", "limit")
            for value in (0, -1.0, np.nan, np.inf, "1", None, [1.0], True)
        ),
        *(
            ({name: value}, name)
            for name in ("frontal_threshold", "orientation_threshold")
            for value in (-0.1, 1.1, np.nan, np.inf, "0.5", None, [0.5], True)
        ),
        ({"fitted_on": None}, "fitted_on"),
    ],
    ids=str,
)
def test_gate_with_invalid_values_is_rejected(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make_recogniser(**changes)
