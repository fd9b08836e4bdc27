from contextlib import suppress
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from makers import dicom_bytes, dicom_film, encoded, grey_film
from screening.errors import NotAFilm, UnreadableFilm
from screening.pixels.readers import open_film

FILM = grey_film(1, side=32)


def dicom(compress: bool = False) -> bytes:
    dataset = dicom_film(
        FILM, WindowCenter=128, WindowWidth=256, PatientAge="045Y", NumberOfFrames=1
    )
    return dicom_bytes(as_jpeg_ls(dataset) if compress else dataset)


def as_jpeg_ls(dataset: object) -> object:
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([imagecodecs.jpegls_encode(np.ascontiguousarray(FILM))])
    dataset["PixelData"].VR = "OB"
    return dataset


@pytest.mark.parametrize("name", ["film", "film.png", "film.dcm", "film.txt"])
@pytest.mark.parametrize("data", [encoded(FILM), dicom(), dicom(compress=True)])
def test_a_film_is_read_whatever_its_name_says(data: bytes, name: str) -> None:
    grey, _warnings = open_film(data, name).decode()
    np.testing.assert_allclose(grey, FILM / 255, atol=1e-5)


@pytest.mark.parametrize("name", ["film.png", "film.dcm", "film.tif", "film", "notes.txt"])
def test_an_empty_file_is_an_unreadable_film(name: str) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        open_film(b"", name)
    assert caught.value.code == "empty"


@pytest.mark.parametrize("name", ["notes.txt", "README", ".DS_Store", "Thumbs.db"])
def test_a_file_that_is_no_image_is_no_film(name: str) -> None:
    with pytest.raises(NotAFilm):
        open_film(b"hello", name)


@pytest.mark.parametrize("name", ["letter.png", "letter.JPG", "letter.jpeg"])
def test_a_text_renamed_to_an_image_does_not_decode(name: str) -> None:
    film = open_film(b"Dear colleague,", name)
    with pytest.raises(UnreadableFilm) as caught:
        film.decode()
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF", "WEBP", "JPEG2000"])
def test_an_image_of_another_format_is_not_supported_and_the_way_out_is_named(kind: str) -> None:
    buffer = BytesIO()
    Image.fromarray(FILM).save(buffer, kind)
    with pytest.raises(UnreadableFilm, match="convert it to PNG or DICOM") as caught:
        open_film(buffer.getvalue(), "film.png")
    assert caught.value.code == "unsupported"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("seed", "data"),
    list(enumerate([encoded(FILM), encoded(FILM, "JPEG"), dicom(), dicom(compress=True)])),
    ids=["PNG", "JPEG", "DICOM", "compressed DICOM"],
)
def test_a_damaged_film_is_read_or_refused_but_never_another_error(seed: int, data: bytes) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(250):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, min(len(data), 900), rng.integers(1, 6))
        damaged[places] = rng.integers(0, 256, len(places))
        with suppress(NotAFilm, UnreadableFilm):
            open_film(damaged.tobytes(), "film.dcm").decode()
