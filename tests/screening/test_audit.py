import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.audit import (
    AUDIT,
    Event,
    fields_text,
    film_event,
    is_report_of,
    parse_fields,
    read_audit,
    write_audit,
)
from screening.errors import ReportError
from screening.results import Reason, Row, Status

QUICK = settings(deadline=None, max_examples=60, database=None)

EVENTS = [
    Event("2026-01-01T00:00:00.000+00:00", "submitted", "job-1", {"user": "ada"}),
    Event(
        "2026-01-01T00:00:01.000+00:00",
        "scored",
        "a.png",
        {"probability": "0.25", "prediction": "NORMAL"},
        "a" * 64,
    ),
    Event(
        "2026-01-01T00:00:02.000+00:00", "failed", "b.png", {"reason": "empty: The file is empty."}
    ),
    Event("2026-01-01T00:00:03.000+00:00", "scored", "=1+1.png", {"probability": "0.75"}, "b" * 64),
]


def audit(folder: Path, events: list[Event] = EVENTS) -> Path:
    (folder / "predictions.csv").write_bytes(b"film\n")
    write_audit(folder, events, rows=3)
    return folder / AUDIT


def lines_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write_lines(path: Path, lines: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\r\n").writerows(lines)


def broken(path: Path) -> list[int]:
    """Lines of the file; the one below the header is 1."""
    return [found.line - 1 for found in read_audit(path.read_bytes()).breaks]


def test_unchanged_chain_is_intact(tmp_path: Path) -> None:
    assert broken(audit(tmp_path)) == []


def test_columns_are_as_documented(tmp_path: Path) -> None:
    columns = " ".join(lines_of(audit(tmp_path))[0])
    assert columns == "seq at event subject detail sha256 previous chain"


def test_each_line_contains_the_previous_link(tmp_path: Path) -> None:
    lines = lines_of(audit(tmp_path))[1:]
    chain = [line[7] for line in lines]
    assert [line[0] for line in lines] == ["1", "2", "3", "4", "5"]
    assert [line[6] for line in lines] == ["0" * 64, *chain[:-1]]
    assert len(set(chain)) == len(chain)


def test_head_is_the_last_link(tmp_path: Path) -> None:
    head = write_audit(tmp_path, EVENTS, rows=3)
    assert lines_of(tmp_path / AUDIT)[-1][7] == head


def test_last_line_lists_all_other_files_with_hashes(tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_bytes(b"metric\n")
    last = lines_of(audit(tmp_path))[-1]
    assert last[2:4] == ["written", "report"]
    assert last[4].startswith("rows=3 ")
    assert f"predictions.csv={hashlib.sha256(b'film' + bytes([10])).hexdigest()}" in last[4]
    assert f"summary.csv={hashlib.sha256(b'metric' + bytes([10])).hexdigest()}" in last[4]


def test_formula_in_subject_is_escaped(tmp_path: Path) -> None:
    assert lines_of(audit(tmp_path))[4][3] == "'=1+1.png"


@QUICK
@given(
    line=st.integers(1, len(EVENTS) + 1),
    column=st.integers(0, 7),
    value=st.text("ab09 .:", min_size=1, max_size=8),
)
def test_any_changed_cell_is_detected(
    tmp_path_factory: pytest.TempPathFactory, line: int, column: int, value: str
) -> None:
    path = audit(tmp_path_factory.mktemp("audit"))
    lines = lines_of(path)
    lines[line][column] += value
    write_lines(path, lines)
    assert line in broken(path)


@pytest.mark.parametrize("line", range(1, len(EVENTS) + 1))
def test_removed_line_is_detected(tmp_path: Path, line: int) -> None:
    path = audit(tmp_path)
    lines = lines_of(path)
    del lines[line]
    write_lines(path, lines)
    assert line in broken(path)


def test_swapped_lines_are_detected(tmp_path: Path) -> None:
    path = audit(tmp_path)
    lines = lines_of(path)
    lines[2], lines[3] = lines[3], lines[2]
    write_lines(path, lines)
    assert broken(path) == [2, 3, 4]


def test_inserted_line_is_detected(tmp_path: Path) -> None:
    path = audit(tmp_path)
    lines = lines_of(path)
    lines.insert(2, lines[2])
    write_lines(path, lines)
    assert broken(path) == [3]


@pytest.mark.parametrize("lost", range(1, len(EVENTS) + 2))
def test_truncated_chain_is_broken(tmp_path: Path, lost: int) -> None:
    path = audit(tmp_path)
    write_lines(path, lines_of(path)[:-lost])
    assert broken(path) == [len(EVENTS) + 2 - lost]


def test_unescaped_formula_is_detected(tmp_path: Path) -> None:
    path = audit(tmp_path)
    lines = lines_of(path)
    lines[4][3] = lines[4][3].removeprefix("'")
    write_lines(path, lines)
    assert broken(path) == [4]


def test_added_cell_is_detected(tmp_path: Path) -> None:
    path = audit(tmp_path)
    lines = lines_of(path)
    lines[2].append("and the radiologist agreed")
    write_lines(path, lines)
    assert broken(path) == [2]


def test_truncated_line_is_detected(tmp_path: Path) -> None:
    path = audit(tmp_path)
    lines = lines_of(path)
    del lines[2][3:]
    write_lines(path, lines)
    assert 2 in broken(path)


@pytest.mark.parametrize("film", ["a,b", 'a"b', "a\nb", "a\rb", "'a", "=a", "ü\u2028\x85", "\x00"])
def test_film_may_have_any_name(tmp_path: Path, film: str) -> None:
    assert broken(audit(tmp_path, [Event("now", "scored", film)])) == []


def test_event_of_scored_film_has_its_probability_and_prediction() -> None:
    row = Row(
        film="a.png",
        sha256="a" * 64,
        status=Status.SCORED,
        probability=0.25,
        prediction="NORMAL",
        screened_at="then",
    )
    fields = {"probability": "0.25", "prediction": "NORMAL"}
    assert film_event(row) == Event("then", "scored", "a.png", fields, "a" * 64)


def test_event_of_refused_film_has_its_reason() -> None:
    row = Row(film="a.png", status=Status.REFUSED, reason=Reason("blank"))
    assert film_event(row).fields == {"reason": "blank: The film is blank."}
    assert film_event(row).detail == 'reason="blank: The film is blank."'
    assert film_event(row).event == "refused"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, ""),
        ({"rows": "3", "a.csv": "ff"}, "rows=3 a.csv=ff"),
        ({"user": "Zoë", "host": ""}, 'user=Zoë host=""'),
        ({"folder": "/films of today, all"}, 'folder="/films of today, all"'),
        ({"a": "x=y", "b": '"', "c": "\\"}, 'a="x=y" b="\\"" c="\\\\"'),
        (
            {"a": "\n\t\x00", "b": "\udcff", "c": "\u2028"},
            r'a="\u000a\u0009\u0000" b="\udcff" c="\u2028"',
        ),
    ],
)
def test_fields_are_written_in_the_documented_form(fields: dict[str, str], text: str) -> None:
    assert fields_text(fields) == text
    assert parse_fields(text) == fields


NAMES = st.text('abc_.-"= \\é', min_size=1, max_size=4).filter(
    lambda name: not set(name) & set('"= \\')
)
VALUES = st.text(max_size=8) | st.text('a" =\\\nu0\ud83d\ude00', max_size=8)


@QUICK
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_fields_round_trip(fields: dict[str, str]) -> None:
    text = fields_text(fields)
    assert list(parse_fields(text).items()) == list(fields.items())
    assert text.isprintable() or not text.isascii()
    text.encode("utf-8")


@QUICK
@given(st.text('ab= "\\u0a\n', max_size=10))
def test_text_that_is_never_written_is_no_list_of_fields(text: str) -> None:
    try:
        fields = parse_fields(text)
    except ValueError:
        return
    assert fields_text(fields) == text


@pytest.mark.parametrize(
    "text",
    [
        "3 films",
        "a=1  b=2",
        "a=1 ",
        " a=1",
        "a=1\n",
        "a=",
        'a="1"',
        "a=1 a=2",
        'a="\\u0061 "',
        "=1",
    ],
)
def test_event_without_fields_in_this_form_breaks_the_chain(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a list of name=value"):
        parse_fields(text)
    path = audit(tmp_path, [PlainEvent("now", "submitted", "job-1", plain=text)])
    (found,) = read_audit(path.read_bytes()).breaks
    assert (found.line, found.why) == (2, "has a detail that is not a list of name=value")


@dataclass(frozen=True)
class PlainEvent(Event):
    """An event with any text as its detail."""

    plain: str = ""

    @property
    def detail(self) -> str:
        return self.plain


def test_files_in_subfolders_have_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "heatmaps").mkdir()
    for name in ("b.png", "a.png"):
        (tmp_path / "heatmaps" / name).write_bytes(name.encode())
    path = audit(tmp_path)
    *_others, first, second, last = lines_of(path)
    assert [line[2:6] for line in (first, second)] == [
        ["drawn", f"heatmaps/{name}", "", hashlib.sha256(name.encode()).hexdigest()]
        for name in ("a.png", "b.png")
    ]
    assert last[2] == "written"
    assert "heatmaps" not in last[4]
    assert broken(path) == []


def test_report_with_thousands_of_heat_maps_is_verified(tmp_path: Path) -> None:
    (tmp_path / "heatmaps").mkdir()
    for number in range(2000):
        (tmp_path / "heatmaps" / f"{number:016}.png").touch()
    path = audit(tmp_path)
    assert broken(path) == []
    assert is_report_of(tmp_path, "job-1")
    # Limit of a spreadsheet cell.
    assert max(len(cell) for line in lines_of(path) for cell in line) < 32_768


def test_history_round_trip(tmp_path: Path) -> None:
    path = audit(tmp_path)
    history = read_audit(path.read_bytes())
    assert list(history.events[:-1]) == EVENTS
    assert history.events[-1].event == "written"
    assert history.head == lines_of(path)[-1][7]
    assert history.breaks == ()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"\r\n2,", b"\n2,", "line ends"),
        (b",scored,", b',"scored",', "different quotes"),
        (b"'=1+1", b"=1+1", "formula marks"),
        (b"0.25", b"0.26", "does not have the hash that it states"),
        (b"\r\n3,", b"\r\n4,", "is number 4, expected 3"),
        (b"a.png", b"a,png", "has 9 cells, expected 8"),
        (b"a.png", b"\xff.png", "is not UTF-8"),
        (b"seq", b"\xef\xbb\xbfseq", "names the columns"),
        (b"a.png", b"a\rpng", "has 0 cells"),
    ],
)
def test_break_says_what_differs(tmp_path: Path, old: bytes, new: bytes, why: str) -> None:
    content = audit(tmp_path).read_bytes()
    breaks = read_audit(content.replace(old, new, 1)).breaks
    assert why in breaks[0].why


@pytest.mark.parametrize("content", [b"", b"seq", b"\r\n", b"\x00" * 100, b'"', b"a" * 200_000])
def test_other_content_is_a_broken_chain(content: bytes) -> None:
    assert read_audit(content).breaks


@pytest.mark.parametrize("name", ["a b.csv", "a=b.csv", 'a"b.csv', "a\nb.csv", "rows"])
def test_file_name_that_makes_the_last_line_ambiguous_is_rejected(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ReportError, match="nor have =, quotes or spaces"):
        audit(tmp_path)


def test_rewritten_audit_omits_old_audit_and_signature(
    tmp_path: Path,
) -> None:
    audit(tmp_path)
    (tmp_path / "audit.sig").touch()
    assert "audit" not in lines_of(audit(tmp_path))[-1][4]


def test_is_report_of_needs_an_intact_audit_of_the_job(tmp_path: Path) -> None:
    assert not is_report_of(tmp_path, "job-1")
    audit(tmp_path)
    assert is_report_of(tmp_path, "job-1")
    assert not is_report_of(tmp_path, "job-2")
    with (tmp_path / AUDIT).open("ab") as file:
        file.write(b"\n")
    assert not is_report_of(tmp_path, "job-1")
