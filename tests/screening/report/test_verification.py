"""Verification of a report on disk against its own audit."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from screened_report import AT, EVENTS, ROWS, files_of, write_small_report
from screening.audit import AUDIT, Event, film_event, read_audit, write_audit
from screening.report.verification import VerificationProblem, examine, verify, written
from screening.results import PREDICTIONS, write_rows


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_report(tmp_path_factory.mktemp("written"))


@pytest.fixture
def report(tmp_path: Path, written_once: Path) -> Path:
    return shutil.copytree(written_once, tmp_path / "report")


def found(report: Path) -> set[tuple[str, str]]:
    return {(problem.file, problem.what) for problem in verify(report)}


def test_unchanged_report_is_intact(report: Path) -> None:
    assert verify(report) == []


def test_other_folder_is_not_a_report(tmp_path: Path) -> None:
    assert found(tmp_path) == {(AUDIT, "missing")}
    assert found(tmp_path / "nowhere") == {(".", "unreadable")}


def test_changes_on_disk_are_detected(report: Path) -> None:
    for name, content in files_of(report).items():
        (report / name).write_bytes(content + b"x")
        assert name in {problem.file for problem in verify(report)}
        (report / name).write_bytes(content)
    assert verify(report) == []


def test_problem_names_the_line_of_a_changed_row(report: Path) -> None:
    path = report / PREDICTIONS
    path.write_bytes(path.read_bytes().replace(b",0.25,NORMAL", b",0.55,NORMAL"))
    assert [(one.what, one.line) for one in verify(report)] == [
        ("altered", None),
        ("row_differs", 3),
    ]


def test_table_that_contradicts_the_history_is_detected(tmp_path: Path) -> None:
    """Even if the audit was rewritten with a line for the changed table."""
    write_rows(tmp_path / PREDICTIONS, [replace(ROWS[0], probability=0.1, prediction="NORMAL")])
    write_audit(tmp_path, [*EVENTS, film_event(ROWS[0])], 1)
    (problem,) = verify(tmp_path)
    assert str(problem) == (
        "predictions.csv, line 2: row_differs: does not match the line of this film in audit.csv"
    )


@pytest.mark.parametrize(
    ("rows", "told", "stated", "what"),
    [
        (ROWS, ROWS[1:], len(ROWS), ["row_differs"]),
        (ROWS[1:], ROWS, len(ROWS) - 1, ["row_count"]),
        (ROWS, ROWS, len(ROWS) - 1, ["row_count"]),
        ([ROWS[0], *ROWS], ROWS, len(ROWS) + 1, ["row_differs"]),
    ],
)
def test_rows_that_contradict_the_history_are_detected(
    tmp_path: Path, rows: list, told: list, stated: int, what: list[str]
) -> None:
    write_rows(tmp_path / PREDICTIONS, rows)
    write_audit(tmp_path, [*EVENTS, *map(film_event, told)], stated)
    assert [problem.what for problem in verify(tmp_path)] == what


@pytest.mark.parametrize("content", [b"", b"film,status\n", b"\xff", b"film\n" * 3])
def test_table_that_cannot_be_parsed_is_damaged(report: Path, content: bytes) -> None:
    (report / PREDICTIONS).write_bytes(content)
    assert found(report) == {(PREDICTIONS, "altered"), (PREDICTIONS, "damaged")}


def test_columns_of_another_version_are_accepted(tmp_path: Path) -> None:
    write_rows(tmp_path / PREDICTIONS, ROWS[:1])
    path = tmp_path / PREDICTIONS
    header, row = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{header},novel\r\n{row},1\r\n", encoding="utf-8", newline="")
    write_audit(tmp_path, [*EVENTS, film_event(ROWS[0])], 1)
    assert verify(tmp_path) == []


def test_edge_report_is_intact(tmp_path: Path) -> None:
    """Edge devices write reports without a summary and with films in any order."""
    write_rows(tmp_path / PREDICTIONS, ROWS)
    write_audit(tmp_path, [*EVENTS, *map(film_event, ROWS[::-1])], len(ROWS))
    assert verify(tmp_path) == []


@pytest.mark.parametrize("tells", [True, False])
def test_evaluation_may_omit_the_events_of_its_films(tmp_path: Path, tells: bool) -> None:
    write_rows(tmp_path / PREDICTIONS, ROWS)
    films = [film_event(row) for row in ROWS] if tells else []
    head = "e" * 64
    write_audit(tmp_path, [Event(AT, "evaluates", "report", {}, head), *films], len(ROWS))
    assert verify(tmp_path) == []


def test_unlisted_files_are_unknown(report: Path) -> None:
    (report / "notes.txt").touch()
    (report / "heatmaps" / "more.png").touch()
    (report / "empty" / "deeper").mkdir(parents=True)
    assert found(report) == {
        ("notes.txt", "unknown"),
        ("heatmaps/more.png", "unknown"),
        ("empty/deeper/", "unknown"),
    }


def test_unknown_file_with_a_non_utf_8_name_is_reported(report: Path) -> None:
    Path(os.fsdecode(bytes(report) + b"/\xff.txt")).touch()
    ((name, what),) = found(report)
    assert what == "unknown"
    assert name.encode()


def test_link_is_not_followed_even_to_equal_content(report: Path) -> None:
    for name in files_of(report):
        (report / name).rename(report.parent / "kept")
        (report / name).symlink_to(report.parent / "kept")
        assert found(report) == {(name, "unreadable")}
        (report / name).unlink()
        (report.parent / "kept").rename(report / name)


def test_image_folder_that_is_a_link_is_detected(report: Path) -> None:
    (report / "heatmaps").rename(report.parent / "kept")
    (report / "heatmaps").symlink_to(report.parent / "kept")
    ((picture, missing), link) = sorted(found(report), reverse=True)
    assert picture.startswith("heatmaps/")
    assert (missing, link) == ("missing", ("heatmaps", "unknown"))


def test_pipe_does_not_block(report: Path) -> None:
    for name in (AUDIT, "summary.csv"):
        (report / name).rename(report.parent / "kept")
        os.mkfifo(report / name)
        (problem,) = verify(report)
        assert (problem.file, problem.what) == (name, "unreadable")
        assert "not a regular file" in problem.sentence
        (report / name).unlink()
        (report.parent / "kept").rename(report / name)


def test_unreadable_file_is_a_problem_with_its_reason(report: Path) -> None:
    files = files_of(report)

    def read(name: str) -> bytes:
        if name == forbidden:
            raise PermissionError(13, "Permission denied")
        return files[name]

    for forbidden in files:
        why = "cannot be read: Permission denied"
        assert examine(files, read) == [VerificationProblem(forbidden, "unreadable", why)]


@pytest.mark.parametrize("name", ["heatmaps/", "."])
def test_unlistable_folder_is_a_problem_with_its_reason(
    report: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = os.scandir

    def scandir(folder: Path) -> object:
        if folder == report / name:
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    why = "cannot be read: Permission denied"
    assert verify(report) == [VerificationProblem(name, "unreadable", why)]


def test_signature_is_known_and_must_have_64_bytes(report: Path) -> None:
    (report / "audit.sig").write_bytes(b"s" * 64)
    assert verify(report) == []
    (report / "audit.sig").write_bytes(b"s" * 63)
    assert found(report) == {("audit.sig", "damaged")}
    shutil.move(report / "audit.sig", report / "heatmaps")
    assert found(report) == {("heatmaps/audit.sig", "unknown")}


def test_written_states_time_and_author(tmp_path: Path) -> None:
    write_audit(
        tmp_path,
        [*EVENTS, Event(AT, "writing", "job-1", {"worker": "h:1:2", "user": "somebody"})],
        0,
    )
    history = read_audit((tmp_path / AUDIT).read_bytes())
    assert written(history) == (
        f"0 rows, chain head {history.head}, written at {history.events[-1].at}, by worker h:1:2, user somebody"
    )


def test_written_names_the_report_of_an_evaluation(tmp_path: Path) -> None:
    write_audit(tmp_path, [Event(AT, "evaluates", "report", {}, "e" * 64)], 3)
    told = written(read_audit((tmp_path / AUDIT).read_bytes()))
    assert told.startswith("3 rows, ")
    assert told.endswith(f", an evaluation of the report with the head {'e' * 64}")
