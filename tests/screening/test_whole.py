import shutil
from pathlib import Path

import pytest

from screening.files import atomic_directory


class Interrupted(BaseException):
    """Like KeyboardInterrupt, without stopping the tests."""


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_appears_when_all_is_written(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "report") as aside:
        (aside / "a.csv").write_text("a")
        (aside / "figures").mkdir()
        (aside / "figures" / "b.png").write_bytes(b"b")
        assert not (tmp_path / "report").exists()
    assert names(tmp_path) == ["report", "report/a.csv", "report/figures", "report/figures/b.png"]


@pytest.mark.parametrize("error", [ValueError, OSError, Interrupted])
def test_nothing_appears_when_the_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    def write_half() -> None:
        with atomic_directory(tmp_path / "report") as aside:
            (aside / "a.csv").write_text("a")
            raise error

    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == []


def test_missing_folders_above_are_made(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "reports" / "2026" / "night") as aside:
        (aside / "a.csv").write_text("a")
    assert (tmp_path / "reports/2026/night/a.csv").read_text() == "a"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with atomic_directory(tmp_path / "report") as aside:
        (aside / "a.csv").write_text("a")
    assert names(tmp_path) == ["report", "report/a.csv"]


def test_a_folder_that_holds_something_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "old.csv").write_text("old")
    with pytest.raises(OSError, match="report"), atomic_directory(tmp_path / "report") as aside:
        (aside / "new.csv").write_text("new")
    assert names(tmp_path) == ["report", "report/old.csv"]


def test_what_a_crash_left_aside_does_not_get_into_the_folder(tmp_path: Path) -> None:
    left = atomic_directory(tmp_path / "report")
    aside = left.__enter__()
    (aside / "half.csv").write_text("half")
    # The process dies here; the next run starts again.
    with atomic_directory(tmp_path / "report") as again:
        (again / "full.csv").write_text("full")
    assert names(tmp_path / "report") == ["full.csv"]


def test_what_is_aside_stands_beside_its_place_and_is_hidden(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "report") as aside:
        assert aside.parent == tmp_path
        assert aside.name.startswith(".")
        assert aside.stat().st_dev == tmp_path.stat().st_dev


def test_of_two_who_write_one_folder_at_once_one_wins_and_the_other_has_an_error(
    tmp_path: Path,
) -> None:
    first = atomic_directory(tmp_path / "report")
    late = first.__enter__()
    (late / "a.csv").write_text("late")
    with atomic_directory(tmp_path / "report") as aside:
        with pytest.raises(FileNotFoundError):
            (late / "b.csv").write_text("late")
        (aside / "a.csv").write_text("in time")
    with pytest.raises(OSError, match="report"):
        first.__exit__(None, None, None)
    assert names(tmp_path) == ["report", "report/a.csv"]
    assert (tmp_path / "report" / "a.csv").read_text() == "in time"


def test_the_later_of_two_who_are_both_done_has_an_error(tmp_path: Path) -> None:
    later = atomic_directory(tmp_path / "report")
    (later.__enter__() / "a.csv").write_text("later")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "a.csv").write_text("first")
    with pytest.raises(OSError, match="report"):
        later.__exit__(None, None, None)
    assert names(tmp_path) == ["report", "report/a.csv"]
    assert (tmp_path / "report" / "a.csv").read_text() == "first"


def test_what_is_cleared_away_cannot_get_its_name_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = atomic_directory(tmp_path / "report")
    late = first.__enter__()
    (late / "a.csv").write_text("late")
    (late / "b.csv").write_text("late")
    remove = shutil.rmtree

    def half_removed(path: Path, *, ignore_errors: bool) -> None:
        monkeypatch.undo()
        (path / "a.csv").unlink()
        with pytest.raises(FileNotFoundError):
            first.__exit__(None, None, None)
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", half_removed)
    with atomic_directory(tmp_path / "report") as aside:
        (aside / "full.csv").write_text("full")
    assert names(tmp_path) == ["report", "report/full.csv"]


@pytest.mark.parametrize(
    ("name", "other"),
    [("a", "a.b"), ("a", "a.01234567"), ("*", "abc"), ("[a]", "a"), ("a", "A")],
)
def test_what_stands_aside_for_another_folder_is_not_touched(
    tmp_path: Path, name: str, other: str
) -> None:
    with atomic_directory(tmp_path / other) as theirs:
        (theirs / "x.csv").write_text("x")
        with atomic_directory(tmp_path / name) as aside:
            (aside / "y.csv").write_text("y")
    assert names(tmp_path / other) == ["x.csv"]
    assert names(tmp_path / name) == ["y.csv"]


def test_a_folder_whose_name_only_looks_alike_is_not_cleared_away(tmp_path: Path) -> None:
    kept = [".report.night.partial", ".report.0123456.partial", "report.01234567.partial"]
    for name in kept:
        (tmp_path / name).mkdir()
    with atomic_directory(tmp_path / "report"):
        pass
    assert names(tmp_path) == sorted([*kept, "report"])
