"""The most confident mistakes of a model."""

import numpy as np
import pytest
from PIL import Image

from evaluated_sides import side_of
from screening.training.html.figures import Mistakes, draw_mistakes, worst_mistakes

LABELS = (1, 1, 1, 0, 0, 0)
PROBABILITIES = (0.3, 0.1, 0.9, 0.2, 0.6, 0.8)


def films(number, side=16, dtype=np.uint8):
    rng = np.random.default_rng(0)
    films = rng.integers(0, 255, (number, side, side)).astype(np.uint8)
    return films if dtype == np.uint8 else films.astype(dtype) / 255


def test_most_confident_mistakes_of_both_kinds_come_first():
    assert worst_mistakes(side_of(LABELS, PROBABILITIES)) == Mistakes((1, 0), (5, 4))


def test_number_of_mistakes_is_limited():
    mistakes = worst_mistakes(side_of(LABELS, PROBABILITIES), each=1)
    assert mistakes == Mistakes((1,), (5,))
    assert mistakes.indices == (1, 5)


def test_ties_are_in_the_order_of_the_films():
    assert worst_mistakes(side_of((1, 1, 1), (0.2, 0.2, 0.2))).missed == (0, 1, 2)


def test_nothing_is_drawn_without_mistakes(tmp_path):
    side = side_of((0, 1), (0.1, 0.9))
    draw_mistakes(tmp_path, side, worst_mistakes(side), [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("labels", [LABELS, (1, 1, 1, 1, 1, 1), (0, 0, 0, 0, 0, 0)])
def test_one_kind_of_mistakes_alone_is_drawn(tmp_path, labels):
    side = side_of(labels, PROBABILITIES, name="test")
    mistakes = worst_mistakes(side)
    draw_mistakes(tmp_path, side, mistakes, films(len(mistakes.indices)))
    assert (tmp_path / "mistakes_test.png").is_file()


def test_overlays_are_drawn_next_to_their_films(tmp_path):
    side = side_of(LABELS, PROBABILITIES)
    mistakes = worst_mistakes(side)
    red = np.zeros((4, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    draw_mistakes(tmp_path / "without", side, mistakes, films(4))
    draw_mistakes(tmp_path / "with", side, mistakes, films(4), red)
    assert reds(tmp_path / "without") == 0
    # Four overlays of about 215 by 215 dots.
    assert reds(tmp_path / "with") > 100_000


def reds(folder):
    with Image.open(folder / "mistakes_validation.png") as picture:
        values = np.asarray(picture.convert("RGB")).astype(int)
    return int(((values[..., 0] > 200) & (values[..., 1:].max(axis=-1) < 50)).sum())


def test_bytes_and_floats_give_the_same_image(tmp_path):
    side = side_of(LABELS, PROBABILITIES)
    mistakes = worst_mistakes(side)
    draw_mistakes(tmp_path / "bytes", side, mistakes, films(4))
    draw_mistakes(tmp_path / "shares", side, mistakes, films(4, dtype=np.float32))
    pictures = [
        np.asarray(Image.open(tmp_path / kind / "mistakes_validation.png").convert("L"), float)
        for kind in ("bytes", "shares")
    ]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_number_of_images_must_match_the_mistakes(tmp_path):
    side = side_of(LABELS, PROBABILITIES)
    with pytest.raises(ValueError, match="zip"):
        draw_mistakes(tmp_path, side, worst_mistakes(side), films(3))
