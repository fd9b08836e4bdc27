from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lung_makers import two_lungs
from makers import chest_film
from screening.inference.heatmap import OUTLINE, film_picture, outlined, thumbnail_jpeg

CHEST = (chest_film(1) / 255).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (None, (112, 112)),
        ((2000, 1000), (56, 112)),
        ((10, 3000), (112, 28)),
        ((0, 0), (112, 112)),
    ],
    ids=["as it is", "upright", "no narrower than a quarter", "unknown"],
)
def test_thumbnail_has_the_proportions_of_its_film(shape, size) -> None:
    with Image.open(BytesIO(thumbnail_jpeg(np.zeros((32, 32), np.float32), shape))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", size)
        assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_thumbnail_of_a_chest_has_at_most_4_kilobytes() -> None:
    assert 1000 < len(thumbnail_jpeg(CHEST)) <= 4096


def test_thumbnail_shows_the_film() -> None:
    with Image.open(BytesIO(thumbnail_jpeg(CHEST))) as picture:
        shown = np.asarray(picture, np.float64)
    assert (
        np.corrcoef(shown.ravel(), np.asarray(film_picture(CHEST, None, 112)).ravel())[0, 1] > 0.99
    )


def test_thumbnail_bytes_are_reproducible() -> None:
    assert thumbnail_jpeg(CHEST) == thumbnail_jpeg(CHEST.copy())


def test_outline_follows_only_the_lungs() -> None:
    mask = two_lungs()
    drawn = np.asarray(outlined(film_picture(CHEST, (256, 256), 256), mask))
    line = (drawn == OUTLINE).all(axis=-1)
    inside = np.kron(mask, np.ones((2, 2), np.bool_))
    ends = Image.fromarray(inside.astype(np.uint8))
    largest, smallest = ends.filter(ImageFilter.MaxFilter(9)), ends.filter(ImageFilter.MinFilter(9))
    rim = np.asarray(largest) > np.asarray(smallest)
    assert 0.01 < line.mean() < 0.05
    assert rim[line].all()
    plain = np.asarray(film_picture(CHEST, (256, 256), 256))
    changed = (drawn != plain[..., np.newaxis]).any(axis=-1)
    assert changed.mean() < 0.1


def test_outline_omits_edges_where_lungs_are_cut_off() -> None:
    mask = np.zeros((128, 128), np.bool_)
    mask[:64, 20:50] = True
    drawn = np.asarray(outlined(Image.new("L", (128, 128), 90), mask))
    line = (drawn == OUTLINE).all(axis=-1)
    assert not line[0, 22:48].any()
    assert line[63, 22:48].all()


@pytest.mark.parametrize("grey", [0, 255])
def test_outline_is_visible_on_dark_and_bright_films(grey: int) -> None:
    drawn = np.asarray(outlined(Image.new("L", (128, 128), grey), two_lungs()).convert("L"))
    # On white, the outline has a dark border.
    assert np.abs(drawn.astype(int) - grey).max() >= 100


def test_outlined_thumbnail_has_the_same_size() -> None:
    with Image.open(BytesIO(thumbnail_jpeg(CHEST, (200, 100), two_lungs()))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (56, 112))
    assert len(thumbnail_jpeg(CHEST, None, two_lungs())) <= 6000
