"""A reduced film is resized to the model's input as if it had not been reduced."""

import numpy as np
import pytest

from makers import grey_film
from screening.imaging.downscale import _LOW_PASS, _MEANS, averaged
from screening.imaging.film import Decoded
from screening.model.preprocess import Preprocessing

MODEL = Preprocessing(rows=32, columns=40)

#: Rows and columns: some are divisible by a power of two, others are not.
SHAPES = [(160, 192), (163, 190), (401, 255), (166, 333)]


def low_pass_of_rows(film: np.ndarray) -> np.ndarray:
    """The low pass of the 5/3 wavelet at every other row."""
    rows = np.pad(film, ((2, 2), (0, 0)), mode="reflect")
    taps = zip(range(5), (-1, 2, 6, 2, -1), strict=True)
    total: np.ndarray = sum(tap / 8 * rows[place : len(film) + place] for place, tap in taps)
    return total[::2]


def halved(film: np.ndarray, power: int, wavelet: bool) -> Decoded:
    if wavelet:
        cells = film.astype(np.float64)
        for _ in range(power):
            cells = low_pass_of_rows(low_pass_of_rows(cells).T).T
    else:
        cells = averaged(film.astype(np.float32), power)
    return Decoded(cells.astype(np.float32), (), *film.shape, "made", power, wavelet)


BOTH = pytest.mark.parametrize("wavelet", [False, True], ids=["means", "low pass"])
POWERS = pytest.mark.parametrize("power", [1, 2])
FILMS = pytest.mark.parametrize("shape", SHAPES, ids=str)


@BOTH
@POWERS
@FILMS
def test_film_with_a_single_value_keeps_it(shape, power, wavelet):
    shown = MODEL.shown(halved(np.full(shape, 0.7), power, wavelet))
    assert shown.shape == (32, 40)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown, 0.7, atol=1e-6)


@BOTH
@POWERS
@FILMS
def test_slope_is_not_shifted(shape, power, wavelet):
    down, along = (np.linspace(0.1, 0.9, length) for length in shape)
    film = (down[:, np.newaxis] + along) / 2
    shown = MODEL.shown(halved(film, power, wavelet))
    expected = MODEL.resize(film.astype(np.float32))
    # The slope is not known close to the edge.
    np.testing.assert_allclose(shown[5:-5, 5:-5], expected[5:-5, 5:-5], atol=2e-4)
    np.testing.assert_allclose(shown, expected, atol=0.01)


@BOTH
@POWERS
def test_reduced_film_is_close_to_the_full_film(power, wavelet):
    size = 64 << power
    film = grey_film(1, side=256).astype(np.float32) / 255
    film += np.random.default_rng(1).normal(0, 0.004, film.shape).astype(np.float32)
    film = np.clip(film, 0.1, 0.9)[:size, :size]
    model = Preprocessing(rows=29, columns=30)
    reduced, full = halved(film, power, wavelet), model.resize(film)
    difference = np.abs(model.shown(reduced) - full)
    without = np.abs(model.resize(reduced.grey) - full)
    assert difference.mean() < 0.002
    assert difference.mean() < 0.75 * without.mean()


@BOTH
def test_result_stays_between_0_and_1(wavelet):
    film = np.kron(np.indices((20, 24)).sum(axis=0) % 2, np.ones((8, 8)))
    reduced = halved(film, 1, wavelet)
    shown = MODEL.shown(Decoded(np.clip(reduced.grey, 0, 1), (), *film.shape, "", 1, wavelet))
    assert shown.min() >= 0
    assert shown.max() <= 1


@BOTH
def test_pixel_estimate_is_close_to_optimal(wavelet):
    """For a film whose power falls with the square of the frequency: neighbours differ by 1."""
    size, at = 128, 64
    place = np.arange(size)
    covariance = 50.0 + np.minimum(place[:, np.newaxis], place)
    halve = low_pass_of_rows if wavelet else (lambda rows: (rows[::2] + rows[1::2]) / 2)
    halving = halve(np.eye(size))
    of_cells = halving @ covariance @ halving.T
    best = np.linalg.solve(of_cells, halving @ covariance).T
    for pixel, taps in enumerate(_LOW_PASS if wavelet else _MEANS):
        estimate = np.zeros(size // 2)
        for shift, tap in taps.items():
            estimate[at // 2 + shift] = tap
        errors = []
        for weights in (estimate, best[at + pixel]):
            off = weights @ halving - np.eye(size)[at + pixel]
            errors.append(off @ covariance @ off)
        assert errors[0] < 1.02 * errors[1]


def test_film_that_was_not_reduced_is_resized():
    film = np.random.default_rng(1).random((100, 90), np.float32)
    np.testing.assert_array_equal(MODEL.shown(Decoded(film, (), 100, 90)), MODEL.resize(film))
