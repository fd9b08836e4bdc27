"""Golden PNG, JPEG, TIFF and BMP films; the tables are `golden/pngs.py`, `jpegs.py`, `tiffs.py`."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from golden.phantom import luma
from golden.raster import G8, Raster, ink
from golden.rasters import RASTERS
from screening.imaging.readers import open_film

GOLDEN = Path(__file__).parents[2] / "support" / "golden"
Grey = npt.NDArray[np.floating]
EVERY_RASTER = pytest.mark.parametrize("raster", RASTERS, ids=lambda raster: raster.file)


def read(data: bytes, name: str) -> Grey:
    return open_film(data, name).decode()[0]


def expected_of(raster: Raster) -> Grey:
    """Expected grey from the encoded samples, plus a codec's error by another decoder."""
    if raster.expected is not None:
        return raster.expected
    with np.load(GOLDEN / "decoded.npz") as added:
        decoded = raster.source + added[raster.file]
    if decoded.ndim == 2:
        return decoded / 255
    return ink(decoded) if decoded.shape[-1] == 4 else luma(decoded)


@EVERY_RASTER
def test_image_has_the_expected_grey_values(raster: Raster) -> None:
    grey = read((GOLDEN / raster.file).read_bytes(), raster.file)
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, expected_of(raster), rtol=0, atol=raster.tolerance)


@EVERY_RASTER
def test_comparison_detects_a_reader_without_the_rule(raster: Raster) -> None:
    expected = expected_of(raster)
    assert np.ptp(expected) > 0.3
    assert np.abs(raster.without - expected).max() > 1.9 * raster.tolerance


@EVERY_RASTER
def test_image_is_read_with_any_suffix(raster: Raster) -> None:
    data = (GOLDEN / raster.file).read_bytes()
    np.testing.assert_array_equal(read(data, "film.dcm"), read(data, raster.file))


@pytest.mark.parametrize("name", ["grey1", "grey8", "grey16"])
def test_interlaced_png_gives_identical_grey_values(name: str) -> None:
    plain, interlaced = (GOLDEN / f"{name}.png", GOLDEN / f"{name}-interlaced.png")
    assert plain.read_bytes() != interlaced.read_bytes()
    np.testing.assert_array_equal(
        read(plain.read_bytes(), "film"), read(interlaced.read_bytes(), "film")
    )


#: Position of the stored image's row 0 and column 0, by the tag's value (TIFF 6.0, Orientation).
SHOWN: dict[int, Callable[[Grey], Grey]] = {
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.T,  # left, top
    6: lambda stored: np.rot90(stored, -1),  # right, top
    7: lambda stored: stored[::-1, ::-1].T,  # right, bottom
    8: np.rot90,  # left, bottom
}


def turned(orientation: int, order: str) -> bytes:
    """A JPEG with an APP1 segment directly after SOI: EXIF, one IFD, one tag, 0x0112."""
    mark = {"<": b"II", ">": b"MM"}[order]
    head = mark + struct.pack(order + "HI", 42, 8)
    entry = struct.pack(order + "HHHIHH", 1, 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + head + entry + bytes(4)
    jpeg = (GOLDEN / "grey.jpg").read_bytes()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_exif_orientation_is_applied(orientation: int, order: str) -> None:
    stored = expected_of(next(raster for raster in RASTERS if raster.file == "grey.jpg"))
    grey = read(turned(orientation, order), "film.jpg")
    np.testing.assert_allclose(grey, SHOWN[orientation](stored), rtol=0, atol=1 / 255)


def test_exif_orientations_are_all_different() -> None:
    """The eight expected images differ, so that none can be mistaken for another."""
    looks = [show(G8 / 255) for show in SHOWN.values()]
    for number, look in enumerate(looks):
        for other in looks[:number]:
            assert look.shape != other.shape or np.abs(look - other).max() > 0.3
