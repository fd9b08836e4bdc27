import numpy as np
import pytest

from lung_films import lung_mask, made_films
from screening.training.film_edits import (
    hide_lungs,
    hide_outside,
    paste_markers,
    remove_markers,
    soft_mask,
)


@pytest.fixture
def film():
    films, _masks = made_films([1])
    return films[0]


def test_lungs_are_hidden_by_boxes_a_tenth_larger():
    film = np.arange(100 * 100, dtype=np.float32).reshape(100, 100) / 1e4
    mask = np.zeros((100, 100), bool)
    mask[20:60, 10:30] = mask[20:60, 60:80] = True
    mask[90, 90] = True  # a third part that is not a lung
    hidden = hide_lungs(film, mask)
    same = hidden == film
    box = np.zeros_like(mask)
    box[18:62, 9:31] = box[18:62, 59:81] = True
    assert (hidden[box] == film.mean()).all()
    assert same[~box].all()


def test_film_without_lungs_is_not_changed(film):
    assert (hide_lungs(film, np.zeros_like(film, bool)) == film).all()


def test_hidden_outside_keeps_lungs_and_fills_rest(film):
    hidden = hide_outside(film, soft_mask(lung_mask()))
    assert hidden[:5] == pytest.approx(film.mean())
    assert hidden[30:34, 18:22] == pytest.approx(film[30:34, 18:22])
    assert hidden.dtype == np.float32


def test_pasted_markers_are_near_the_edges_and_bright(film):
    pasted = paste_markers(film, np.random.default_rng(1))
    changed = np.abs(pasted - film) > 0.1
    assert changed.any()
    assert pasted[changed].mean() > 0.5
    assert not changed[28:36, 28:36].any()


def test_removing_markers_keeps_their_surroundings(film):
    removed = remove_markers(film, soft_mask(lung_mask()))
    assert film[2:8, 2:8].min() > 0.9
    assert removed[2:8, 2:8] == pytest.approx(0.3, abs=0.1)
    assert (removed[lung_mask()] == film[lung_mask()]).all()
    assert (removed[16:-16] == film[16:-16]).all()


def test_lungs_in_a_corner_are_kept(film):
    mask = np.zeros_like(film, bool)
    mask[:16, :16] = True
    assert (remove_markers(film, soft_mask(mask))[:16, :16] == film[:16, :16]).all()
