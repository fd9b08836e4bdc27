"""The data report on sources, views and weak labels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from makers import grey_film
from screening.training.data.dataset import Collection, Source
from screening.training.data.dataset_report import DatasetReport, Stratum, describe_dataset
from screening.training.data.duplicates import Duplicates
from screening.training.data.manifest import LabelledFilm
from screening.training.data.split import Sides
from screening.training.html.dataset_page import write_dataset_report


def collection_of(*strata: tuple[str, str, int, int], confidence: float = 1.0) -> Collection:
    """A collection of films given as source, view, and number of films of both classes."""
    films = [
        LabelledFilm(
            Path(name), name, label, name, "", source, view, None, "", confidence if label else 1.0
        )
        for source, view, *numbers in strata
        for label, number in enumerate(numbers)
        for name in (f"{source}/{view}{label}{n}" for n in range(number))
    ]
    greys = np.stack([grey_film(n, side=32) for n in range(len(films))])
    sources = [Source(str(n), "PNG", 1000, 100, 100) for n in range(len(films))]
    return Collection(films, greys, sources, [])


def taken(collection: Collection, left_out: tuple[str, ...] = ()) -> DatasetReport:
    kept = [film for film in collection.films if film.source not in left_out]
    out = [film for film in collection.films if film.source in left_out]
    return describe_dataset(collection, Sides(kept, [], [], out), Duplicates())


def test_films_are_counted_by_source_class_and_view() -> None:
    census = taken(collection_of(("b", "PA", 2, 3), ("a", "", 4, 1), confidence=0.7))
    assert census.strata == (
        Stratum("a", "", {"NORMAL": 4, "PNEUMONIA": 1}, 1),
        Stratum("b", "PA", {"NORMAL": 2, "PNEUMONIA": 3}, 3),
    )
    assert json.loads(json.dumps(census.as_dict()))["strata"][0]["source"] == "a"


def test_warning_about_a_source_of_one_class() -> None:
    census = taken(collection_of(("a", "", 9, 9), ("b", "", 3, 0)))
    (warning,) = [each for each in census.warnings if "Source b" in each]
    expected = (
        "Source b has only NORMAL films: the model may learn the source instead of the finding."
    )
    assert warning == expected


def test_warning_if_the_source_separates_the_classes() -> None:
    census = taken(collection_of(("a", "", 8, 2), ("b", "", 2, 8)))
    assert census.source_auroc == pytest.approx(0.8)
    assert any("The source alone separates the classes, AUROC 0.80" in w for w in census.warnings)
    assert taken(collection_of(("a", "", 5, 5), ("b", "", 5, 5))).source_auroc == 0.5


def test_warning_if_the_view_separates_the_classes_within_a_source() -> None:
    census = taken(
        collection_of(("a", "AP", 7, 4), ("a", "PA", 3, 6), ("b", "AP", 5, 4), ("b", "PA", 5, 6))
    )
    assert census.view_auroc == {"a": 0.65, "b": 0.55}
    warnings = [each for each in census.warnings if "view alone" in each]
    assert len(warnings) == 1
    assert warnings[0].startswith("In source a the view alone separates the classes, AUROC 0.65")


def test_single_source_without_views_is_not_mentioned(tmp_path: Path) -> None:
    collection = collection_of(("a", "", 5, 5))
    census = taken(collection)
    assert not [each for each in census.warnings if "ource" in each]
    assert "<h2>Sources</h2>" not in page_of(tmp_path, census, collection)


def test_left_out_sources_are_counted_without_warnings(tmp_path: Path) -> None:
    collection = collection_of(("a", "", 5, 5), ("b", "", 3, 0))
    census = taken(collection, ("b",))
    assert census.sides["left out"]["NORMAL"] == {"films": 3, "patients": 3}
    assert census.one_class == {}
    assert census.source_auroc == 0.5
    assert census.torn == 0
    assert [stratum.source for stratum in census.strata] == ["a", "b"]
    assert "were left out are on no side" in page_of(tmp_path, census, collection)


def test_page_shows_sources_and_views(tmp_path: Path) -> None:
    collection = collection_of(("<a>", "AP", 1, 4), ("<a>", "PA", 4, 1), confidence=0.7)
    page = page_of(tmp_path, taken(collection), collection)
    assert "<h2>Sources</h2>" in page
    assert '<th scope="row">&lt;a&gt;</th><td>AP</td>' in page
    assert "View, &lt;a&gt;" in page
    assert "below 0.95" in page


def page_of(model: Path, census: DatasetReport, collection: Collection) -> str:
    write_dataset_report(model, census, collection, Duplicates(), "patient", 1)
    return (model / "data.html").read_text(encoding="utf-8")


def test_copies_of_left_out_films_are_found() -> None:
    collection = collection_of(("a", "", 5, 5), ("b", "", 3, 0))
    joined = [replace(film, patient="one") for film in collection.films]
    census = taken(replace(collection, films=joined), ("b",))
    assert census.torn == 1
