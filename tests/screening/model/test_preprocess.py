import numpy as np
import pytest

from makers import grey_film
from screening.model.preprocess import Preprocessing


def triangle(size: int, target: int) -> np.ndarray:
    """The antialiased triangle filter as a matrix, shape (target, size)."""
    step = size / target
    support = max(1.0, step)
    centres = (np.arange(target) + 0.5) * step
    distance = np.abs(np.arange(size) + 0.5 - centres[:, None])
    weights = np.clip(1 - distance / support, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def film(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(1).random((rows, columns), np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (50, 70), (33, 200), (7, 5)], ids=str)
def test_film_is_resized_with_an_antialiased_triangle_filter(shape: tuple[int, int]) -> None:
    grey = film(*shape)
    expected = triangle(shape[0], 16) @ grey @ triangle(shape[1], 24).T
    small = Preprocessing(rows=16, columns=24).resize(grey)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, expected, atol=1e-5)


def test_film_of_the_model_size_is_not_changed() -> None:
    grey = film(16, 24)
    np.testing.assert_array_equal(Preprocessing(rows=16, columns=24).resize(grey), grey)


def test_resized_film_stays_between_0_and_1() -> None:
    steps = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((9, 9))).astype(np.float32)
    small = Preprocessing(rows=32, columns=32).resize(steps)
    assert small.min() >= 0
    assert small.max() <= 1


def test_non_contiguous_film_is_resized() -> None:
    grey = film(60, 40)
    preprocessing = Preprocessing(rows=20, columns=20)
    np.testing.assert_array_equal(
        preprocessing.resize(grey.T), preprocessing.resize(np.ascontiguousarray(grey.T))
    )


def test_tensor_has_the_shape_of_the_preprocessing() -> None:
    preprocessing = Preprocessing(rows=16, columns=24, channels=3)
    tensor = preprocessing.tensor(film(100, 100))
    assert tensor.shape == preprocessing.shape == (16, 24, 3)
    assert tensor.dtype == np.float32


def test_all_channels_are_equal() -> None:
    tensor = Preprocessing(rows=16, columns=16, channels=3).tensor(film(16, 16))
    np.testing.assert_array_equal(tensor[..., 0], tensor[..., 1])
    np.testing.assert_array_equal(tensor[..., 0], tensor[..., 2])


def test_black_and_white_map_to_the_ends_of_the_range() -> None:
    ends = np.array([[0.0, 0.5, 1.0]], np.float32)
    normal = Preprocessing(rows=1, columns=3, scale=2.0, offset=-1.0).normalise(ends)
    assert normal[..., 0].tolist() == [[-1.0, 0.0, 1.0]]


def test_batch_is_normalised_like_single_films() -> None:
    preprocessing = Preprocessing(rows=8, columns=8, channels=3, scale=255.0, offset=-127.5)
    films = np.stack([film(8, 8), 1 - film(8, 8)])
    batch = preprocessing.normalise(films)
    assert batch.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(batch[1], preprocessing.normalise(films[1]))


def test_smooth_film_keeps_its_brightness() -> None:
    grey = grey_film(3, 0.4, side=128).astype(np.float32) / 255
    small = Preprocessing(rows=32, columns=32).resize(grey)
    assert small.mean() == pytest.approx(grey.mean(), abs=0.005)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(rows=16, columns=24),
        Preprocessing(rows=16, columns=24, channels=3, scale=255 / 128, offset=-127 / 128),
    ],
)
def test_grey_values_are_recovered_from_a_tensor(preprocessing: Preprocessing) -> None:
    grey = film(16, 24)
    shown = preprocessing.grey(preprocessing.tensor(grey))
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown, grey, atol=1e-6)


def test_recovered_grey_values_are_clipped() -> None:
    tensor = np.array([[[-0.5], [0.5], [1.5]]], np.float32)
    assert Preprocessing(rows=1, columns=3).grey(tensor).tolist() == [[0.0, 0.5, 1.0]]
