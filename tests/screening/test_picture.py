from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from makers import chest_film
from screening.picture import film_picture, thumbnail_jpeg

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
def test_a_thumbnail_has_the_proportions_of_its_film(shape, size) -> None:
    with Image.open(BytesIO(thumbnail_jpeg(np.zeros((32, 32), np.float32), shape))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", size)
        assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_a_thumbnail_of_a_chest_takes_at_most_four_kilobytes() -> None:
    assert 1000 < len(thumbnail_jpeg(CHEST)) <= 4096


def test_a_thumbnail_shows_the_film() -> None:
    with Image.open(BytesIO(thumbnail_jpeg(CHEST))) as picture:
        shown = np.asarray(picture, np.float64)
    assert (
        np.corrcoef(shown.ravel(), np.asarray(film_picture(CHEST, None, 112)).ravel())[0, 1] > 0.99
    )


def test_the_same_film_gives_the_same_bytes() -> None:
    assert thumbnail_jpeg(CHEST) == thumbnail_jpeg(CHEST.copy())
