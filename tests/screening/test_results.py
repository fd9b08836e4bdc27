import csv
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from screening.errors import ReportError
from screening.results import (
    COLUMNS,
    FilmWarning,
    Reason,
    Row,
    Status,
    cell,
    read_rows,
    text,
    write_rows,
)

QUICK = settings(deadline=None, max_examples=60, database=None)

# Text that UTF-8 can encode; `discover` translates other names.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DETAILS = TEXTS | st.text(":; ().ab\n", max_size=12)
SHARES = st.none() | st.floats(0, 1)

ROWS = st.builds(
    Row,
    film=TEXTS,
    status=st.sampled_from(Status),
    reason=st.none() | st.builds(Reason, st.sampled_from(["blank", "same_bytes"]), DETAILS),
    probability=SHARES,
    threshold=SHARES,
    seconds=st.floats(0, 1e6),
    patient=TEXTS,
    view=TEXTS,
    manufacturer=TEXTS,
    warnings=st.lists(
        st.builds(FilmWarning, st.sampled_from(["inverted", "same_pixels"]), DETAILS), max_size=3
    ).map(tuple),
    grey_mean=SHARES,
    sharpness=SHARES,
    lung_evidence=SHARES,
    lung_area=SHARES,
)


def test_first_columns_are_as_documented() -> None:
    promised = (
        "film sha256 status reason probability prediction threshold label outcome patient view "
        "modality model model_sha256 screened_at seconds"
    )
    assert " ".join(COLUMNS).startswith(promised)


@pytest.mark.parametrize(
    "column", ["runtime", "instance", "study", "sex", "age_band", "manufacturer", "warnings"]
)
def test_documented_columns_exist(column: str) -> None:
    assert column in COLUMNS[16:]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_formula_cell_is_escaped(start: str) -> None:
    assert cell(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ""), ("", ""), ("a.png", "a.png"), (0.25, "0.25"), (-0.5, "-0.5"), (7, "7")],
)
def test_other_cells_are_unchanged(value: object, expected: str) -> None:
    assert cell(value) == expected


def test_status_is_written_as_its_value() -> None:
    assert cell(Status.DUPLICATE) == "duplicate"


@QUICK
@given(st.text(max_size=8))
def test_no_text_cell_starts_like_a_formula(value: str) -> None:
    assert not cell(value).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@QUICK
@given(st.text(max_size=8))
@example("'")
@example("''=1")
@example("=1")
def test_text_cell_round_trip(value: str) -> None:
    assert text(cell(value)) == value


@QUICK
@given(ROWS)
def test_row_json_round_trip(row: Row) -> None:
    assert Row.from_dict(json.loads(json.dumps(row.as_dict()))) == row


def test_rows_share_common_strings_in_memory():
    said = {"status": "scored", "model_sha256": "ab" * 32, "runtime": "onnx/onnxruntime 1.32.0"}
    first, second = (
        Row.from_dict(json.loads(json.dumps(said | {"film": name}))) for name in ("a", "b")
    )
    assert first.model_sha256 is second.model_sha256
    assert first.runtime is second.runtime


@QUICK
@given(rows=st.lists(ROWS, max_size=5))
@example([Row(film="scan\r1.png", status=Status.SCORED)])
def test_rows_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    path = tmp_path_factory.mktemp("rows") / "predictions.csv"
    write_rows(path, rows)
    assert read_rows(path) == rows


def test_warnings_of_two_films_with_similar_text_differ(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    name = "a; b.png).; rotated: The film does not look upright (by 90 degrees"
    one = (FilmWarning("same_pixels", name),)
    two = (FilmWarning("same_pixels", "a; b.png"), FilmWarning("rotated", "by 90 degrees"))
    rows = [Row(film="x", status=Status.SCORED, warnings=warnings) for warnings in (one, two)]
    write_rows(path, rows)
    assert read_rows(path) == rows
    text = path.read_text(encoding="utf-8")
    assert "same_pixels: Another film has the same pixels (a;; b.png).; rotated: The" in text


def test_csv_has_one_line_per_film(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    films = ["a.png", 'b,"c".png', "d\ne.png", "ü.png"]
    write_rows(path, [Row(film=film, status=Status.SCORED) for film in films])
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[0] == list(COLUMNS)
    assert [line[0] for line in lines[1:]] == films


def test_additional_columns_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    row = Row(film="a.png", status=Status.REFUSED, reason=Reason("blank"))
    write_rows(path, [row])
    first, second = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{first},reader\n{second},somebody\n", encoding="utf-8")
    assert read_rows(path) == [row]


@pytest.mark.parametrize("content", ["", "film,label\na.png,1\n"])
def test_file_with_other_columns_is_not_a_report(tmp_path: Path, content: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match=r"predictions\.csv"):
        read_rows(path)


@pytest.mark.parametrize(
    "line",
    ["a.png,,scored"]
    + [
        f"a.png,,{cells}" + "," * (len(COLUMNS) - 3)
        for cells in ("splendid", "failed,torn", "failed,bored: So.", "failed,empty: The (end")
    ],
    ids=["short", "status", "no reason", "unknown code", "cut reason"],
)
def test_damaged_line_is_a_report_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(",".join(COLUMNS) + f"\n{line}\n", encoding="utf-8")
    with pytest.raises(ReportError, match=r"predictions\.csv"):
        read_rows(path)


def test_newest_columns_are_last() -> None:
    assert COLUMNS[-3:] == ("decoding", "lung_evidence", "lung_area")


@pytest.mark.parametrize("last", ["decoding", "sharpness", "heatmap"])
def test_report_without_the_newest_columns_is_read(tmp_path: Path, last: str) -> None:
    path = tmp_path / "predictions.csv"
    row = Row(film="a.png", status=Status.SCORED, probability=0.25, domain_distance=0.5)
    write_rows(path, [row])
    old = COLUMNS.index(last) + 1
    lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    path.write_text("".join(",".join(line[:old]) + "\n" for line in lines), encoding="utf-8")
    assert read_rows(path) == [row]


def test_row_of_an_older_ledger_is_read() -> None:
    old = {"film": "a.png", "status": "scored", "probability": 0.25, "heatmap": ""}
    assert Row.from_dict(old).grey_mean is None


def test_folder_without_predictions_is_not_a_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="empty is not a report: No such file"):
        read_rows(tmp_path / "empty" / "predictions.csv")
