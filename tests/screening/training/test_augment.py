from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from lung_films import lung_mask
from makers import grey_film
from screening.training.augment import (
    HOSPITAL_VIEWS,
    LIGHT_VIEWS,
    LUNG_VIEWS,
    Look,
    Pixels,
    Ranges,
    _cover,
    _degrade,
    _expose,
    _process,
    _shade,
    augment,
    burn_in_letters,
    change_contrast,
    change_look,
    clahe,
    equalised_locally,
    expose_like,
    geometry,
    lend_exposure,
    moved,
    view_of,
)

SEEDS = range(25)


def _bright(image: Image.Image) -> npt.NDArray[np.float64]:
    """Position of a white mark on black, without the area outside the film."""
    labelled, _count = ndimage.label(np.asarray(image) > 127)
    edges = {*labelled[0], *labelled[-1], *labelled[:, 0], *labelled[:, -1]}
    return np.asarray((labelled > 0) & ~np.isin(labelled, list(edges)), float)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (80, 48)], ids=str)
def test_augmented_film_keeps_shape_and_type(shape: tuple[int, int]) -> None:
    film = grey_film(1, side=80)[: shape[0], : shape[1]].copy()
    for seed in SEEDS:
        changed = augment(film, rng(seed))
        assert changed.shape == shape
        assert changed.dtype == np.uint8


def test_film_itself_is_not_changed() -> None:
    film = grey_film(1, side=64).copy()
    before = film.copy()
    for seed in SEEDS:
        augment(film, rng(seed))
    np.testing.assert_array_equal(film, before)


def test_same_seed_gives_the_same_view() -> None:
    film = grey_film(1, side=64)
    np.testing.assert_array_equal(augment(film, rng(3)), augment(film, rng(3)))


def test_each_seed_gives_another_view() -> None:
    film = grey_film(1, side=64)
    views = {augment(film, rng(seed)).tobytes() for seed in SEEDS}
    assert len(views) == len(SEEDS)


def placed(film: Pixels, seed: int, ranges: Ranges = HOSPITAL_VIEWS) -> Pixels:
    """A film moved to another place, and otherwise unchanged."""
    image = Image.fromarray(film)
    return np.asarray(moved(image, geometry(image.size, rng(seed), ranges)))


def test_film_is_moved_by_about_a_tenth_at_most() -> None:
    # A shift of up to 0.07 along each axis, times a zoom of at most exp(0.2) and an aspect of at
    # most exp(0.18): 0.07 * sqrt(2) * 1.22 * 1.2 = 0.145 of the side.
    film = np.zeros((200, 200), np.uint8)
    film[96:104, 96:104] = 255
    for seed in SEEDS:
        mark = _bright(Image.fromarray(placed(film, seed)))
        rows, columns = np.indices(film.shape)
        centre = (rows * mark).sum() / mark.sum(), (columns * mark).sum() / mark.sum()
        assert np.hypot(centre[0] - 99.5, centre[1] - 99.5) < 0.145 * 200 + 1


def test_film_is_turned_by_11_degrees_at_most() -> None:
    # A vertical line; the aspect changes its slope by at most exp(0.18) ** 2.
    film = np.zeros((200, 200), np.uint8)
    film[40:160, 97:103] = 255
    steepest = np.tan(np.deg2rad(11)) * np.exp(0.36)
    for seed in SEEDS:
        rows, columns = np.nonzero(_bright(Image.fromarray(placed(film, seed))))
        assert abs(np.polyfit(rows, columns, 1)[0]) < steepest + 0.02


def test_film_is_never_mirrored() -> None:
    # The heart stays on its side: a mark a quarter left of the middle stays left of it.
    film = np.zeros((200, 200), np.uint8)
    film[90:110, 40:60] = 255
    for seed in SEEDS:
        mark = _bright(Image.fromarray(placed(film, seed)))
        assert (mark.sum(axis=0) * np.arange(200)).sum() / mark.sum() < 100


def test_exposure_never_turns_dark_into_bright() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    for seed in SEEDS:
        exposed = np.asarray(_expose(Image.fromarray(ramp), rng(seed))).astype(int)
        assert (np.diff(exposed, axis=1) >= 0).all()
        assert exposed.max() - exposed.min() > 60


def test_area_outside_the_film_has_one_grey_and_is_mostly_black() -> None:
    film = np.full((100, 100), 100, np.uint8)
    borders = []
    for seed in range(200):
        view = placed(film, seed)
        outside = view[np.abs(view.astype(int) - 100) > 1]
        if len(outside):
            borders.append(int(np.bincount(outside).argmax()))
    assert 0.4 < np.mean(np.array(borders) == 0) < 0.75
    assert 255 in borders
    assert len({*borders}) > 10


def test_letters_are_bright_and_near_the_edges() -> None:
    film = np.zeros((120, 120), np.uint8)
    for seed in SEEDS:
        lettered = np.asarray(burn_in_letters(Image.fromarray(film), rng(seed)))
        assert lettered.max() >= 100
        # The centre of a word is in the outer fifth; the word may reach further inwards.
        assert (lettered[40:80, 40:80] > 0).mean() < 0.5
        assert 0 < (lettered > 0).mean() < 0.2


def test_burning_in_letters_does_not_change_the_input() -> None:
    film = np.zeros((120, 120), np.uint8)
    burn_in_letters(Image.fromarray(film), rng(0))
    assert film.max() == 0


def test_multi_frequency_processing_reduces_coarse_contrast() -> None:
    film = np.repeat(np.array([60, 190], np.uint8), 112)[np.newaxis].repeat(224, axis=0)
    for seed in SEEDS:
        processed = np.asarray(_process(Image.fromarray(film), rng(seed))).astype(float)
        assert processed[:, 180].mean() - processed[:, 44].mean() < 131


def test_multi_frequency_processing_enhances_detail_on_average() -> None:
    film = rng(0).integers(110, 140, (96, 96)).astype(np.uint8)
    spread = [np.asarray(_process(Image.fromarray(film), rng(seed))).std() for seed in SEEDS]
    assert np.mean(spread) > film.std()


def test_shading_only_darkens_and_by_half_at_most() -> None:
    film = np.full((64, 64), 200, np.uint8)
    for seed in SEEDS:
        shaded = np.asarray(_shade(Image.fromarray(film), rng(seed)))
        assert 100 <= shaded.min() < shaded.max() <= 200


def test_lent_exposure_matches_the_lender_and_keeps_the_order_of_greys() -> None:
    film = rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    lender = rng(1).integers(90, 130, (64, 64)).astype(np.uint8)
    lent = expose_like(film, lender)
    assert lent.dtype == np.uint8
    assert abs(lent.mean() - lender.mean()) < 2
    assert lent.min() >= 90
    assert lent.max() <= 129
    order = np.argsort(film, axis=None)
    assert (np.diff(lent.ravel()[order].astype(int)) >= 0).all()


def test_lender_of_one_grey_gives_a_film_of_one_grey() -> None:
    lent = expose_like(grey_film(1, side=32), np.full((32, 32), 77, np.uint8))
    assert (lent == 77).all()


def test_moving_keeps_the_grey_values() -> None:
    film = np.full((64, 64), 100, np.uint8)
    assert all(np.median(view_of(film, None, rng(seed), light=1)[0]) == 100 for seed in SEEDS)


def test_about_a_quarter_of_the_views_keep_the_grey_values() -> None:
    # A flat film keeps its grey, except for patches and the area outside the film.
    film = np.full((64, 64), 100, np.uint8)
    kept = [np.median(augment(film, rng(seed))) == 100 for seed in range(200)]
    assert 0.15 < np.mean(kept) < 0.4


def test_some_views_have_the_exposure_of_the_lender() -> None:
    film = np.clip(grey_film(1, side=64), 0, 120).astype(np.uint8)
    lender = np.full((64, 64), 250, np.uint8) - grey_film(2, side=64) // 8
    alone = [augment(film, rng(seed)).mean() for seed in range(60)]
    lent = [augment(film, rng(seed), lender).mean() for seed in range(60)]
    assert np.mean(lent) > np.mean(alone) + 5


def test_degraded_film_still_resembles_the_original() -> None:
    film = grey_film(1, side=128)
    for seed in SEEDS:
        degraded = np.asarray(_degrade(Image.fromarray(film), rng(seed)))
        assert degraded.shape == film.shape
        assert np.corrcoef(degraded.ravel(), film.ravel())[0, 1] > 0.75


def test_up_to_three_patches_are_covered() -> None:
    # A patch covers at most 0.22 x 0.22 of the film, three cover at most 0.1452.
    changed = []
    for seed in SEEDS:
        film = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
        before = film.copy()
        changed.append((_cover(film, rng(seed)) != before).mean())
    assert max(changed) <= 3 * 0.22**2
    assert max(changed) > 0
    assert min(changed) == 0


def lungs_and_film(side: int = 96) -> tuple[Pixels, Pixels]:
    """A mask, and a film that is grey inside the mask and black outside."""
    mask = lung_mask(side).astype(np.uint8) * 255
    return mask, mask // 2


def only_moved(image: Image.Image, rng: np.random.Generator) -> Pixels:
    """A replacement for the change of look that changes nothing."""
    return np.array(image)


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_mask_moves_with_its_film(flip: float) -> None:
    mask, film = lungs_and_film()
    compared = 0
    for seed in range(40):
        view, drawn = view_of(film, mask, rng(seed), light=0, flip=flip, look=only_moved)
        assert drawn is not None
        assert view.shape == drawn.shape == mask.shape
        if not any(edge.any() for edge in (view[0], view[-1], view[:, 0], view[:, -1])):
            # The area outside the film is black.
            np.testing.assert_allclose(view, drawn / 2, atol=1)
            compared += 1
    assert compared > 10


def test_mask_moves_with_a_light_view_and_is_not_covered() -> None:
    mask, film = lungs_and_film()
    for seed in SEEDS:
        view, drawn = view_of(film, mask, rng(seed), light=1)
        assert drawn is not None
        own = placed(film, seed, LIGHT_VIEWS)
        inside = drawn == 255
        assert inside.sum() > 0.6 * (mask == 255).sum()
        np.testing.assert_array_equal(own[inside], film.max())
        # Only patches differ.
        assert (view != own).mean() <= 3 * 0.22**2


def test_view_is_the_same_with_and_without_a_mask() -> None:
    mask, _film = lungs_and_film(64)
    film, lender = grey_film(1, side=64), grey_film(2, side=64)
    for seed in SEEDS:
        alone, nothing = view_of(film, None, rng(seed), lender, flip=0.5)
        view, _drawn = view_of(film, mask, rng(seed), lender, flip=0.5)
        assert nothing is None
        np.testing.assert_array_equal(view, alone)


def test_view_is_mirrored_at_the_given_rate() -> None:
    film = np.zeros((64, 64), np.uint8)
    film[28:36, 8:16] = 255
    for flip, low, high in ((0.0, 0, 0), (1.0, 1, 1), (0.3, 0.2, 0.4)):
        share = np.mean(
            [
                drawn[:, 32:].sum() > drawn[:, :32].sum()
                for seed in range(200)
                if (drawn := view_of(film, film, rng(seed), flip=flip)[1]) is not None
            ]
        )
        assert low <= share <= high


@pytest.mark.parametrize("ranges", [HOSPITAL_VIEWS, LIGHT_VIEWS, LUNG_VIEWS], ids=str)
def test_mask_has_a_black_border(ranges: Ranges) -> None:
    white = Image.new("L", (64, 48), 255)
    borders = set()
    for seed in range(60):
        place = geometry(white.size, rng(seed), ranges)
        borders.add(place.border)
        drawn = np.asarray(moved(white, place.on_black()))
        assert place.on_black().matrix == place.matrix
        film = np.asarray(moved(Image.new("L", (64, 48), 0), place))
        # The mask is black where the film has its border.
        assert (drawn[film == place.border] == 0).all() or place.border == 0
    assert len(borders) > 3


def test_change_of_look_can_be_replaced() -> None:
    film = grey_film(1, side=64)

    def white(image: Image.Image, _rng: np.random.Generator) -> Pixels:
        return np.full(image.size[::-1], 255, np.uint8)

    view, _mask = view_of(film, None, rng(1), light=0, look=white)
    assert (view == 255).all()


def test_exposure_is_lent_in_two_views_of_five() -> None:
    film, lender = grey_film(1, 0.3, side=32), grey_film(2, 0.7, side=32)
    one = rng(0)
    lent = [lend_exposure(film, lender, one) for _ in range(1000)]
    is_lent = np.array([(each != film).any() for each in lent])
    assert 0.35 < is_lent.mean() < 0.45
    np.testing.assert_array_equal(lent[int(is_lent.argmax())], expose_like(film, lender))


@pytest.mark.parametrize("look", [change_contrast, change_look], ids=lambda look: look.__name__)
def test_change_of_look_keeps_shape_type_and_place(look: Look) -> None:
    mask = lung_mask(96)[8:88]
    film = np.where(mask, 190, 70).astype(np.uint8) + grey_film(1, side=96)[8:88] // 8
    before, correlations = film.copy(), []
    for seed in SEEDS:
        changed = look(Image.fromarray(film), rng(seed))
        assert changed.shape == film.shape
        assert changed.dtype == np.uint8
        correlations.append(np.corrcoef(changed.ravel(), mask.ravel())[0, 1])
    np.testing.assert_array_equal(film, before)
    # Patches and letters cover parts of some films; moved films would never agree with the mask.
    assert np.median(correlations) > 0.8


def test_change_of_contrast_is_the_same_for_the_same_seed() -> None:
    image = Image.fromarray(grey_film(1, side=64))
    views = [change_contrast(image, rng(seed)).tobytes() for seed in SEEDS]
    assert views == [change_contrast(image, rng(seed)).tobytes() for seed in SEEDS]
    assert len({*views}) == len(views)


@pytest.mark.parametrize("look", [change_contrast, change_look], ids=lambda look: look.__name__)
@pytest.mark.parametrize("grey", [0, 77, 255])
def test_change_of_look_accepts_a_film_of_one_grey(look: Look, grey: int) -> None:
    image = Image.new("L", (64, 64), grey)
    for seed in range(40):
        assert look(image, rng(seed)).shape == (64, 64)


def slow_clahe(film: Pixels, tiles: int, limit: float) -> npt.NDArray[np.float64]:
    """Compute each pixel separately, from the tables of the tiles whose centres surround it."""
    down, across = (np.linspace(0, side, tiles + 1).astype(int) for side in film.shape)
    tables = np.zeros((tiles, tiles, 256))
    for row, column in np.ndindex(tiles, tiles):
        tile = film[down[row] : down[row + 1], across[column] : across[column + 1]]
        shares = np.array([(tile == level).mean() for level in range(256)])
        kept = np.minimum(shares, limit / 256)
        tables[row, column] = np.cumsum(kept + (shares - kept).sum() / 256)
    result = np.zeros(film.shape)
    for y, x in np.ndindex(film.shape):
        for row, share_down in around(y + 0.5, down):
            for column, share_across in around(x + 0.5, across):
                result[y, x] += share_down * share_across * tables[row, column, film[y, x]]
    return result


def around(place: float, edges: npt.NDArray[np.int64]) -> list[tuple[int, float]]:
    """The tiles on both sides of a place, with their weights."""
    middles = [(low + high) / 2 for low, high in pairwise(edges.tolist())]
    if place <= middles[0]:
        return [(0, 1.0)]
    for tile, (low, high) in enumerate(pairwise(middles)):
        if place <= high:
            return [(tile, (high - place) / (high - low)), (tile + 1, (place - low) / (high - low))]
    return [(len(middles) - 1, 1.0)]


@pytest.mark.parametrize(
    ("shape", "tiles", "limit"), [((16, 16), 4, 3.0), ((20, 13), 3, 40.0), ((16, 24), 8, 3.0)]
)
def test_clahe_agrees_with_a_slow_reference(
    shape: tuple[int, int], tiles: int, limit: float
) -> None:
    film = (rng(1).beta(2, 5, shape) * 255).astype(np.uint8)
    film[: shape[0] // 2] //= 3
    given = equalised_locally(film, tiles, limit)
    np.testing.assert_allclose(given, slow_clahe(film, tiles, limit), atol=1e-9)
    if (tiles, limit) == (8, 3.0):
        np.testing.assert_array_equal(clahe(film), np.rint(255 * given))


@pytest.mark.parametrize("grey", [0, 1, 128, 255])
def test_clahe_leaves_a_film_of_one_grey_at_one_grey(grey: int) -> None:
    flat = clahe(np.full((50, 64), grey, np.uint8))
    assert flat.shape == (50, 64)
    assert flat.dtype == np.uint8
    assert len(np.unique(flat)) == 1


def test_clahe_increases_the_contrast_of_a_flat_region() -> None:
    film = np.clip(rng(0).normal(128, 3, (112, 112)), 0, 255).astype(np.uint8)
    assert clahe(film).std() > 2 * film.std()
