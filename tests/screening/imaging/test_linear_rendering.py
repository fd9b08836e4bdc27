"""Films whose rendering is a straight line may be averaged before rendering."""

import numpy as np
import pytest

from makers import dicom_film
from screening.imaging.render import line_of, render

#: A window that covers part of the range of each dtype below.
WINDOW = {"WindowCenter": 40, "WindowWidth": 100}


@pytest.mark.parametrize(
    ("kind", "bits", "low", "high"),
    [
        (np.uint16, 12, 0, 4095),
        (np.uint16, 16, 0, 65535),
        (np.int16, 12, -2048, 2047),
        (np.int16, 16, -32768, 32767),
        (np.uint8, 8, 0, 255),
        # A stream with fewer bits than its data set states.
        (np.uint8, 12, 0, 255),
        (np.int8, 16, -128, 127),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_means_of_equal_cells_render_like_the_cells(
    kind: type, bits: int, low: int, high: int, photometric: str
) -> None:
    stored = np.linspace(low, high, 512).round().astype(kind).reshape(16, 32)
    film = dicom_film(stored, BitsStored=bits, PhotometricInterpretation=photometric, **WINDOW)
    line, warnings = line_of(film, stored.dtype, bits)
    assert line is not None
    assert warnings == ()
    assert low <= line.low < line.high <= high
    means = line.averaged(stored.repeat(2, axis=0).repeat(2, axis=1), 1)
    np.testing.assert_allclose(means, render(film, stored)[0], atol=0.004)
