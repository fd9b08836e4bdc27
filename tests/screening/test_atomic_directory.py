import shutil
from pathlib import Path

import pytest

from screening.files import atomic_directory


class Interrupted(BaseException):
    """An exception like KeyboardInterrupt that does not stop pytest."""


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_folder_appears_when_everything_is_written(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "report") as temporary:
        (temporary / "a.csv").write_text("a")
        (temporary / "figures").mkdir()
        (temporary / "figures" / "b.png").write_bytes(b"b")
        assert not (tmp_path / "report").exists()
    assert names(tmp_path) == ["report", "report/a.csv", "report/figures", "report/figures/b.png"]


@pytest.mark.parametrize("error", [ValueError, OSError, Interrupted])
def test_failed_write_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def write_half() -> None:
        with atomic_directory(tmp_path / "report") as temporary:
            (temporary / "a.csv").write_text("a")
            raise error

    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == []


def test_missing_parent_folders_are_created(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "reports" / "2026" / "night") as temporary:
        (temporary / "a.csv").write_text("a")
    assert (tmp_path / "reports/2026/night/a.csv").read_text() == "a"


def test_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with atomic_directory(tmp_path / "report") as temporary:
        (temporary / "a.csv").write_text("a")
    assert names(tmp_path) == ["report", "report/a.csv"]


def test_folder_with_content_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "old.csv").write_text("old")
    with pytest.raises(OSError, match="report"), atomic_directory(tmp_path / "report") as temporary:
        (temporary / "new.csv").write_text("new")
    assert names(tmp_path) == ["report", "report/old.csv"]


def test_leftovers_of_a_crash_are_not_published(tmp_path: Path) -> None:
    left = atomic_directory(tmp_path / "report")
    temporary = left.__enter__()
    (temporary / "half.csv").write_text("half")
    # The process dies here; the next run starts again.
    with atomic_directory(tmp_path / "report") as again:
        (again / "full.csv").write_text("full")
    assert names(tmp_path / "report") == ["full.csv"]


def test_temporary_folder_is_a_hidden_sibling(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "report") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.stat().st_dev == tmp_path.stat().st_dev


def test_one_of_two_concurrent_writers_fails(
    tmp_path: Path,
) -> None:
    first = atomic_directory(tmp_path / "report")
    late = first.__enter__()
    (late / "a.csv").write_text("late")
    with atomic_directory(tmp_path / "report") as temporary:
        with pytest.raises(FileNotFoundError):
            (late / "b.csv").write_text("late")
        (temporary / "a.csv").write_text("in time")
    with pytest.raises(OSError, match="report"):
        first.__exit__(None, None, None)
    assert names(tmp_path) == ["report", "report/a.csv"]
    assert (tmp_path / "report" / "a.csv").read_text() == "in time"


def test_later_of_two_finished_writers_fails(tmp_path: Path) -> None:
    later = atomic_directory(tmp_path / "report")
    (later.__enter__() / "a.csv").write_text("later")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "a.csv").write_text("first")
    with pytest.raises(OSError, match="report"):
        later.__exit__(None, None, None)
    assert names(tmp_path) == ["report", "report/a.csv"]
    assert (tmp_path / "report" / "a.csv").read_text() == "first"


def test_leftover_cannot_be_published_while_it_is_deleted(
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
    with atomic_directory(tmp_path / "report") as temporary:
        (temporary / "full.csv").write_text("full")
    assert names(tmp_path) == ["report", "report/full.csv"]


@pytest.mark.parametrize(
    ("name", "other"),
    [("a", "a.b"), ("a", "a.01234567"), ("*", "abc"), ("[a]", "a"), ("a", "A")],
)
def test_temporary_folders_of_others_are_not_deleted(tmp_path: Path, name: str, other: str) -> None:
    with atomic_directory(tmp_path / other) as theirs:
        (theirs / "x.csv").write_text("x")
        with atomic_directory(tmp_path / name) as temporary:
            (temporary / "y.csv").write_text("y")
    assert names(tmp_path / other) == ["x.csv"]
    assert names(tmp_path / name) == ["y.csv"]


def test_folder_with_a_similar_name_is_not_deleted(tmp_path: Path) -> None:
    kept = [".report.night.partial", ".report.0123456.partial", "report.01234567.partial"]
    for name in kept:
        (tmp_path / name).mkdir()
    with atomic_directory(tmp_path / "report"):
        pass
    assert names(tmp_path) == sorted([*kept, "report"])
