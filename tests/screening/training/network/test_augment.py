import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from makers import grey_film
from screening.training.network.augment import (
    _cover,
    _degrade,
    _expose,
    _move,
    _process,
    _shade,
    augment,
    burn_in_letters,
    expose_like,
    move,
)

Pixels = npt.NDArray[np.uint8]

SEEDS = range(25)


def _bright(image: Image.Image) -> npt.NDArray[np.float64]:
    """Where a white mark on black is, without what came into view beside the film."""
    labelled, _count = ndimage.label(np.asarray(image) > 127)
    edges = {*labelled[0], *labelled[-1], *labelled[:, 0], *labelled[:, -1]}
    return np.asarray((labelled > 0) & ~np.isin(labelled, list(edges)), float)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (80, 48)], ids=str)
def test_a_film_keeps_its_shape_and_its_type(shape: tuple[int, int]) -> None:
    film = grey_film(1, side=80)[: shape[0], : shape[1]].copy()
    for seed in SEEDS:
        changed = augment(film, rng(seed))
        assert changed.shape == shape
        assert changed.dtype == np.uint8


def test_the_film_itself_is_left_as_it_was() -> None:
    film = grey_film(1, side=64).copy()
    before = film.copy()
    for seed in SEEDS:
        augment(film, rng(seed))
    np.testing.assert_array_equal(film, before)


def test_the_same_seed_gives_the_same_view() -> None:
    film = grey_film(1, side=64)
    np.testing.assert_array_equal(augment(film, rng(3)), augment(film, rng(3)))


def test_each_seed_gives_another_view() -> None:
    film = grey_film(1, side=64)
    views = {augment(film, rng(seed)).tobytes() for seed in SEEDS}
    assert len(views) == len(SEEDS)


def test_a_film_is_moved_by_no_more_than_a_tenth_or_so() -> None:
    # A shift of up to 0.07 along each axis, times a zoom of exp(0.2) and an aspect of exp(0.18) at
    # most: 0.07 * sqrt(2) * 1.22 * 1.2 = 0.145 of the side.
    film = np.zeros((200, 200), np.uint8)
    film[96:104, 96:104] = 255
    for seed in SEEDS:
        moved = _bright(_move(Image.fromarray(film), rng(seed)))
        rows, columns = np.indices(film.shape)
        centre = (rows * moved).sum() / moved.sum(), (columns * moved).sum() / moved.sum()
        assert np.hypot(centre[0] - 99.5, centre[1] - 99.5) < 0.145 * 200 + 1


def test_a_film_is_turned_by_no_more_than_11_degrees() -> None:
    # A vertical line; aspect changes its slope by exp(0.18) ** 2 at most.
    film = np.zeros((200, 200), np.uint8)
    film[40:160, 97:103] = 255
    steepest = np.tan(np.deg2rad(11)) * np.exp(0.36)
    for seed in SEEDS:
        rows, columns = np.nonzero(_bright(_move(Image.fromarray(film), rng(seed))))
        assert abs(np.polyfit(rows, columns, 1)[0]) < steepest + 0.02


def test_a_film_is_never_mirrored() -> None:
    # The heart stays on its side: what was left of the middle by a quarter stays left of it.
    film = np.zeros((200, 200), np.uint8)
    film[90:110, 40:60] = 255
    for seed in SEEDS:
        moved = _bright(_move(Image.fromarray(film), rng(seed)))
        assert (moved.sum(axis=0) * np.arange(200)).sum() / moved.sum() < 100


def test_another_exposure_never_turns_dark_into_bright() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    for seed in SEEDS:
        exposed = np.asarray(_expose(Image.fromarray(ramp), rng(seed))).astype(int)
        assert (np.diff(exposed, axis=1) >= 0).all()
        assert exposed.max() - exposed.min() > 60


def test_what_comes_into_view_beside_a_film_has_one_grey_and_mostly_it_is_black() -> None:
    film = np.full((100, 100), 100, np.uint8)
    borders = []
    for seed in range(200):
        moved = np.asarray(_move(Image.fromarray(film), rng(seed)))
        beside = moved[np.abs(moved.astype(int) - 100) > 1]
        if len(beside):
            borders.append(int(np.bincount(beside).argmax()))
    assert 0.4 < np.mean(np.array(borders) == 0) < 0.75
    assert 255 in borders
    assert len({*borders}) > 10


def test_letters_stand_near_the_edges_and_are_bright() -> None:
    film = np.zeros((120, 120), np.uint8)
    for seed in SEEDS:
        lettered = np.asarray(burn_in_letters(Image.fromarray(film), rng(seed)))
        assert lettered.max() >= 100
        # A word may reach inwards from the fifth where its middle is at most.
        assert (lettered[40:80, 40:80] > 0).mean() < 0.5
        assert 0 < (lettered > 0).mean() < 0.2


def test_a_film_is_not_written_on_itself() -> None:
    film = np.zeros((120, 120), np.uint8)
    burn_in_letters(Image.fromarray(film), rng(0))
    assert film.max() == 0


def test_multi_frequency_processing_flattens_what_is_coarse() -> None:
    film = np.repeat(np.array([60, 190], np.uint8), 112)[np.newaxis].repeat(224, axis=0)
    for seed in SEEDS:
        processed = np.asarray(_process(Image.fromarray(film), rng(seed))).astype(float)
        assert processed[:, 180].mean() - processed[:, 44].mean() < 131


def test_multi_frequency_processing_lifts_detail_on_average() -> None:
    film = rng(0).integers(110, 140, (96, 96)).astype(np.uint8)
    spread = [np.asarray(_process(Image.fromarray(film), rng(seed))).std() for seed in SEEDS]
    assert np.mean(spread) > film.std()


def test_shading_only_darkens_and_by_no_more_than_half() -> None:
    film = np.full((64, 64), 200, np.uint8)
    for seed in SEEDS:
        shaded = np.asarray(_shade(Image.fromarray(film), rng(seed)))
        assert 100 <= shaded.min() < shaded.max() <= 200


def test_a_lent_exposure_is_that_of_the_lender_and_the_order_of_greys_stays() -> None:
    film = rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    lender = rng(1).integers(90, 130, (64, 64)).astype(np.uint8)
    lent = expose_like(film, lender)
    assert lent.dtype == np.uint8
    assert abs(lent.mean() - lender.mean()) < 2
    assert lent.min() >= 90
    assert lent.max() <= 129
    order = np.argsort(film, axis=None)
    assert (np.diff(lent.ravel()[order].astype(int)) >= 0).all()


def test_a_lender_of_one_grey_gives_a_film_of_one_grey() -> None:
    lent = expose_like(grey_film(1, side=32), np.full((32, 32), 77, np.uint8))
    assert (lent == 77).all()


def test_moving_keeps_the_grey_values() -> None:
    film = np.full((64, 64), 100, np.uint8)
    assert all(np.median(move(film, rng(seed))) == 100 for seed in SEEDS)


def test_about_a_quarter_of_the_views_keep_the_grey_values() -> None:
    # A flat film whose grey is still there, but for patches and what came into view beside it.
    film = np.full((64, 64), 100, np.uint8)
    kept = [np.median(augment(film, rng(seed))) == 100 for seed in range(200)]
    assert 0.15 < np.mean(kept) < 0.4


def test_some_views_have_the_exposure_of_the_lender() -> None:
    film = np.clip(grey_film(1, side=64), 0, 120).astype(np.uint8)
    lender = np.full((64, 64), 250, np.uint8) - grey_film(2, side=64) // 8
    alone = [augment(film, rng(seed)).mean() for seed in range(60)]
    lent = [augment(film, rng(seed), lender).mean() for seed in range(60)]
    assert np.mean(lent) > np.mean(alone) + 5


def test_processing_leaves_a_film_what_it_was() -> None:
    film = grey_film(1, side=128)
    for seed in SEEDS:
        degraded = np.asarray(_degrade(Image.fromarray(film), rng(seed)))
        assert degraded.shape == film.shape
        assert np.corrcoef(degraded.ravel(), film.ravel())[0, 1] > 0.75


def test_up_to_three_patches_are_covered() -> None:
    # A patch is at most 0.22 x 0.22 of the film, so three are at most 0.1452 of it.
    changed = []
    for seed in SEEDS:
        film = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
        before = film.copy()
        changed.append((_cover(film, rng(seed)) != before).mean())
    assert max(changed) <= 3 * 0.22**2
    assert max(changed) > 0
    assert min(changed) == 0
