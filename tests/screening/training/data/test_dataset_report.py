"""The data report, from generated films to the finished page."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from makers import encoded, grey_film
from screening.model.preprocess import Preprocessing
from screening.report.html.components import image, render
from screening.training.data.dataset import Collection, Source, Unreadable, read_collection
from screening.training.data.dataset_report import ClassLeak, DatasetReport, Twins, describe_dataset
from screening.training.data.duplicates import DuplicatePair, Duplicates, find_duplicates
from screening.training.data.manifest import LabelledFilm, read_manifest
from screening.training.data.split import Sides, joined, split
from screening.training.html.dataset_page import write_dataset_report

SIDES = ("training", "validation", "test")


def collection_of(*films: tuple[str, int, str], **changed: dict[int, Any]) -> Collection:
    """A collection of films given as name, label and patient.

    Args:
        changed: values of attributes of sources, by film.
    """
    sources = [Source(str(n), "PNG", 1000, 100, 100) for n in range(len(films))]
    for what, values in changed.items():
        for n, value in values.items():
            sources[n] = replace(sources[n], **{what: value})
    return Collection(
        [LabelledFilm(Path(name), name, label, patient) for name, label, patient in films],
        np.stack([grey_film(n, side=32) for n in range(len(films))]),
        sources,
        [],
    )


def sides_of(collection: Collection, where: str) -> Sides:
    """Sides given as one letter for each film: t, v or x."""
    return Sides(
        *(
            [film for film, letter in zip(collection.films, where, strict=True) if letter == side]
            for side in "tvx"
        )
    )


FOUR = (("a/1", 0, "p1"), ("a/2", 0, "p1"), ("b/1", 1, "p2"), ("b/3", 1, "b/3"))


def four(
    duplicates: Duplicates | None = None, where: str = "ttvx", **changed: Any
) -> DatasetReport:
    collection = collection_of(*FOUR, **changed)
    return describe_dataset(collection, sides_of(collection, where), duplicates or Duplicates())


def test_films_and_patients_are_counted_by_side_and_class() -> None:
    census = four(where="tvtv")
    assert (census.films, census.patients) == (4, 3)
    assert census.sides == {
        "training": {
            "NORMAL": {"films": 1, "patients": 1},
            "PNEUMONIA": {"films": 1, "patients": 1},
        },
        "validation": {
            "NORMAL": {"films": 1, "patients": 1},
            "PNEUMONIA": {"films": 1, "patients": 1},
        },
    }
    assert census.torn == 1
    assert census.unnamed == 1
    assert census.same_names == 2
    assert four().torn == 0


def test_patients_are_counted_by_number_of_films() -> None:
    films = [
        (f"{patient}-{n}", n % 2, f"p{patient}")
        for patient, number in enumerate([1, 1, 2, 3, 5, 6, 10, 11, 30])
        for n in range(number)
    ]
    collection = collection_of(*films)
    census = describe_dataset(collection, sides_of(collection, "t" * len(films)), Duplicates())
    assert census.films_per_patient == {"1": 2, "2": 1, "3-5": 2, "6-10": 2, ">10": 2}
    assert census.most_films == 30
    assert census.of_both_classes == 7


def test_patients_are_those_of_the_data_even_if_copies_were_joined() -> None:
    collection = collection_of(*FOUR)
    films = joined(collection.films, [(0, 2)])
    sides = Sides(films[:3], films[3:], [])
    census = describe_dataset(collection, sides, Duplicates((DuplicatePair(0, 2),)))
    assert census.patients == 3
    assert [twins.same_patient for twins in census.exact] == [False]


def test_copies_are_listed_with_shared_properties() -> None:
    pairs = Duplicates(
        (DuplicatePair(0, 1),), (DuplicatePair(1, 2, 0.9), DuplicatePair(2, 3, 0.95))
    )
    census = four(pairs)
    assert census.exact == (Twins(("a/1", "a/2"), 1.0, True, True, True),)
    assert census.near == (
        Twins(("a/2", "b/1"), 0.9, False, False, False),
        Twins(("b/1", "b/3"), 0.95, True, False, False),
    )
    leak, contradiction = census.warnings
    assert leak.startswith("2 pairs of copies on two sides")
    assert contradiction.startswith("1 pair of near duplicates with different labels")


def test_sizes_are_reported_by_class() -> None:
    census = four(rows={0: 50, 1: 150}, columns={2: 200, 3: 400}, size={0: 500, 3: 80_000})
    rows = {"min": 50.0, "5 %": 55.0, "median": 100.0, "95 %": 145.0, "max": 150.0}
    assert census.sizes["NORMAL"]["rows"] == rows
    assert census.sizes["NORMAL"]["columns per row"]["max"] == 2
    assert census.sizes["PNEUMONIA"]["columns"]["median"] == 300
    assert census.sizes["PNEUMONIA"]["bytes per pixel"]["max"] == 2


def test_file_properties_that_separate_classes_are_measured_and_warned_of() -> None:
    census = four(columns={0: 300, 1: 200}, rows={0: 100, 1: 120, 3: 110})
    assert census.betrayals["columns"] == ClassLeak(1.0, "NORMAL")
    assert census.betrayals["rows"] == ClassLeak(0.625, "NORMAL")
    assert census.betrayals["bytes per pixel"] == ClassLeak(1.0, "PNEUMONIA")
    (warning,) = census.warnings
    assert "columns 1.00 (more: NORMAL)" in warning
    assert "rows" not in warning
    assert "does not see" in warning


def test_no_warning_if_files_of_both_classes_are_alike() -> None:
    census = four()
    assert set(census.betrayals.values()) == {ClassLeak(0.5, "")}
    assert census.warnings == ()


def test_formats_are_counted_by_class() -> None:
    assert four(kind={1: "DICOM", 3: "DICOM"}).kinds == {
        "DICOM": {"NORMAL": 1, "PNEUMONIA": 1},
        "PNG": {"NORMAL": 1, "PNEUMONIA": 1},
    }


def test_warning_if_a_patient_is_on_two_sides() -> None:
    (warning,) = four(where="tvtv").warnings
    assert warning.startswith("1 patient with films on more than one side")


def test_warning_if_no_patient_is_known() -> None:
    collection = collection_of(("a", 0, "a"), ("b", 1, "b"))
    (warning,) = describe_dataset(collection, sides_of(collection, "tt"), Duplicates()).warnings
    assert warning.startswith("No patient is known")


def test_left_out_films_are_listed() -> None:
    collection = collection_of(*FOUR)
    lost = Unreadable(LabelledFilm(Path("x"), "x", 0, "x"), "truncated")
    collection = replace(collection, unreadable=[lost] * 2)
    census = describe_dataset(collection, sides_of(collection, "ttvx"), Duplicates())
    assert census.unreadable == ({"film": "x", "reason": "truncated"},) * 2
    assert census.warnings == ("2 films could not be read and were left out.",)


class Page(HTMLParser):
    """Text, images and tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films with names that contain HTML and matplotlib markup, and copies of two of them."""
    place = tmp_path_factory.mktemp("data")
    for n in range(40):
        folder = place / ("NORMAL", "PNEUMONIA")[n % 2]
        folder.mkdir(exist_ok=True)
        film = grey_film(n)
        (folder / f"person{n // 4}_<b>$x$&{n}.png").write_bytes(encoded(film))
        if n in {4, 9}:
            (folder / f"copy {n}.jpg").write_bytes(encoded(film, "JPEG"))
    (place / "NORMAL" / "broken <script>.png").write_bytes(b"")
    (place / "PNEUMONIA" / "again.png").write_bytes(
        (place / "PNEUMONIA" / "person0_<b>$x$&1.png").read_bytes()
    )
    return place


@pytest.fixture(scope="module")
def report(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetReport]:
    return written(place, tmp_path_factory.mktemp("report") / "MODEL")


def written(place: Path, model: Path, seed: int = 1) -> tuple[Path, DatasetReport]:
    """Write a data report in the same way as a training."""
    with ThreadPoolExecutor(2) as pool:
        collection = read_collection(read_manifest(place), Preprocessing(), pool)
    duplicates = find_duplicates(collection.greys, collection.sha256)
    sides = split(joined(collection.films, duplicates.pairs), "patient", 0.2, 0.2, seed)
    census = describe_dataset(collection, sides, duplicates)
    write_dataset_report(model, census, collection, duplicates, "patient", seed)
    return model, census


def test_json_report_has_the_same_contents(report: tuple[Path, DatasetReport]) -> None:
    model, census = report
    data = json.loads((model / "data.json").read_text())
    assert data == json.loads(json.dumps(census.as_dict()))
    assert data["films"] == 43
    assert [pair["films"] for pair in data["exact"]] == [
        ["PNEUMONIA/again.png", "PNEUMONIA/person0_<b>$x$&1.png"]
    ]
    assert {pair["films"][0] for pair in data["near"]} == {
        "NORMAL/copy 4.jpg",
        "PNEUMONIA/copy 9.jpg",
    }
    assert all(pair["same_side"] for pair in data["exact"] + data["near"])
    assert sum(c["films"] for side in data["sides"].values() for c in side.values()) == 43


def test_page_is_self_contained(report: tuple[Path, DatasetReport]) -> None:
    html = (report[0] / "data.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert len(page.pictures) == 3
    for picture in page.pictures:
        assert (picture["src"] or "").startswith("data:image/png;base64,iVBOR")
        assert picture["alt"]
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", html)
    assert "<script" not in html


def test_page_escapes_names_and_shows_warnings(report: tuple[Path, DatasetReport]) -> None:
    model, census = report
    text = Page((model / "data.html").read_text(encoding="utf-8")).text
    assert "PNEUMONIA/person0_<b>$x$&1.png" in text
    assert "NORMAL/broken <script>.png" in text
    assert "0 bytes" in text
    for warning in census.warnings:
        assert warning in text
    for side in SIDES:
        assert side in text


def test_images_are_in_the_model_folder(report: tuple[Path, DatasetReport]) -> None:
    sizes = {}
    for path in sorted((report[0] / "figures").iterdir()):
        with Image.open(path) as picture:
            sizes[path.name] = min(picture.size)
    assert list(sizes) == ["data_classes.png", "data_films.png", "data_near_duplicates.png"]
    assert min(sizes.values()) >= 150


def test_same_films_and_seed_give_the_same_report(
    report: tuple[Path, DatasetReport], place: Path, tmp_path: Path
) -> None:
    again, _census = written(place, tmp_path)
    other, _census = written(place, tmp_path / "other", seed=2)
    for name in ("data.html", "data.json", "figures/data_films.png"):
        assert (again / name).read_bytes() == (report[0] / name).read_bytes()
    name = "figures/data_films.png"
    assert (other / name).read_bytes() != (report[0] / name).read_bytes()


def test_report_removes_images_of_earlier_films(tmp_path: Path) -> None:
    collection = collection_of(*FOUR)
    for near in ((DuplicatePair(0, 1, 0.9),), ()):
        duplicates = Duplicates((), near)
        census = describe_dataset(collection, sides_of(collection, "tttv"), duplicates)
        write_dataset_report(tmp_path, census, collection, duplicates, "given", 1)
        assert (tmp_path / "figures" / "data_near_duplicates.png").exists() == bool(near)
    page = Page((tmp_path / "data.html").read_text(encoding="utf-8"))
    assert len(page.pictures) == 2
    assert "The sides are those given in the data" in page.text
    assert "There is no test side" in page.text


def test_name_that_is_not_utf_8_does_not_break_the_report(tmp_path: Path) -> None:
    name = b"b/\xff\n\x01.png".decode("utf-8", "surrogateescape")
    collection = collection_of(("a", 0, "p"), (name, 1, "q"))
    duplicates = Duplicates((), (DuplicatePair(0, 1, 0.9),))
    census = describe_dataset(collection, sides_of(collection, "tt"), duplicates)
    write_dataset_report(tmp_path, census, collection, duplicates, "film", 1)
    assert json.loads((tmp_path / "data.json").read_text())["near"][0]["films"] == ["a", name]
    assert "b/?" in (tmp_path / "data.html").read_text(encoding="utf-8")


def test_long_list_is_truncated_on_the_page_only(tmp_path: Path) -> None:
    films = [(f"{n:03}", n % 2, f"p{n}") for n in range(130)]
    collection = collection_of(*films)
    duplicates = Duplicates(tuple(DuplicatePair(0, n) for n in range(2, 130, 2)))
    lost = Unreadable(LabelledFilm(Path("x"), "x", 0, "x"), "truncated")
    collection = replace(collection, unreadable=[lost] * 53)
    census = describe_dataset(collection, sides_of(collection, "t" * 130), duplicates)
    write_dataset_report(tmp_path, census, collection, duplicates, "patient", 1)
    text = Page((tmp_path / "data.html").read_text(encoding="utf-8")).text
    assert "The other 14 are in data.json." in text
    assert "The other 3 are in data.json." in text
    assert len(json.loads((tmp_path / "data.json").read_text())["exact"]) == 64


def test_page_with_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="is undefined"):
        render("data.html.j2", "screening.training.html")


def test_image_is_embedded_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert image(tmp_path / "a.png") == "data:image/png;base64,iVBORw=="
