"""The bundled pictures: contents, sources and licences."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import screening
from screening.model.preprocess import Preprocessing
from screening.training.fit_image_gate import FRONTAL, Example, read_examples

PICTURES = Path(screening.__file__).parent / "training" / "gate_pictures"
COLUMNS = ["file", "kind", "source", "package", "version", "licence", "origin"]

#: Licences that allow redistribution; SOURCES.csv may add a note in brackets.
LICENCES = {
    "Apache-2.0",
    "BSD-3-Clause",
    "CC BY 2.0",
    "CC0",
    "MIT",
    "PSF-based",
    "no known restrictions",
    "public domain",
}


@pytest.fixture(scope="module")
def lines() -> list[dict[str, str]]:
    with (PICTURES / "SOURCES.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return read_examples(Preprocessing())


def test_list_names_every_file_once_and_no_other(lines: list[dict[str, str]]) -> None:
    names = [line["file"] for line in lines]
    assert sorted([*names, "SOURCES.csv"]) == sorted(path.name for path in PICTURES.iterdir())


def test_every_line_has_all_columns(lines: list[dict[str, str]]) -> None:
    for line in lines:
        assert list(line) == COLUMNS
        assert all(value and value == value.strip() for value in line.values()), line


def test_every_picture_has_a_licence_that_allows_redistribution(
    lines: list[dict[str, str]],
) -> None:
    assert {line["licence"].partition(" (")[0] for line in lines} <= LICENCES
    # Attribution requires a name.
    for line in lines:
        assert not line["licence"].startswith("CC BY") or " (" in line["licence"], line


def test_pictures_of_one_source_have_one_licence(lines: list[dict[str, str]]) -> None:
    found = {(line["source"], line["licence"]) for line in lines}
    assert len(found) == len({line["source"] for line in lines})


def test_all_pictures_together_are_small_enough_for_a_package() -> None:
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) <= 5_000_000


def test_every_picture_is_grey_and_large_enough() -> None:
    for path in PICTURES.glob("*.[!c]*"):
        with Image.open(path) as image:
            assert image.mode == "L", path.name
            assert min(image.size) >= 96, path.name
            # Pictures must not contain a time, place or device.
            assert not image.getexif(), path.name
            assert not {"exif", "xmp", "icc_profile", "photoshop"} & set(image.info), path.name


def test_no_two_pictures_are_the_same(examples: list[Example]) -> None:
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in PICTURES.iterdir()]
    assert len(set(files)) == len(files)
    assert len({example.grey.tobytes() for example in examples}) == len(examples)


def test_only_pictures_of_kind_blank_are_blank(examples: list[Example]) -> None:
    for example in examples:
        blank = 255 * example.grey.std() < 1
        assert not blank or example.kind == "blank", (example.kind, example.source)


def test_examples_are_at_the_size_of_the_model(lines: list[dict[str, str]]) -> None:
    examples = read_examples(Preprocessing(rows=64, columns=48))
    assert [(one.kind, one.source) for one in examples] == [
        (line["kind"], line["source"]) for line in lines
    ]
    for example in examples:
        assert (example.grey.shape, example.grey.dtype) == ((64, 48), np.float32)
        assert 0 <= example.grey.min() <= example.grey.max() <= 1


def test_computed_frontal_views_have_lateral_views_of_the_same_volumes(
    lines: list[dict[str, str]],
) -> None:
    sources = {
        kind: Counter(line["source"] for line in lines if line["kind"] == kind)
        for kind in (FRONTAL, "lateral_chest")
    }
    assert len(sources[FRONTAL]) >= 3
    for source, count in sources[FRONTAL].items():
        assert sources["lateral_chest"][source] == count


def test_negatives_are_of_many_kinds_from_many_sources(
    lines: list[dict[str, str]],
) -> None:
    others = [line for line in lines if line["kind"] != FRONTAL]
    assert len(others) >= 400
    assert len({line["source"] for line in others}) >= 100
    assert {line["kind"] for line in others} >= {
        "ct_slice",
        "lateral_chest",
        "mammography",
        "mr_slice",
        "other_xray",
        "photo",
        "text",
        "ultrasound",
    }
