"""Promise: only frontal chest films are scored; turned and inverted ones get a warning.

This needs no header information and holds in both runtimes and on the edge. Some of these images
trained the gate; the card has its results on others, measured with images held out by source.
"""

import csv
import random
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

import screening as package
from exports.bundle import SHIPPED
from makers import dicom_bytes, dicom_film, encoded
from screening.model.card import Card
from screening.results import Row, Status, read_rows
from screening.training.fit_image_gate import FRONTAL

data_store = pytest.importorskip("data_store", reason="could not import data_store: it has RG1")

PICTURES = Path(package.__file__).parent / "training" / "gate_pictures"
RG1 = Path(data_store.__file__).parent / "data" / "RG1_UNCR.dcm"

#: Images of each kind; there are about fifteen kinds.
EACH = 3

TURNED = {
    "rg1.png": "",
    "rg1 inverted.png": "inverted: ",
    "rg1 turned by 90.png": "(by 90 degrees).",
    "rg1 turned by 180.png": "(by 180 degrees).",
    "rg1 turned by 270.png": "(by 270 degrees).",
}


def non_film_pictures() -> list[Path]:
    """Return images of every kind except blank ones, which are refused earlier."""
    with (PICTURES / "SOURCES.csv").open(newline="", encoding="utf-8") as file:
        lines = sorted(csv.DictReader(file), key=lambda line: (line["kind"], line["file"]))
    chosen = []
    for kind, group in groupby(lines, key=lambda line: line["kind"]):
        names = [line["file"] for line in group]
        if kind not in (FRONTAL, "blank"):
            chosen += names[:: max(1, len(names) // EACH)][:EACH]
    return [PICTURES / name for name in chosen]


def write_pictures(folder: Path) -> None:
    """Write them in turn as PNG, original JPEG, and DICOM capture without information."""
    for index, path in enumerate(non_film_pictures()):
        grey = np.asarray(Image.open(path))
        name = folder / path.stem
        if index % 3 == 0:
            name.with_suffix(".png").write_bytes(encoded(grey))
        elif index % 3 == 1:
            name.with_suffix(".jpg").write_bytes(path.read_bytes())
        else:
            capture = dicom_film(grey, SOPClassUID=SecondaryCaptureImageStorage, Modality="OT")
            name.with_suffix(".dcm").write_bytes(dicom_bytes(capture))


def write_turned(folder: Path) -> None:
    """Write RG1 as DICOM, and in each orientation as PNG, where no header can help."""
    from screening.imaging.readers import open_film

    (folder / "rg1.dcm").write_bytes(RG1.read_bytes())
    grey, _warnings = open_film(RG1.read_bytes(), RG1.name).decode()
    film = np.rint(grey * 255).astype(np.uint8)
    turned = [film, 255 - film, *(np.rot90(film, times) for times in (1, 2, 3))]
    for name, one in zip(TURNED, turned, strict=True):
        (folder / name).write_bytes(encoded(np.ascontiguousarray(one)))


def rows_of(report: Path) -> dict[str, Row]:
    return {row.film: row for row in read_rows(report / "predictions.csv")}


def orientation_of(row: Row) -> list[str]:
    return [str(one) for one in row.warnings if one.code in ("inverted", "rotated")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("gate")
    (place / "films").mkdir()
    write_pictures(place / "films")
    write_turned(place / "films")
    return place


@pytest.fixture(scope="module")
def rows(place, screening):
    screening("run", place / "films", "--out", place / "onnx")
    return rows_of(place / "onnx")


@pytest.fixture(scope="module")
def litert_rows(place, screening):
    screening("run", place / "films", "--runtime", "litert", "--out", place / "litert")
    return rows_of(place / "litert")


@pytest.fixture(scope="module")
def edge_rows(place, environment):
    program = [sys.executable, SHIPPED / "screen.pyz", place / "films"]
    words = ["--out", place / "edge", "--runtime", "onnx", "--key", place / "key"]
    subprocess.run([*program, *words], env=environment, capture_output=True, check=True)
    return rows_of(place / "edge")


def test_all_kinds_of_images_are_refused_in_every_format(rows):
    pictures = {name: row for name, row in rows.items() if not name.startswith("rg1")}
    assert len(pictures) >= 40
    assert {Path(name).suffix for name in pictures} == {".png", ".jpg", ".dcm"}
    assert len({name.rpartition("_")[0] for name in pictures}) >= 15
    read = {name: row.frontal for name, row in pictures.items() if row.status != Status.REFUSED}
    assert read == {}
    for row in pictures.values():
        assert row.reason.code == "not_frontal_chest"
        assert (row.probability, row.prediction, row.warnings) == (None, "", ())


@pytest.mark.parametrize("name", ["rg1.dcm", *TURNED])
def test_film_is_scored_in_any_orientation_with_a_warning(rows, name):
    row = rows[name]
    assert (row.status, row.reason) == (Status.SCORED, None)
    expected = TURNED.get(name, "")
    if not expected:
        assert orientation_of(row) == []
        return
    (warning,) = orientation_of(row)
    assert expected in warning


def test_every_row_has_the_measurements_of_the_gate(rows):
    gate = Card.read(SHIPPED).gate
    assert gate is not None
    for row in rows.values():
        assert row.frontal is not None
        assert row.domain_distance is not None
        assert ("out_of_domain" in row.warning_codes) == (
            row.status == Status.SCORED and row.domain_distance > 1
        )
        if row.frontal >= gate.frontal_threshold:
            assert row.status == Status.SCORED


@pytest.mark.parametrize("other", ["litert_rows", "edge_rows"])
def test_other_runtime_and_edge_give_the_same_results(rows, other, request):
    others = request.getfixturevalue(other)
    assert list(others) == list(rows)
    for name, row in rows.items():
        twin = others[name]
        assert twin.status == row.status, name
        assert twin.tensor_sha256 == row.tensor_sha256
        assert twin.frontal == pytest.approx(row.frontal, abs=0.002)
        assert twin.domain_distance == pytest.approx(row.domain_distance, rel=0.005)
        assert (twin.reason_code, twin.warning_codes) == (row.reason_code, row.warning_codes), name
        assert orientation_of(twin) == orientation_of(row)


def test_few_real_films_are_refused_or_out_of_domain(real_films, tmp_path, screening):
    films = sorted(path for path in real_films.rglob("*") if path.is_file())
    (tmp_path / "films").mkdir()
    chosen = random.Random(0).sample(films, 300)
    for index, path in enumerate(chosen):
        (tmp_path / "films" / f"{index}{path.suffix}").write_bytes(path.read_bytes())
    screening("run", tmp_path / "films", "--out", tmp_path / "report")
    rows = rows_of(tmp_path / "report").values()
    found = Counter(row.status for row in rows)
    codes = Counter(code for row in rows for code in row.warning_codes)
    assert found[Status.FAILED] == 0
    assert found[Status.REFUSED] <= 3
    assert codes["out_of_domain"] <= 9
    assert codes["inverted"] + codes["rotated"] <= 3
