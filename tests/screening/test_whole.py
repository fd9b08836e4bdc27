from pathlib import Path

import pytest

from screening.whole import whole


class Interrupted(BaseException):
    """Like KeyboardInterrupt, without stopping the tests."""


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_appears_when_all_is_written(tmp_path: Path) -> None:
    with whole(tmp_path / "report") as aside:
        (aside / "a.csv").write_text("a")
        (aside / "figures").mkdir()
        (aside / "figures" / "b.png").write_bytes(b"b")
        assert not (tmp_path / "report").exists()
    assert names(tmp_path) == ["report", "report/a.csv", "report/figures", "report/figures/b.png"]


@pytest.mark.parametrize("error", [ValueError, OSError, Interrupted])
def test_nothing_appears_when_the_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    def write_half() -> None:
        with whole(tmp_path / "report") as aside:
            (aside / "a.csv").write_text("a")
            raise error

    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == []


def test_missing_folders_above_are_made(tmp_path: Path) -> None:
    with whole(tmp_path / "reports" / "2026" / "night") as aside:
        (aside / "a.csv").write_text("a")
    assert (tmp_path / "reports/2026/night/a.csv").read_text() == "a"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with whole(tmp_path / "report") as aside:
        (aside / "a.csv").write_text("a")
    assert names(tmp_path) == ["report", "report/a.csv"]


def test_a_folder_that_holds_something_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "old.csv").write_text("old")
    with pytest.raises(OSError, match="report"), whole(tmp_path / "report") as aside:
        (aside / "new.csv").write_text("new")
    assert names(tmp_path) == ["report", "report/old.csv"]


def test_what_a_crash_left_aside_does_not_get_into_the_folder(tmp_path: Path) -> None:
    left = whole(tmp_path / "report")
    aside = left.__enter__()
    (aside / "half.csv").write_text("half")
    # The process dies here; the next run starts again.
    with whole(tmp_path / "report") as again:
        (again / "full.csv").write_text("full")
    assert names(tmp_path / "report") == ["full.csv"]


def test_what_is_aside_stands_beside_its_place_and_is_hidden(tmp_path: Path) -> None:
    with whole(tmp_path / "report") as aside:
        assert aside.parent == tmp_path
        assert aside.name.startswith(".")
        assert aside.stat().st_dev == tmp_path.stat().st_dev
