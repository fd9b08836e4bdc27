from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from makers import grey_film
from screening.model.image_gate import ORIENTATIONS
from screening.training.fit_image_gate import dress, recompress, resample, turn

Pixels = npt.NDArray[np.uint8]

SEEDS = range(25)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("change", [recompress, resample])
@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (80, 48), (1, 1)], ids=str)
def test_export_changes_keep_shape_and_type_and_change_little(
    change: Callable[[Pixels, np.random.Generator], Pixels], shape: tuple[int, int]
) -> None:
    film = grey_film(1, side=80)[: shape[0], : shape[1]].copy()
    before = film.copy()
    for seed in SEEDS:
        changed = change(film, rng(seed))
        assert (changed.shape, changed.dtype) == (shape, np.uint8)
        assert np.abs(changed.astype(int) - film).mean() < 8
    np.testing.assert_array_equal(film, before)
    np.testing.assert_array_equal(change(film, rng(3)), change(film, rng(3)))


def test_recompressed_film_has_jpeg_artefacts() -> None:
    # Fine noise does not survive quality 75; a flat film loses nothing.
    noise = rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for seed in SEEDS:
        assert np.abs(recompress(noise, rng(seed)).astype(int) - noise).mean() > 5
        flat = recompress(np.full((64, 64), 90, np.uint8), rng(seed)).astype(int)
        assert flat.min() == flat.max()
        assert abs(flat.min() - 90) <= 2


def test_resampled_film_is_softer_and_not_moved() -> None:
    film = np.zeros((65, 65), np.uint8)
    film[28:37, 28:37] = 200
    for seed in SEEDS:
        softer = resample(film, rng(seed)).astype(float)
        assert np.abs(np.diff(softer, axis=0)).max() < 200
        rows, columns = np.indices(film.shape)
        centre = (rows * softer).sum() / softer.sum(), (columns * softer).sum() / softer.sum()
        assert np.hypot(centre[0] - 32, centre[1] - 32) < 0.1
        assert softer.sum() == pytest.approx(film.sum(), rel=0.05)


def test_90_degrees_is_anticlockwise_for_the_viewer() -> None:
    film = np.array([[[0.1, 0.2], [0.3, 0.4]]], np.float32)
    expected = {
        "upright": [[0.1, 0.2], [0.3, 0.4]],
        "90": [[0.2, 0.4], [0.1, 0.3]],
        "180": [[0.4, 0.3], [0.2, 0.1]],
        "270": [[0.3, 0.1], [0.4, 0.2]],
        "inverted": [[0.9, 0.8], [0.7, 0.6]],
    }
    assert set(expected) == set(ORIENTATIONS)
    for name, values in expected.items():
        np.testing.assert_allclose(turn(film, name), [values], rtol=1e-6)


def test_turn_agrees_with_numpy_film_by_film() -> None:
    films = rng(1).random((3, 8, 8), np.float32)
    for times, name in enumerate(("90", "180", "270"), start=1):
        turned = turn(films, name)
        assert turned.dtype == np.float32
        assert turned.flags.c_contiguous
        for film, one in zip(films, turned, strict=True):
            np.testing.assert_array_equal(one, np.rot90(film, times))


def test_four_turns_or_two_inversions_restore_the_film() -> None:
    films = rng(2).random((2, 8, 8), np.float32)
    turned = films
    for _ in range(4):
        turned = turn(turned, "90")
    np.testing.assert_array_equal(turned, films)
    np.testing.assert_array_equal(turn(turn(films, "180"), "180"), films)
    np.testing.assert_array_equal(turn(turn(films, "270"), "90"), films)
    np.testing.assert_allclose(turn(turn(films, "inverted"), "inverted"), films, atol=1e-7)


def test_turn_accepts_an_empty_array() -> None:
    for name in ORIENTATIONS:
        assert turn(np.empty((0, 8, 8), np.float32), name).shape == (0, 8, 8)


def test_dressed_picture_keeps_phases_and_takes_the_films_amplitudes() -> None:
    rng = np.random.default_rng(0)
    picture, film = rng.random((2, 64, 64)).astype(np.float32)
    for seed in range(8):
        dressed = dress(picture, film, np.random.default_rng(seed))
        assert dressed.shape == picture.shape
        assert dressed.dtype == np.float32
        assert 0 <= dressed.min() < dressed.max() <= 1
        one, other, given = (np.fft.fft2(x)[1:, 1:] for x in (picture, film, dressed))
        phases = np.cos(np.angle(one) - np.angle(given))
        assert phases.mean() > 0.8
        amplitudes = [np.log(np.abs(x)).ravel() for x in (one, other, given)]
        assert np.corrcoef(amplitudes[1], amplitudes[2])[0, 1] > 0.3


def test_picture_dressed_as_itself_stays_nearly_the_same() -> None:
    picture = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    dressed = dress(picture, picture, np.random.default_rng(1))
    assert np.corrcoef(dressed.ravel(), picture.ravel())[0, 1] > 0.99
