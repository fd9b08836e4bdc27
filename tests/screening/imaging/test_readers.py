from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

import screening.imaging.dicom
from makers import dicom_bytes, dicom_film, encoded, grey_film
from screening.errors import NotAFilm, UnreadableFilm
from screening.imaging.readers import open_film

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
def test_film_is_read_with_any_suffix(data: bytes, name: str) -> None:
    grey, _warnings = open_film(data, name).decode()
    np.testing.assert_allclose(grey, FILM / 255, atol=1e-5)


@pytest.mark.parametrize("name", ["film.png", "film.dcm", "film.tif", "film", "notes.txt"])
def test_empty_file_is_unreadable(name: str) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        open_film(b"", name)
    assert caught.value.code == "empty"


@pytest.mark.parametrize("name", ["notes.txt", "README", ".DS_Store", "Thumbs.db"])
def test_other_file_is_not_a_film(name: str) -> None:
    with pytest.raises(NotAFilm):
        open_film(b"hello", name)


@pytest.mark.parametrize("name", ["letter.png", "letter.JPG", "letter.jpeg"])
def test_text_with_an_image_suffix_is_not_decodable(name: str) -> None:
    film = open_film(b"Dear colleague,", name)
    with pytest.raises(UnreadableFilm) as caught:
        film.decode()
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize("kind", ["TIFF", "BMP"])
def test_tiff_and_bmp_are_read(kind: str) -> None:
    buffer = BytesIO()
    Image.fromarray(FILM).save(buffer, kind)
    grey, warnings = open_film(buffer.getvalue(), "film").decode()
    np.testing.assert_allclose(grey, FILM / 255, atol=1e-6)
    assert warnings == ()


@pytest.mark.parametrize("data", [encoded(FILM), dicom(), dicom(compress=True)])
def test_pixel_limit_of_the_caller_is_used(data: bytes) -> None:
    open_film(data, "film", FILM.size).decode()
    with pytest.raises(UnreadableFilm, match="1,023 pixels are allowed") as caught:
        open_film(data, "film", max_pixels=FILM.size - 1).decode()
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "JPEG2000"])
def test_error_for_unsupported_format_suggests_conversion(kind: str) -> None:
    buffer = BytesIO()
    Image.fromarray(FILM).save(buffer, kind)
    with pytest.raises(UnreadableFilm, match="convert it to PNG or DICOM") as caught:
        open_film(buffer.getvalue(), "film.png")
    assert caught.value.code == "unsupported"


KINDS = ["PNG", "JPEG", "TIFF", "BMP", "DICOM", "compressed DICOM"]
FILMS = [*(encoded(FILM, kind) for kind in KINDS[:4]), dicom(), dicom(compress=True)]


@pytest.mark.parametrize(("seed", "data"), list(enumerate(FILMS)), ids=KINDS)
def test_damaged_film_raises_only_unreadable_film(seed: int, data: bytes) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(250):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, min(len(data), 900), rng.integers(1, 6))
        damaged[places] = rng.integers(0, 256, len(places))
        with suppress(NotAFilm, UnreadableFilm):
            open_film(damaged.tobytes(), "film.dcm").decode()


@pytest.mark.parametrize("data", FILMS, ids=KINDS)
def test_grey_values_are_contiguous_and_between_0_and_1(data: bytes) -> None:
    grey, _warnings = open_film(data, "film").decode()
    assert grey.dtype == np.float32
    assert grey.ndim == 2
    assert grey.flags.c_contiguous
    assert 0 <= grey.min() <= grey.max() <= 1


@pytest.mark.parametrize("where", ["opened", "decoded"])
def test_memory_error_is_not_reported_as_damage(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*_args: object, **_options: object) -> object:
        raise MemoryError

    film = open_film(dicom(), "film")
    picture = open_film(encoded(FILM), "film")
    monkeypatch.setattr(screening.imaging.dicom, "dcmread", starved)
    monkeypatch.setattr(screening.imaging.dicom, "read_frame", starved)
    monkeypatch.setattr(Image, "open", starved)
    calls = [lambda: open_film(dicom(), "film")] if where == "opened" else []
    for call in calls or [film.decode, picture.decode]:
        with pytest.raises(MemoryError):
            call()


def odd_film(name: str = "MUSTERFRAU^ERIKA") -> bytes:
    """A film in which every value that pydicom warns about is a name."""
    dataset = dicom_film(FILM, PatientName=name, StudyDescription=name, Manufacturer=name)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    data = dicom_bytes(dataset)
    return data.replace(b"ISO_IR 100", b"MUSTERFRAU")


def test_invalid_values_are_not_logged_in_any_thread(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def grey(_number: int) -> np.ndarray:
        return open_film(odd_film(), "film").decode()[0]

    with ThreadPoolExecutor(4) as pool:  # pytest turns warnings into errors
        films = list(pool.map(grey, range(40)))
    assert all(np.array_equal(film, films[0]) for film in films)
    assert capfd.readouterr() == ("", "")
