"""Images are stored outside the report first, and become part of it when it is written."""

import errno
from pathlib import Path

import pytest

from screening.errors import FileUnavailable
from screening.inference.report_images import THUMBNAILS, ReportImages, place_of
from screening.results import Row, Status

ONE, TWO = place_of("1" * 64), place_of("2" * 64)


@pytest.fixture
def gallery(tmp_path: Path) -> ReportImages:
    return ReportImages(tmp_path / "reports" / ".report.pictures")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    (tmp_path / "report").mkdir()
    return tmp_path / "report"


def row(heatmap: str, thumbnail: str = "") -> Row:
    return Row(film="a.png", status=Status.SCORED, heatmap=heatmap, thumbnail=thumbnail)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_heat_map_is_named_by_16_digits_of_its_film_hash() -> None:
    assert place_of("0123456789abcdef" * 4) == "heatmaps/0123456789abcdef.png"


def test_thumbnail_is_a_jpeg_with_the_same_stem() -> None:
    assert place_of("0123456789abcdef" * 4, THUMBNAILS) == "thumbnails/0123456789abcdef.jpg"


def test_heat_maps_and_thumbnails_go_to_separate_folders(
    gallery: ReportImages, report: Path
) -> None:
    small = place_of("1" * 64, THUMBNAILS)
    gallery.keep({ONE: b"one", small: b"small"})
    gallery.hang(report, [row(ONE, small)])
    assert {(report / ONE).read_bytes(), (report / small).read_bytes()} == {b"one", b"small"}
    gallery.clear()
    gallery.recall(report)
    assert names(gallery.aside) == ["1" * 16 + ".jpg", "1" * 16 + ".png"]


def test_images_are_stored_under_their_names(gallery: ReportImages) -> None:
    gallery.keep({ONE: b"one", TWO: b"two"})
    assert names(gallery.aside) == ["1" * 16 + ".png", "2" * 16 + ".png"]
    assert (gallery.aside / Path(ONE).name).read_bytes() == b"one"


def test_no_folder_is_created_without_images(gallery: ReportImages) -> None:
    gallery.keep({})
    assert not gallery.aside.exists()


def test_image_of_a_film_screened_again_is_replaced(gallery: ReportImages) -> None:
    gallery.keep({ONE: b"first", TWO: b"two"})
    gallery.keep({ONE: b"second"})
    assert (gallery.aside / Path(ONE).name).read_bytes() == b"second"
    assert len(names(gallery.aside)) == 2


def test_report_gets_only_the_images_of_its_rows(gallery: ReportImages, report: Path) -> None:
    gallery.keep({ONE: b"one", TWO: b"two"})
    gallery.hang(report, [row(TWO), row(""), row(TWO)])
    assert names(report / "heatmaps") == [Path(TWO).name]
    assert (report / TWO).read_bytes() == b"two"


def test_report_keeps_its_images_after_the_store_is_cleared(
    gallery: ReportImages, report: Path
) -> None:
    gallery.keep({ONE: b"one"})
    gallery.hang(report, [row(ONE)])
    assert names(gallery.aside) == [Path(ONE).name]
    gallery.clear()
    assert not gallery.aside.exists()
    assert (report / ONE).read_bytes() == b"one"
    gallery.clear()


def test_report_without_images_has_no_image_folder(gallery: ReportImages, report: Path) -> None:
    gallery.hang(report, [row("")])
    assert names(report) == []


def test_images_are_copied_without_hard_links(
    gallery: ReportImages, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    gallery.keep({ONE: b"one"})
    gallery.hang(report, [row(ONE)])
    assert (report / ONE).read_bytes() == b"one"
    assert (report / ONE).stat().st_nlink == 1


def test_error_names_the_missing_image(gallery: ReportImages, report: Path) -> None:
    gallery.keep({ONE: b"one"})
    with pytest.raises(FileUnavailable, match=f"{Path(TWO).name} is missing; screen again"):
        gallery.hang(report, [row(ONE), row(TWO)])


def test_error_names_the_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileUnavailable, match=r"cannot be written to .*aside: Not a directory"):
        ReportImages(tmp_path / "file" / "aside").keep({ONE: b"one"})


def test_full_disk_leaves_no_partial_image(
    gallery: ReportImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    gallery.keep({ONE: b"one"})
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileUnavailable, match="No space left on device"):
        gallery.keep({ONE: b"better", TWO: b"two"})
    assert names(gallery.aside) == [Path(ONE).name]
    assert (gallery.aside / Path(ONE).name).read_bytes() == b"one"


@pytest.mark.parametrize("place", ["heatmaps/../../x.png", "/x.png", "../x.png"])
def test_image_paths_cannot_leave_the_report(
    gallery: ReportImages, report: Path, place: str
) -> None:
    gallery.keep({place: b"x"})
    gallery.hang(report, [row(place, place)])
    assert sorted(path.relative_to(report).as_posix() for path in report.rglob("*")) == [
        "heatmaps",
        "heatmaps/x.png",
        "thumbnails",
        "thumbnails/x.png",
    ]
    assert names(gallery.aside) == ["x.png"]
