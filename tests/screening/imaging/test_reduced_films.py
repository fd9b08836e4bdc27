"""A large film gives the same result reduced during decoding as decoded in full.

The input tensor may differ by 2/255 (mean) and the probability by 0.02; status and prediction must
not differ. RG1 of pydicom-data is a real film that the shipped model is unsure of: small changes
move its probability.
"""

import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import Dataset, dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from exports.bundle import SHIPPED, Bundle
from exports.runtimes.load import load
from golden.films import as_bytes
from screening.files import discover
from screening.inference.pipeline import Screener, Seen
from screening.inference.reader import Reader
from screening.model.predictor import Predictor
from screening.privacy import PatientKey
from screening.results import Row, Status

pytest.importorskip("data_store", reason="could not import data_store: pydicom-data has RG1")

Samples = npt.NDArray[np.uint16]

#: Rows and columns that are cropped at both ends: each crop gives another film and other blocks.
CROPS = ((0, 0), (31, 17), (9, 4))

#: Rows of about the smallest films that are reduced, which lose the most detail.
SMALL, SMALL_JPEG, SMALL_LOW, QUARTERED = 938, 1062, 822, 1400


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(SHIPPED)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load(SHIPPED)


@pytest.fixture
def screen(bundle: Bundle, predictor: Predictor, folder: Path) -> Callable[[bool], list[Row]]:
    """Screen the folder, exactly or with reduction."""

    def screened(exact: bool) -> list[Row]:
        reader = Reader(folder, bundle.card.preprocessing, exact=exact)
        screener = Screener(reader, bundle.card, bundle.sha256, predictor, PatientKey(bytes(32)))
        return screener.screen(discover(folder), Seen())

    return screened


def crops(size: int) -> Iterator[Dataset]:
    """Crops of RG1, each resampled to `size` rows."""
    for rows, columns in CROPS:
        film = dcmread(get_testdata_file("RG1_UNCR.dcm", download=False))
        # Nearest neighbour: keeps original sample values.
        width = size * 27 // 28 + rows % 7
        at = np.linspace(rows, film.Rows - rows - 1, size).astype(int)
        along = np.linspace(columns, film.Columns - columns - 1, width).astype(int)
        cells = film.pixel_array[np.ix_(at, along)]
        # The collimator's position does not matter here.
        for keyword in [name for name in film.dir("Collimator") if name in film]:
            del film[keyword]
        film.Rows, film.Columns = cells.shape
        film.PixelData = np.ascontiguousarray(cells).tobytes()
        yield film


def raw(film: Dataset) -> bytes:
    return as_bytes(film)


def without_window(film: Dataset) -> bytes:
    del film.WindowCenter, film.WindowWidth
    return as_bytes(film)


def narrow(film: Dataset) -> bytes:
    film.WindowCenter, film.WindowWidth = 14_000, 16_000
    return as_bytes(film)


def jpeg_2000(film: Dataset) -> bytes:
    code = imagecodecs.jpeg2k_encode(cells_of(film), level=0, reversible=True, bitspersample=15)
    film.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    film.PixelData = encapsulate([code])
    film["PixelData"].VR = "OB"
    return as_bytes(film)


def jpeg_2000_without_window(film: Dataset) -> bytes:
    del film.WindowCenter, film.WindowWidth
    return jpeg_2000(film)


def jpeg_ls(film: Dataset) -> bytes:
    film.file_meta.TransferSyntaxUID = uid.JPEGLSLossless
    film.PixelData = encapsulate([imagecodecs.jpegls_encode(cells_of(film))])
    film["PixelData"].VR = "OB"
    return as_bytes(film)


def cells_of(film: Dataset) -> Samples:
    return np.frombuffer(film.PixelData, np.uint16).reshape(film.Rows, film.Columns)


def grey_of(film: Dataset) -> npt.NDArray[np.float64]:
    """0..1 in the film's window; MONOCHROME1."""
    low = film.WindowCenter - film.WindowWidth / 2
    return 1 - np.clip((cells_of(film) - low) / film.WindowWidth, 0, 1)


def image(film: Dataset, kind: str, top: int, mode: str | None = None) -> bytes:
    cells = np.rint(grey_of(film) * top).astype(np.uint8 if top == 255 else np.uint16)
    picture, buffer = Image.fromarray(cells), BytesIO()
    picture = picture if mode is None else picture.convert(mode)
    picture.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {"compress_level": 1}))
    return buffer.getvalue()


WAYS: dict[str, tuple[Callable[[Dataset], bytes], int, str]] = {
    "raw": (raw, SMALL, "mean/2"),
    "raw without a window": (without_window, SMALL, "mean/2"),
    "raw in a narrow window": (narrow, SMALL, "mean/2"),
    "JPEG-LS": (jpeg_ls, SMALL, "mean/2"),
    "JPEG 2000": (jpeg_2000, SMALL_LOW, "jpeg2000/2"),
    "JPEG 2000 without a window": (jpeg_2000_without_window, SMALL_LOW, "jpeg2000/2"),
    "JPEG 2000 at a quarter": (jpeg_2000, QUARTERED, "jpeg2000/4"),
    "PNG": (lambda film: image(film, "PNG", 255), SMALL, "mean/2"),
    "PNG of 16 bits": (lambda film: image(film, "PNG", 65535), SMALL, "mean/2"),
    "PNG in colour": (lambda film: image(film, "PNG", 255, "RGB"), SMALL, "mean/2"),
    "JPEG": (lambda film: image(film, "JPEG", 255), SMALL_JPEG, "jpeg/2"),
    "JPEG in colour": (lambda film: image(film, "JPEG", 255, "RGB"), SMALL_JPEG, "jpeg/2"),
}


@pytest.mark.parametrize(("encode", "size", "decoding"), WAYS.values(), ids=WAYS)
def test_reduced_film_has_the_result_of_the_full_film(
    screen, folder, bundle, encode, size, decoding
):
    for number, film in enumerate(crops(size)):
        (folder / f"{number}").write_bytes(encode(film))
    reduced, full = screen(False), screen(True)
    assert {row.decoding for row in reduced} == {decoding}
    assert {row.decoding for row in full} == {"full"}
    assert_alike(reduced, full)
    preprocessing = bundle.card.preprocessing
    readers = [Reader(folder, preprocessing, exact=exact) for exact in (False, True)]
    for found in discover(folder):
        sooner, later = (preprocessing.grey(reader.read(found).tensor) for reader in readers)
        assert np.abs(sooner - later).mean() <= 2 / 255


def assert_alike(reduced: list[Row], full: list[Row]) -> None:
    assert [row.film for row in reduced] == [row.film for row in full]
    for sooner, later in zip(reduced, full, strict=True):
        assert (sooner.status, code_of(sooner)) == (later.status, code_of(later))
        assert sooner.prediction == later.prediction
        if later.probability is not None:
            assert abs(sooner.probability - later.probability) <= 0.02, sooner


def code_of(row: Row) -> str:
    return row.reason_code


def test_films_that_cannot_be_reduced_are_decoded_in_full(screen, folder):
    changes = {
        "shutter": {
            "ShutterShape": "RECTANGULAR",
            "ShutterLeftVerticalEdge": 100,
            "ShutterRightVerticalEdge": 800,
            "ShutterUpperHorizontalEdge": 100,
            "ShutterLowerHorizontalEdge": 800,
        },
        "sigmoid": {"VOILUTFunction": "SIGMOID"},
        "padding": {},
    }
    for name, change in changes.items():
        film = next(crops(SMALL))
        for keyword, value in change.items():
            setattr(film, keyword, value)
        if name == "padding":
            film.add_new("PixelPaddingValue", "US", 14_000)
        (folder / name).write_bytes(as_bytes(film))
    assert {row.film: row.decoding for row in screen(False)} == dict.fromkeys(
        sorted(changes), "full"
    )


def test_jpeg_2000_with_padding_is_decoded_in_full(screen, folder):
    film = next(crops(SMALL))
    film.WindowCenter = film.WindowWidth = None
    # Black, like all values below the range.
    film.PhotometricInterpretation = "MONOCHROME2"
    film.add_new("PixelPaddingValue", "US", 0)
    (folder / "film").write_bytes(jpeg_2000(film))
    (row,) = screen(False)
    # The stored values are available and may be averaged.
    assert row.decoding == "mean/2"


@pytest.mark.parametrize("way", ["raw", "JPEG 2000", "PNG", "JPEG"])
def test_damaged_film_has_the_status_of_the_full_film(screen, folder, way):
    encode, size, _decoding = WAYS[way]
    data = encode(next(crops(size)))
    rng = np.random.default_rng(0)
    for number in range(6):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 1 + number * 3):
            damaged[place] ^= int(rng.integers(1, 256))
        (folder / f"bytes-{number}").write_bytes(damaged)
    for number, share in enumerate((0.02, 0.3, 0.7, 0.97)):
        (folder / f"cut-{number}").write_bytes(data[: int(share * len(data))])
    reduced, full = screen(False), screen(True)
    assert [(row.film, row.status) for row in reduced] == [(row.film, row.status) for row in full]
    assert Status.FAILED in {row.status for row in full}


def test_nearly_blank_film_is_decoded_in_full(screen, folder):
    rng = np.random.default_rng(0)
    # Noise that averaging would remove.
    for number, deviation in enumerate((0.008, 0.012, 0.03)):
        noise = np.clip(0.5 + rng.normal(0, deviation, (1000, 1000)), 0, 1)
        Image.fromarray(np.rint(noise * 255).astype(np.uint8)).save(folder / f"{number}.png")
    reduced, full = screen(False), screen(True)
    assert [row.decoding for row in reduced] == ["full"] * 3
    assert [row.reason for row in reduced] == [row.reason for row in full]
    assert code_of(full[0]) == "blank"


def test_reduced_real_films_have_the_results_of_full_films(screen, folder, real_films):
    paths = [path for path in sorted(real_films.rglob("*")) if path.is_file()]
    for number, path in enumerate(paths[:: max(1, len(paths) // 100)]):
        shutil.copy(path, folder / f"{number:03}{path.suffix}")
    assert_alike(screen(False), screen(True))
