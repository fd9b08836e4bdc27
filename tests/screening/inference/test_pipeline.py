import hashlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from makers import BrightnessPredictor, dicom_bytes, dicom_film, encoded, grey_film, write_film
from screened_folders import Answers, screen, screen_one_by_one, without_times, write_dicom
from screening.files import Found, discover
from screening.inference.pipeline import Screener, Seen
from screening.model.drift_baseline import input_statistics
from screening.model.predictor import Prediction
from screening.results import INPUT_COLUMNS, FilmWarning, Reason, Status


@pytest.mark.parametrize(
    ("age", "warning"),
    [
        (
            "006M",
            (
                "age_not_trained: The model was not trained on patients of about this age "
                "(0 years; trained on ages 1 to 5 and 18 to 88)."
            ),
        ),
        ("045Y", ""),
        ("", ""),
    ],
)
def test_age_outside_the_training_is_a_warning(
    screener: Screener, folder: Path, age: str, warning: str
) -> None:
    write_dicom(folder / "a.dcm", PatientAge=age)
    card = replace(screener.card, ages=((1.0, 5.0), (18.0, 88.0)))
    row = screen(replace(screener, card=card))["a.dcm"]
    assert row.status is Status.SCORED
    assert "; ".join(map(str, row.warnings)) == warning


@pytest.mark.parametrize(("brightness", "prediction"), [(0.3, "NORMAL"), (0.7, "PNEUMONIA")])
@pytest.mark.parametrize("name", ["film.png", "film.jpeg"])
def test_film_gets_a_row(
    screener: Screener, folder: Path, name: str, brightness: float, prediction: str
) -> None:
    data = write_film(folder / name, 1, brightness).read_bytes()
    row = screen(screener)[name]
    assert row.status is Status.SCORED
    assert row.reason is None
    assert row.probability == pytest.approx(grey_film(1, brightness).mean() / 255, abs=0.01)
    assert row.prediction == prediction
    assert row.threshold == 0.5
    assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert row.model == "brightness 00000000"
    assert row.model_sha256 == "f" * 64
    assert row.runtime == "fake/brightness 1"
    assert row.warnings == ()
    assert row.seconds > 0


def test_each_file_has_one_row_in_order(screener: Screener, folder: Path) -> None:
    write_film(folder / "b.png", 1)
    write_film(folder / "sub/a.png", 2)
    (folder / "a.txt").write_text("hello")
    (folder / "c.png").write_bytes(b"")
    found = [entry.film for entry in discover(folder)]
    assert list(screen(screener)) == found == ["a.txt", "b.png", "c.png", "sub/a.png"]


def test_rows_do_not_depend_on_the_batch(screener: Screener, folder: Path) -> None:
    for seed in range(5):
        write_film(folder / f"{seed}.png", seed, 0.3 + seed / 10)
    (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    (folder / "text").write_text("hello")
    assert without_times(screen(screener)) == without_times(screen_one_by_one(screener))


@pytest.mark.parametrize("way", [screen, screen_one_by_one])
def test_first_of_equal_files_is_scored_and_others_name_it(
    screener: Screener, folder: Path, way: object
) -> None:
    for name in ("a.png", "b/c.png", "z"):
        write_film(folder / name, 1, 0.7)
    rows = way(screener)
    assert [row.status for row in rows.values()] == ["scored", "duplicate", "duplicate"]
    assert (
        str(rows["z"].reason) == "same_bytes: The file has the same bytes as another film (a.png)."
    )
    assert rows["z"].probability is None
    assert rows["z"].prediction == ""
    assert rows["z"].sha256 == rows["a.png"].sha256
    assert sum(screener.predictor.batches) == 1


@pytest.mark.parametrize("way", [screen, screen_one_by_one])
def test_equal_pixels_in_other_files_are_scored_with_a_warning(
    screener: Screener, folder: Path, way: object
) -> None:
    write_film(folder / "a.png", 1)
    Image.fromarray(grey_film(1)).save(folder / "b.png", compress_level=1)
    write_dicom(folder / "c.dcm", 1)
    rows = way(screener)
    assert [row.status for row in rows.values()] == ["scored"] * 3
    assert [row.warnings for row in rows.values()] == [
        (),
        (FilmWarning("same_pixels", "a.png"),),
        (FilmWarning("same_pixels", "a.png"),),
    ]
    assert len({row.probability for row in rows.values()}) == 1


def test_copies_of_a_refused_film_are_refused(screener: Screener, folder: Path) -> None:
    (folder / "a.txt").write_text("hello")
    (folder / "b.txt").write_text("hello")
    assert [row.status for row in screen(screener).values()] == ["refused", "refused"]


def test_vanished_file_has_a_failed_row(screener: Screener, folder: Path) -> None:
    write_film(folder / "a.png", 1)
    (found,) = discover(folder)
    (folder / "a.png").unlink()
    (row,) = screener.screen([found], Seen())
    assert row.status is Status.FAILED
    assert row.reason.code == "vanished"
    assert row.sha256 == ""


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("notes.txt", b"hello", "refused", "not_image"),
        ("README", b"hello", "refused", "not_image"),
        ("a.png", b"", "failed", "empty"),
        ("empty", b"", "failed", "empty"),
        ("a.png", b"hello", "failed", "not_decodable"),
        ("a.png", encoded(grey_film(1))[:2000], "failed", "not_decodable"),
        ("a.jpg", encoded(grey_film(1), "JPEG")[:900], "failed", "not_decodable"),
        ("a.tif", b"II*\0hello", "failed", "not_decodable"),
        ("a.gif", b"GIF89a", "failed", "unsupported"),
        ("a.png", encoded(grey_film(1, side=95)), "refused", "too_small"),
        ("a.png", encoded(np.full((128, 128), 9, np.uint8)), "refused", "blank"),
    ],
)
def test_file_without_a_prediction_has_a_reason(
    screener: Screener, folder: Path, name: str, data: bytes, status: str, code: str
) -> None:
    (folder / name).write_bytes(data)
    row = screen(screener)[name]
    assert row.status == status
    assert row.reason.code == code
    assert row.probability is None
    assert row.prediction == ""
    assert row.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.filterwarnings("ignore")
def test_reading_never_raises_because_of_file_content(screener: Screener, folder: Path) -> None:
    data = dicom_bytes(dicom_film(grey_film(1), NumberOfFrames=1))
    (folder / "a.dcm").write_bytes(data.replace(b"IS\x02\0001 ", b"IS\x02\000x "))
    assert screen(screener)["a.dcm"].status is Status.FAILED


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Modality": "CT"}, "not_chest"),
        ({"BodyPartExamined": "HAND"}, "not_chest"),
        ({"ViewPosition": "LL"}, "lateral"),
    ],
)
def test_film_refused_by_its_header_is_not_decoded(
    screener: Screener, folder: Path, attributes: dict[str, str], code: str
) -> None:
    # These bytes are not a JPEG 2000 stream: decoding them would fail.
    dataset = dicom_film(grey_film(1), JPEG2000Lossless, **attributes)
    dataset.PixelData = (
        b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\x04\0\0\0nope\xfe\xff\xdd\xe0\0\0\0\0"
    )
    (folder / "a.dcm").write_bytes(dicom_bytes(dataset))
    row = screen(screener)["a.dcm"]
    assert row.status is Status.REFUSED
    assert row.reason.code == code


def test_same_film_fails_without_the_header_refusal(screener: Screener, folder: Path) -> None:
    dataset = dicom_film(grey_film(1), JPEG2000Lossless)
    dataset.PixelData = (
        b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\x04\0\0\0nope\xfe\xff\xdd\xe0\0\0\0\0"
    )
    (folder / "a.dcm").write_bytes(dicom_bytes(dataset))
    assert screen(screener)["a.dcm"].reason.code == "not_decodable"


def test_link_out_of_the_folder_is_refused_unread(
    screener: Screener, folder: Path, tmp_path: Path
) -> None:
    write_film(tmp_path / "secret.png", 1)
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    row = screen(screener)["a.png"]
    assert row.status is Status.REFUSED
    assert row.reason.code == "not_followed"
    assert row.sha256 == ""


def test_link_to_a_film_in_the_folder_is_a_duplicate(screener: Screener, folder: Path) -> None:
    write_film(folder / "a.png", 1)
    (folder / "b.png").symlink_to("a.png")
    assert screen(screener)["b.png"].status is Status.DUPLICATE


def test_unreadable_file_has_a_failed_row(screener: Screener, folder: Path) -> None:
    # A folder in place of the listed file: even root cannot read it.
    (folder / "a.png").mkdir()
    (row,) = screener.screen([Found("a.png", 5)], Seen())
    assert row.status is Status.FAILED
    assert row.reason.code == "unreadable"


def test_file_over_the_size_limit_is_not_read(
    screener: Screener, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = write_film(folder / "a.png", 1).stat().st_size
    monkeypatch.setattr("screening.inference.reader.MAX_BYTES", size - 1)
    row = screen(screener)["a.png"]
    assert row.status is Status.FAILED
    assert row.reason.code == "too_large"
    monkeypatch.setattr("screening.inference.reader.MAX_BYTES", size)
    assert screen(screener)["a.png"].status is Status.SCORED


def test_film_with_a_non_utf_8_name_is_screened(screener: Screener, folder: Path) -> None:
    path = folder / b"f\xfcr.png".decode("utf-8", "surrogateescape")
    write_film(path, 1)
    (row,) = screen(screener).values()
    assert row.status is Status.SCORED
    assert row.film.encode("utf-8")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), 2.0, -1.0])
def test_invalid_score_gives_a_failed_row(screener: Screener, folder: Path, score: float) -> None:
    for seed in range(3):
        write_film(folder / f"{seed}.png", seed)
    rows = screen(replace(screener, predictor=Answers(0.25, score, 0.75)))
    assert rows["1.png"].status is Status.FAILED
    assert rows["1.png"].reason == Reason("no_score")
    assert rows["1.png"].probability is None
    assert rows["1.png"].prediction == ""
    assert [rows["0.png"].probability, rows["2.png"].probability] == [0.25, 0.75]


def test_copy_of_a_film_without_a_score_fails_too(screener: Screener, folder: Path) -> None:
    write_film(folder / "a.png", 1)
    write_film(folder / "b.png", 1)
    rows = screen(replace(screener, predictor=Answers(float("nan"))))
    assert [row.status for row in rows.values()] == ["failed", "failed"]


def test_model_is_not_called_without_films(screener: Screener, folder: Path) -> None:
    (folder / "a.txt").write_text("hello")
    screen(screener)
    assert screener.predictor.batches == []
    assert screener.screen([], Seen()) == []


def test_row_has_header_values(screener: Screener, folder: Path) -> None:
    write_dicom(
        folder / "a.dcm",
        Modality="DX",
        ViewPosition="PA",
        PatientSex="F",
        PatientAge="045Y",
        Manufacturer="ACME",
    )
    row = screen(screener)["a.dcm"]
    assert (row.modality, row.view, row.sex, row.age_band, row.manufacturer) == (
        "DX",
        "PA",
        "F",
        "40-64",
        "ACME",
    )


@pytest.mark.parametrize("modality", ["DX", "CT"])
def test_identifiers_are_written_only_as_hashes(
    screener: Screener, folder: Path, modality: str
) -> None:
    write_dicom(
        folder / "a.dcm",
        Modality=modality,
        PatientName="Mustermann^Erika",
        PatientID="4711-0815",
        PatientBirthDate="19701224",
        StudyInstanceUID="1.2.840.99.1",
        SOPInstanceUID="1.2.840.99.2",
        AccessionNumber="ACC42",
    )
    row = screen(screener)["a.dcm"]
    cells = " ".join(str(value) for value in row.as_dict().values())
    for secret in ("Muster", "Erika", "4711", "0815", "1970", "1.2.840.99", "ACC42"):
        assert secret not in cells
    assert row.patient == screener.key.hash("patient", "4711-0815") != ""
    assert row.study == screener.key.hash("study", "1.2.840.99.1") != ""
    assert row.instance == screener.key.hash("instance", "1.2.840.99.2") != ""


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (None, ""),
        ("018M", "0-4"),
        ("004Y", "0-4"),
        ("005Y", "5-17"),
        ("017Y", "5-17"),
        ("018Y", "18-39"),
        ("039Y", "18-39"),
        ("040Y", "40-64"),
        ("064Y", "40-64"),
        ("065Y", "65-79"),
        ("079Y", "65-79"),
        ("080Y", "80+"),
        ("110Y", "80+"),
    ],
)
def test_row_has_an_age_band(screener: Screener, folder: Path, age: str | None, band: str) -> None:
    write_dicom(folder / "a.dcm", PatientAge=age)
    assert screen(screener)["a.dcm"].age_band == band


def test_row_has_the_warnings_of_film_and_job(screener: Screener, folder: Path) -> None:
    film = grey_film(1)
    dataset = dicom_film(film, NumberOfFrames=2, WindowCenter=128, WindowWidth=256)
    dataset.PixelData = film.tobytes() * 2
    (folder / "b.dcm").write_bytes(dicom_bytes(dataset))
    write_film(folder / "a.png", 1)
    of_the_film, of_the_job = screen(screener)["b.dcm"].warnings
    assert of_the_film.code == "multi_frame"
    assert of_the_job == FilmWarning("same_pixels", "a.png")


def test_grey_film_stored_as_colour_has_the_same_probability(
    screener: Screener, folder: Path
) -> None:
    buffer = BytesIO()
    Image.fromarray(grey_film(1)).convert("RGB").save(buffer, "PNG")
    (folder / "colour.png").write_bytes(buffer.getvalue())
    write_film(folder / "grey.png", 1)
    rows = screen(screener)
    assert rows["colour.png"].probability == rows["grey.png"].probability


def test_threshold_of_the_card_decides_the_prediction(screener: Screener, folder: Path) -> None:
    write_film(folder / "a.png", 1, 0.5)
    p = screen(screener)["a.png"].probability
    assert p is not None
    point = replace(screener.card.operating_point, threshold=p)
    at = replace(screener, card=replace(screener.card, operating_point=point))
    assert screen(at)["a.png"].prediction == "PNEUMONIA"
    above = replace(point, threshold=p + 1e-6)
    at = replace(screener, card=replace(screener.card, operating_point=above))
    assert screen(at)["a.png"].prediction == "NORMAL"


def test_scored_film_has_input_statistics(screener: Screener, folder: Path) -> None:
    write_film(folder / "film.png", 1, 0.4)
    write_film(folder / "tiny.png", 1, 0.4)
    Image.fromarray(grey_film(1, side=16)).save(folder / "tiny.png")
    rows = screen(replace(screener, reader=replace(screener.reader, exact=True)))
    grey = grey_film(1, 0.4) / np.float32(255)
    small = screener.card.preprocessing.resize(grey.astype(np.float32))
    expected = input_statistics(small[np.newaxis])
    for name, column in INPUT_COLUMNS.items():
        assert getattr(rows["film.png"], column) == pytest.approx(expected[name][0], abs=2e-6)
        assert getattr(rows["tiny.png"], column) is None


def test_preprocessing_of_the_card_is_applied(screener: Screener, folder: Path) -> None:
    shapes: list[tuple[int, ...]] = []

    class Watching(BrightnessPredictor):
        def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
            shapes.append((*tensors.shape, tensors.dtype.itemsize))
            return super().predict(tensors)

    write_film(folder / "a.png", 1)
    write_film(folder / "b.png", 2)
    screen(replace(screener, predictor=Watching()))
    assert shapes == [(2, 32, 32, 1, 4)]
