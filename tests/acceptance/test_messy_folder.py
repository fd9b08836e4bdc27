"""Promises 1 and 3: every file gets a row, and no file can stop the run."""

import numpy as np
import pandas as pd
import pytest

from makers import chest_film, dicom_bytes, dicom_film, encoded, grey_film, write_chest_film

EXPECTED = {
    "=cmd|' /C calc'!A0.png": ("scored", ""),
    "a name with spaces.png": ("scored", ""),
    "copy of good.png": ("duplicate", "same_bytes"),
    "empty.png": ("failed", "empty"),
    "empty": ("failed", "empty"),
    "film without suffix": ("scored", ""),
    "good.jpeg": ("scored", ""),
    "good.png": ("scored", ""),
    "leg.dcm": ("refused", "not_chest"),
    "lungs \u80ba \u00e9.png": ("scored", ""),
    "nested/deeper/film.png": ("scored", ""),
    "notes.txt": ("refused", "not_image"),
    "picture.gif": ("failed", "unsupported"),
    "text.png": ("failed", "not_decodable"),
    "tiny.png": ("refused", "too_small"),
    "truncated.png": ("failed", "not_decodable"),
    "way out": ("refused", "not_followed"),
    "white.png": ("refused", "blank"),
}


@pytest.fixture(scope="module")
def report(screening, tmp_path_factory):
    """The report of a run over one file of each kind."""
    place = tmp_path_factory.mktemp("messy")
    folder = place / "films"
    good = ["=cmd|' /C calc'!A0.png", "a name with spaces.png", "good.jpeg", "good.png"]
    unusual = ["lungs \u80ba \u00e9.png", "nested/deeper/film.png"]
    for seed, name in enumerate([*good, *unusual]):
        write_chest_film(folder / name, seed)
    (folder / "copy of good.png").write_bytes((folder / "good.png").read_bytes())
    (folder / "empty.png").touch()
    (folder / "empty").touch()
    stored = chest_film(10).astype(np.uint16) * 100
    (folder / "film without suffix").write_bytes(dicom_bytes(dicom_film(stored)))
    leg = dicom_film(stored, BodyPartExamined="TIBIA")
    (folder / "leg.dcm").write_bytes(dicom_bytes(leg))
    (folder / "notes.txt").write_text("call the engineer")
    (folder / "picture.gif").write_bytes(encoded(grey_film(11), "GIF"))
    (folder / "text.png").write_text("this is no picture")
    (folder / "tiny.png").write_bytes(encoded(grey_film(12, side=32)))
    (folder / "truncated.png").write_bytes(encoded(grey_film(13))[:-2000])
    (folder / "way out").symlink_to("/etc/hostname")
    (folder / "white.png").write_bytes(encoded(np.full((128, 128), 255, np.uint8)))
    screening("run", folder, "--out", place / "report", code=3)
    return place / "report"


def test_every_file_has_one_row_with_status_and_reason(report):
    films = pd.read_csv(report / "predictions.csv", keep_default_na=False)
    found = {
        row.film.removeprefix("'"): (row.status, row.reason.partition(":")[0])
        for row in films.itertuples()
    }
    # "copy of good.png" comes first by path, so it counts as the film and "good.png" as the copy.
    expected = EXPECTED | {
        "copy of good.png": ("scored", ""),
        "good.png": ("duplicate", "same_bytes"),
    }
    assert found == expected
    assert len(films) == len(expected)


def test_no_cell_of_the_report_is_a_formula(report):
    for name in ("predictions.csv", "summary.csv", "audit.csv"):
        cells = pd.read_csv(report / name, dtype=str, keep_default_na=False)
        dangerous = cells.map(lambda cell: cell.startswith(("=", "+", "-", "@", "\t", "\r")))
        assert not dangerous.any(axis=None)


def test_summary_counts_add_up_to_the_number_of_files(report):
    summary = pd.read_csv(report / "summary.csv")
    values = summary[summary.subset == "all"].set_index("metric").value
    parts = values[["scored", "refused", "failed", "duplicate"]]
    assert parts.sum() == values["files"] == len(EXPECTED)
