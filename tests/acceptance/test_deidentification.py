"""Promise: identifying data never leave a film, except as the keyed hashes that are needed."""

import csv
import re
import stat
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom import config
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from makers import dicom_bytes, dicom_film, grey_film, write_film
from screening.results import Row, Status, read_rows

#: Planted values: no word, number, date or UID of this project starts like one of these.
NAME = "ZWIEBEL"
DATE = "17230417"
TIME = "043317.172304"
UID_ROOT = "1.2.826.0.1.3680043.10.99999"

PLANTED = re.compile(rf"{NAME}|{DATE}|1723-04-17|{TIME}|{UID_ROOT}".encode(), re.IGNORECASE)

#: Attributes that the report shows by design.
SHOWN = {
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientSex",
    "PatientAge",
    "Manufacturer",
}

#: Attributes without which a film cannot be read.
NEEDED = {"SpecificCharacterSet", "SOPClassUID", "PresentationLUTShape"}

# File sets and commands, File Meta, pixel description, functional groups, pixels, delimiters.
_OTHER_GROUPS = {0x0000, 0x0002, 0x0004, 0x0028, 0x5200, 0x7FE0, 0xFFFC, 0xFFFE}

_TEXT = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
_BYTES = {"OB", "OW", "UN"}


def value_of(vr: str, number: int) -> object:
    """Return a recognisable value of this representation (PS3.5 6.2); None if it can hold none."""
    values = {"DA": DATE, "TM": TIME, "DT": DATE + TIME, "UI": f"{UID_ROOT}.{number}"}
    if vr in _TEXT:
        return f"{NAME}{number}"
    if vr in _BYTES:
        return f"{NAME}{number:05}".encode()
    if vr in ("DS", "IS"):
        return DATE
    if vr == "SQ":
        item = Dataset()
        item.PatientName = f"{NAME}^{number}"
        item.StudyDate = DATE
        item.CodeMeaning = f"{NAME}{number}"
        item.ReferencedSOPInstanceUID = f"{UID_ROOT}.{number}"
        item.RequestAttributesSequence = Sequence([Dataset()])
        item.RequestAttributesSequence[0].AccessionNumber = f"{NAME}{number}"
        return Sequence([item])
    return values.get(vr)


def planted_film(seed: int, **attributes: object) -> FileDataset:
    """Make a film with a recognisable value in every attribute of the dictionary that can hold one.

    This includes the attributes of PS3.15 table E.1-1, which identify people.
    """
    dataset = dicom_film(grey_film(seed, 0.4))
    for number, (tag, (vr, _vm, _name, _retired, keyword)) in enumerate(DicomDictionary.items()):
        value = value_of(vr[:2], number)
        if tag >> 16 not in _OTHER_GROUPS and keyword not in SHOWN | NEEDED and value is not None:
            dataset.add_new(tag, vr[:2], value)
    private = dataset.private_block(0x0011, f"{NAME} GMBH", create=True)
    private.add_new(0x01, "LO", f"{NAME} private")
    private.add_new(0x02, "UN", NAME.encode() + b" ")
    private.add_new(0x03, "SQ", value_of("SQ", 3))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{UID_ROOT}.1.{seed}"
    dataset.StudyInstanceUID = f"{UID_ROOT}.2.{seed}"
    dataset.PatientID = f"{NAME}-{seed}"
    dataset.file_meta.SourceApplicationEntityTitle = NAME
    dataset.file_meta.PrivateInformationCreatorUID = f"{UID_ROOT}.3"
    dataset.file_meta.PrivateInformation = NAME.encode() + b" "
    dataset.preamble = NAME.encode().ljust(128, b" ")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def damaged(data: bytes) -> dict[str, bytes]:
    """Return copies of the film that are damaged in many ways."""
    rng = np.random.default_rng(1)
    pixels = data.rindex(b"\xe0\x7f\x10\x00")
    films = {f"cut {end}.dcm": data[:end] for end in (*range(400, pixels, pixels // 12), pixels)}
    for number in range(12):
        cells = bytearray(data)
        for place in rng.integers(132, pixels + 12, 1 + number):
            cells[place] ^= int(rng.integers(1, 256))
        films[f"flipped {number}.dcm"] = bytes(cells)
    return films


def raster(kind: str) -> bytes:
    """Make a PNG or JPEG with recognisable values wherever such a file can hold them."""
    film, buffer = Image.fromarray(grey_film(90, 0.4)), BytesIO()
    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x013B, 0x8298, 0x9C9D):  # title, maker, artist, copyright, author
        exif[tag] = f"{NAME} exif"
    if kind == "JPEG":
        film.save(buffer, kind, comment=NAME.encode(), exif=exif)
        return buffer.getvalue()
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", f"{NAME} text")
    text.add_text("Patient", f"{NAME} packed text", zip=True)
    text.add_itxt("Patient", f"{NAME} international text")
    film.save(buffer, kind, pnginfo=text, exif=exif)
    return buffer.getvalue()


def write_planted_films(folder: Path) -> None:
    folder.mkdir(parents=True)
    # Some values are invalid; it only matters that they are present.
    with config.disable_value_validation():
        scored = dicom_bytes(planted_film(1))
        odd = {keyword: f"{NAME}^{keyword}" for keyword in SHOWN - {"Manufacturer"}}
        films = {
            "scored.dcm": scored,
            "scored again.dcm": scored,
            "scored, too.dcm": dicom_bytes(planted_film(2)),
            "the same pixels.dcm": dicom_bytes(planted_film(1, SOPInstanceUID=f"{UID_ROOT}.1.11")),
            "refused.dcm": dicom_bytes(planted_film(3, Modality="CT")),
            "odd.dcm": dicom_bytes(planted_film(4, **odd)),
            "nameless.dcm": dicom_bytes(planted_film(5, SOPClassUID=f"{UID_ROOT}.4")),
            "strange letters.dcm": dicom_bytes(planted_film(6)).replace(
                b"MONOCHROME2", NAME.encode().ljust(11)
            ),
        } | damaged(dicom_bytes(planted_film(10)))
        for number, keyword in enumerate(
            ("PhotometricInterpretation", "PresentationLUTShape", "VOILUTFunction")
        ):
            film = planted_film(20 + number, **{keyword: NAME})
            films[f"{keyword}.dcm"] = dicom_bytes(film)
        syntax = dicom_film(grey_film(7)).file_meta.TransferSyntaxUID.encode()
        films["syntax.dcm"] = dicom_bytes(planted_film(7)).replace(
            syntax, NAME.encode().ljust(len(syntax), b"\0")
        )
    films |= {"film.png": raster("PNG"), "film.jpg": raster("JPEG")}
    films |= {f"cut {name}": data[:-300] for name, data in films.items() if "film." in name}
    films |= {"notes.txt": f"{NAME} has called".encode(), "notes.dcm": NAME.encode() * 100}
    for name, data in films.items():
        (folder / name).write_bytes(data)


LABELS = [
    ("film", "label", "patient"),
    (f"{UID_ROOT}.1.1", "PNEUMONIA", f"{NAME} Erika"),
    ("scored, too.dcm", "NORMAL", f"{NAME} Max"),
    ("film.png", "1", ""),
    (f"{UID_ROOT}.1.999", "NORMAL", f"{NAME} Nobody"),
    (f"{NAME}.dcm", "NORMAL", ""),
]


def write_labels(path: Path, lines: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def night(place, screening, bright_bundle):
    """The output of screening films full of planted values and of listing and showing the job."""
    write_planted_films(place / "films")
    labels = write_labels(place / "labels.csv", LABELS)
    queue = ["--queue", place / "queue.sqlite"]
    done = screening(
        *("run", place / "films", "--model", bright_bundle, "--out", place / "report"),
        *("--labels", labels, "--max-failure-rate", "1", "--key", place / "patient.key", *queue),
        code=3,
    )
    (name,) = re.findall(r"^Job (\S+),", done.stdout)
    views = [screening("jobs", "list", *queue), screening("jobs", "show", name, *queue)]
    return "".join(result.stdout + result.stderr for result in (done, *views))


@pytest.fixture(scope="module")
def rows(night, place) -> dict[str, Row]:
    return {row.film: row for row in read_rows(place / "report" / "predictions.csv")}


def planted_in(place: Path) -> dict[str, set[bytes]]:
    """Return the planted values found in the files of a folder."""
    files = [path for path in place.rglob("*") if path.is_file()]
    found = {path.name: set(PLANTED.findall(path.read_bytes())) for path in files}
    return {name: hits for name, hits in found.items() if hits}


def test_planted_films_reach_every_status(rows):
    assert {row.status for row in rows.values()} == set(Status)
    assert rows["scored.dcm"].status is Status.DUPLICATE
    assert rows["scored again.dcm"].label == rows["film.png"].label == "PNEUMONIA"
    assert rows["scored, too.dcm"].label == "NORMAL"
    assert rows["the same pixels.dcm"].warnings[-1].detail == "scored again.dcm"
    assert rows["refused.dcm"].reason.code == "not_chest"
    assert {row.status for name, row in rows.items() if name.startswith("cut ")} >= {"failed"}
    assert all(row.patient for name, row in rows.items() if name.startswith("scored"))


def test_every_film_contains_planted_values(night, place):
    films = planted_in(place / "films")
    assert films.keys() == {path.name for path in (place / "films").iterdir()}
    assert len(re.findall(NAME.encode(), (place / "films" / "scored.dcm").read_bytes())) > 2000


def test_planted_values_are_not_printed(night):
    assert PLANTED.findall(night.encode()) == []


def test_planted_values_are_not_in_the_report(night, place):
    assert {path.name for path in (place / "report").iterdir()} >= {"predictions.csv", "audit.csv"}
    assert planted_in(place / "report") == {}


def test_planted_values_are_not_in_the_queue(night, place):
    queues = [path for path in place.iterdir() if path.name.startswith("queue.sqlite")]
    assert queues
    for path in queues:
        assert PLANTED.findall(path.read_bytes()) == []


def test_key_is_readable_only_by_its_owner(night, place):
    assert stat.S_IMODE((place / "patient.key").stat().st_mode) == 0o600


HASHED = ("patient", "instance", "study")


def hashes(report: Path) -> dict[str, tuple[str, ...]]:
    rows = read_rows(report / "predictions.csv")
    return {row.film: tuple(getattr(row, column) for column in HASHED) for row in rows}


def test_hashes_depend_on_the_key_alone(night, place, screening, bright_bundle, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("scored.dcm", "scored, too.dcm", "refused.dcm"):
        (folder / name).write_bytes((place / "films" / name).read_bytes())
    given = [folder, "--model", bright_bundle, "--hash-names"]
    for report, key in (("a", place / "patient.key"), ("b", place / "patient.key"), ("c", "key")):
        # A queue can only be used with one key.
        own = ("--queue", tmp_path / f"{report}.sqlite", "--key", tmp_path / key)
        screening("run", *given, *own, "--out", tmp_path / report)
    a, b, c = (hashes(tmp_path / report) for report in "abc")
    assert a == b
    assert len(a) == 3
    for mine, theirs in ((a.keys(), c.keys()), (sum(a.values(), ()), sum(c.values(), ()))):
        assert set(mine).isdisjoint(theirs)
    assert all(sum(a.values(), ()))
    with_labels = read_rows(place / "report" / "predictions.csv")
    assert {row.study for row in with_labels} >= {study for _p, _i, study in a.values()}


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """Films whose file and folder names identify people."""
    place = tmp_path_factory.mktemp("named")
    folder = place / "films" / f"{NAME}^ERIKA" / f"study {DATE}"
    for seed in range(3):
        write_film(folder / f"{NAME}_{seed}.png", seed, 0.3 + seed / 5)
    (folder / f"copy of {NAME}.PNG").write_bytes((folder / f"{NAME}_0.png").read_bytes())
    Image.fromarray(grey_film(1, 0.5)).save(folder / f"{NAME}_again.png", compress_level=1)
    (folder / f"{NAME}.dcm").write_bytes(dicom_bytes(dicom_film(grey_film(9), Modality="CT")))
    (folder / f"film.{NAME}").write_bytes(dicom_bytes(dicom_film(grey_film(8, 0.4))))
    (folder / f"{NAME} broken.png").write_bytes(b"no picture")
    (folder / f"{NAME} notes").write_text("hello")
    (folder / f"{NAME} link").symlink_to("/etc/hostname")
    return place


def test_hash_names_hides_names_in_output_and_report(named, screening, bright_bundle):
    lines = [("film", "label"), (f"{NAME}_1.png", "NORMAL"), (f"film.{NAME}", "PNEUMONIA")]
    labels = write_labels(named / f"{NAME}.csv", lines)
    done = screening(
        *("run", named / "films", "--model", bright_bundle, "--out", named / "report"),
        *("--labels", labels, "--hash-names", "--key", named / "key"),
        *("--queue", named / "queue.sqlite"),
        code=3,
    )
    assert PLANTED.findall((done.stdout + done.stderr).encode()) == []
    assert planted_in(named / "report") == {}
    rows = {row.film: row for row in read_rows(named / "report" / "predictions.csv")}
    assert len(rows) == 10
    suffixes = sorted(Path(film).suffix for film in rows)
    assert suffixes == ["", "", "", ".dcm", *[".png"] * 6]
    assert all(re.fullmatch(r"[0-9a-f]{16}(\.\w+)?", film) for film in rows)
    labelled = {row.label: row for row in rows.values() if row.label}
    assert labelled.keys() == {"NORMAL", "PNEUMONIA"}
    assert labelled["PNEUMONIA"].film.partition(".")[1] == ""
    remarks = [remark for row in rows.values() for remark in (row.reason, *row.warnings) if remark]
    others = [one.detail for one in remarks if one.code in ("same_bytes", "same_pixels")]
    assert len(others) == 2
    assert set(others) <= rows.keys()


@pytest.mark.parametrize(
    "lines",
    [
        [(f"{NAME}_1.png", "NORMAL"), (f"{NAME}_1.png", "PNEUMONIA")],
        [(f"{NAME}_1.png", f"{NAME} pneumonia?")],
    ],
    ids=["contradiction", "no label"],
)
def test_invalid_labels_are_reported_by_line_without_names(
    named, screening, bright_bundle, lines, tmp_path
):
    labels = write_labels(tmp_path / "labels.csv", [("film", "label"), *lines])
    done = screening(
        *("run", named / "films", "--model", bright_bundle, "--out", tmp_path / "report"),
        *("--labels", labels, "--hash-names", "--key", named / "key"),
        *("--queue", named / "queue.sqlite"),
        code=1,
    )
    assert "labels.csv, line" in done.stderr
    assert PLANTED.findall((done.stdout + done.stderr).encode()) == []


def test_hash_names_hides_the_folder_in_the_queue(screening, bright_bundle, tmp_path):
    write_film(tmp_path / NAME / "a.png", 1)
    given = ["--model", bright_bundle, "--out", tmp_path / "report", "--hash-names"]
    done = screening("run", tmp_path / NAME, *given)
    job = re.search(r"Job (\S+),", done.stdout)
    shown = screening("jobs", "list").stdout + screening("jobs", "show", job[1]).stdout
    assert job[1] in shown
    assert PLANTED.findall((done.stdout + done.stderr + shown).encode()) == []
