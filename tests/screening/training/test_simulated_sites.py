import numpy as np
import pytest

from makers import grey_film
from screening.training.simulated_sites import (
    PROCESSING,
    SimulatedSite,
    deliver_all,
    exchange_exposure,
    simulated_sites,
)


@pytest.fixture(scope="module")
def films():
    return np.stack([grey_film(seed, side=112) for seed in range(4)]).astype(np.float32) / 255


def deliver(hospital, film, seed=0):
    return hospital.deliver(film, np.random.default_rng(seed))


@pytest.mark.parametrize("name", [*simulated_sites()])
def test_hospitals_keep_size_and_range_and_change_the_look(name, films):
    delivered = deliver_all(simulated_sites()[name], films)
    assert delivered.shape == films.shape
    assert delivered.dtype == np.float32
    assert 0 <= delivered.min() < delivered.max() <= 1
    assert np.abs(delivered - films).mean() > 0.01


def test_every_kind_of_processing_has_a_hospital():
    assert {hospital.processing for hospital in simulated_sites().values()} == {*PROCESSING}


def test_hospital_is_the_same_every_time(films):
    first, second = (deliver_all(simulated_sites()["hospital 3"], films, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_no_two_films_are_collimated_identically(films):
    hospital = simulated_sites()["wide border"]
    assert np.abs(deliver(hospital, films[0], 1) - deliver(hospital, films[0], 2)).max() > 0.1


def test_small_zoom_leaves_a_border_of_the_hospitals_grey(films):
    grey = deliver(SimulatedSite(zoom=0.6, border=40), films[0])
    assert grey[:8].max() == grey[-8:].max() == pytest.approx(40 / 255)
    assert grey[50:60, 50:60].max() > 0.3


def test_large_zoom_enlarges_the_middle():
    film = np.zeros((112, 112), np.float32)
    film[51:61, 51:61] = 1
    grey = deliver(SimulatedSite(zoom=1.5), film)
    assert 1.8 < (grey > 0.5).sum() / 100 < 2.8


def test_window_maps_black_and_white_to_its_ends():
    film = np.linspace(0, 1, 112 * 112, dtype=np.float32).reshape(112, 112)
    grey = deliver(SimulatedSite(window=(0.2, 0.7)), film)[20:-20, 20:-20]
    assert grey.min() > 0.2
    assert grey.max() < 0.7


def test_gamma_above_one_darkens_and_below_one_brightens(films):
    plain, dark, bright = (deliver(SimulatedSite(gamma=gamma), films[0]) for gamma in (1, 2, 0.5))
    assert dark.mean() < plain.mean() < bright.mean()


def test_vignette_darkens_the_corners_and_not_the_middle():
    grey = deliver(SimulatedSite(vignette=0.5, zoom=2), np.full((112, 112), 0.8, np.float32))
    assert grey[56, 56] == pytest.approx(0.8, abs=0.01)
    assert grey[0, 0] == pytest.approx(0.4, abs=0.02)


def test_blur_reduces_and_noise_increases_roughness(films):
    def roughness(grey):
        return np.abs(np.diff(grey, axis=0)).mean()

    plain = deliver(SimulatedSite(), films[0])
    assert roughness(deliver(SimulatedSite(blur=1.5), films[0])) < roughness(plain)
    assert roughness(deliver(SimulatedSite(noise=0.05), films[0])) > roughness(plain)


def test_half_size_and_low_quality_lose_detail(films):
    plain = deliver(SimulatedSite(), films[0])
    halved = np.abs(deliver(SimulatedSite(halved=True), films[0]) - plain).mean()
    assert halved > 0
    assert np.abs(deliver(SimulatedSite(halved=True, quality=15), films[0]) - plain).mean() > halved


def test_local_equalisation_increases_the_contrast_of_a_flat_region():
    rng = np.random.default_rng(0)
    film = np.clip(0.5 + rng.normal(0, 0.01, (112, 112)), 0, 1).astype(np.float32)
    assert np.std(PROCESSING["local equalisation"](film)) > 2 * np.std(film)


def test_local_equalisation_of_a_ramp_keeps_its_order():
    film = np.tile(np.linspace(0, 1, 112, dtype=np.float32), (112, 1))
    equalised = PROCESSING["local equalisation"](film)
    assert np.corrcoef(equalised[50], film[50])[0, 1] > 0.6
    assert np.diff(equalised[50]).min() > -0.2


def test_exchanged_films_keep_structure_and_take_the_other_histogram():
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 1, 1])
    base = rng.random((4, 32, 32), np.float32)
    films = np.where(labels[:, None, None] == 1, 0.5 + base / 2, base / 2).astype(np.float32)
    exchanged = exchange_exposure(films, labels)
    assert exchanged[labels == 0].min() >= 0.5
    assert exchanged[labels == 1].max() <= 0.5
    for before, after in zip(films, exchanged, strict=True):
        order = np.argsort(before, axis=None, kind="stable")
        assert np.all(np.diff(after.ravel()[order]) >= 0)
