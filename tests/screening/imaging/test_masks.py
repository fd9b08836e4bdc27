import numpy as np
import pytest

from makers import dicom_film
from screening.imaging.masks import SHUTTER, opening, within_borders
from screening.imaging.render import render

STORED = np.arange(0, 4096, 8, dtype=np.uint16).reshape(16, 32)


def shown(stored: np.ndarray = STORED, **attributes: object) -> np.ndarray:
    grey, warnings = render(dicom_film(stored, **attributes), stored)
    assert warnings == ()
    return grey


def test_area_outside_the_shutter_is_black() -> None:
    # PS3.3 C.7.6.11: rows and columns count from 1, the edge itself is inside.
    edges = {
        "ShutterShape": "RECTANGULAR",
        "ShutterUpperHorizontalEdge": 3,
        "ShutterLowerHorizontalEdge": 10,
        "ShutterLeftVerticalEdge": 5,
        "ShutterRightVerticalEdge": 20,
        "PhotometricInterpretation": "MONOCHROME1",
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }
    grey = shown(**edges)
    opened = np.zeros(STORED.shape, bool)
    opened[2:10, 4:20] = True
    np.testing.assert_array_equal(grey[~opened], 0)
    np.testing.assert_allclose(grey[opened], (1 - STORED / 4095)[opened], atol=1e-5)


@pytest.mark.parametrize(
    "shutter",
    [
        {"ShutterShape": "RECTANGULAR"},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [1, 1]},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 5]},
        {
            "ShutterShape": "RECTANGULAR",
            "ShutterUpperHorizontalEdge": 500,
            "ShutterLowerHorizontalEdge": 400,
            "ShutterLeftVerticalEdge": 5,
            "ShutterRightVerticalEdge": 20,
        },
        {"ShutterShape": "BITMAP"},
    ],
    ids=["no edges", "no radius", "half a vertex", "nothing open", "bitmap"],
)
def test_invalid_shutter_is_ignored(shutter: dict[str, object]) -> None:
    np.testing.assert_array_equal(shown(**shutter), shown())


def test_circle_radius_counts_columns_of_non_square_pixels() -> None:
    film = np.arange(100 * 100, dtype=np.uint16).reshape(100, 100)
    dataset = dicom_film(
        film,
        ShutterShape="CIRCULAR",
        CenterOfCircularShutter=[50, 50],
        RadiusOfCircularShutter=40,
        PixelSpacing=[2, 1],
    )
    mask = opening(dataset, SHUTTER, 100, 100)
    assert mask[:, 49].sum() == 41
    assert mask[49].sum() == 81


@pytest.mark.parametrize("border", [0, 4095])
def test_burnt_in_border_is_excluded(border: int) -> None:
    framed = np.full((26, 52), border, np.uint16)
    framed[5:21, 10:42] = STORED // 2 + 500
    np.testing.assert_array_equal(shown(framed)[5:21, 10:42], shown(STORED // 2 + 500))


def test_borders_are_removed_on_all_sides() -> None:
    cells = np.zeros((9, 12), np.uint16)
    cells[:, -2:] = 7  # another border, which crosses the rows of the first
    cells[2:6, 3:8] = np.arange(1, 21).reshape(4, 5)
    assert within_borders(cells) == (slice(2, 6), slice(3, 8))
    whole = (slice(0, 9), slice(0, 12))
    assert within_borders(np.zeros((9, 12), np.uint16)) == whole
    assert within_borders(np.arange(108).reshape(9, 12)) == whole
