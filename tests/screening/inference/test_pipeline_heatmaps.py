from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from makers import BrightnessPredictor, encoded, grey_film, write_film
from screened_folders import screen, without_times, write_dicom
from screening.files import Found
from screening.inference.heatmap import heatmap_png, thumbnail_jpeg
from screening.inference.pipeline import Screener
from screening.inference.report_images import THUMBNAILS, ReportImages, place_of
from screening.model.predictor import Prediction
from screening.results import Status


class MappingPredictor(BrightnessPredictor):
    """Also returns a map with the brightness of each quarter of a film: 0 is grey, 10 is white."""

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        quarters = tensors.reshape(-1, 2, 16, 2, 16).mean(axis=(2, 4))
        maps = np.stack([0 * quarters, 20 * quarters - 10], axis=-1)
        return replace(super().predict(tensors), maps=maps)


@pytest.fixture
def drawing(screener: Screener, tmp_path: Path) -> Screener:
    """Screens by brightness, with heat maps."""
    return replace(
        screener, predictor=MappingPredictor(), gallery=ReportImages(tmp_path / ".aside")
    )


def kept(screener: Screener) -> dict[str, bytes]:
    """The stored images by their paths in the report."""
    assert screener.gallery is not None
    return {f"heatmaps/{path.name}": path.read_bytes() for path in screener.gallery.aside.iterdir()}


def test_scored_film_has_a_heat_map_named_by_its_hash(drawing: Screener, folder: Path) -> None:
    for seed in range(3):
        write_film(folder / f"{seed}.png", seed, 0.3 + 0.2 * seed)
    rows = screen(drawing).values()
    assert [row.heatmap for row in rows] == [place_of(row.sha256) for row in rows]
    assert kept(drawing).keys() == {row.heatmap for row in rows}


def test_heat_map_shows_the_model_input_in_film_proportions(
    drawing: Screener, folder: Path
) -> None:
    stored = grey_film(1, 0.8, side=200)[:120]
    (folder / "a.png").write_bytes(encoded(stored))
    (row,) = screen(drawing).values()
    film = drawing.reader.read(Found("a.png", 1))
    (maps,) = drawing.predictor.predict(film.tensor[np.newaxis]).maps
    grey = drawing.card.preprocessing.resize(stored.astype(np.float32) / np.float32(255))
    expected = heatmap_png(grey, maps[..., 1], (120, 200))
    assert kept(drawing) == {row.heatmap: expected}


def test_unscored_files_have_no_heat_map(drawing: Screener, folder: Path) -> None:
    write_film(folder / "a.png", 1)
    write_film(folder / "copy.png", 1)
    (folder / "empty.png").touch()
    (folder / "text").write_text("hello")
    (folder / "blank.png").write_bytes(encoded(np.full((128, 128), 9, np.uint8)))
    write_dicom(folder / "ct.dcm", 2, Modality="CT")
    rows = screen(drawing)
    assert {name: bool(row.heatmap) for name, row in rows.items()} == dict.fromkeys(rows, False) | {
        "a.png": True
    }
    assert len(kept(drawing)) == 1


@pytest.mark.parametrize(
    ("annotation", "is_drawn"), [("YES", False), ("yes ", False), ("NO", True), (None, True)]
)
def test_film_with_burned_in_identity_has_no_heat_map(
    drawing: Screener, folder: Path, annotation: str | None, is_drawn: bool
) -> None:
    attributes = {} if annotation is None else {"BurnedInAnnotation": annotation}
    write_dicom(folder / "a.dcm", **attributes)
    (row,) = screen(drawing).values()
    assert row.status is Status.SCORED
    assert bool(row.heatmap) is is_drawn


def test_film_without_a_score_has_no_heat_map(drawing: Screener, folder: Path) -> None:
    class Sick(MappingPredictor):
        def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
            prediction = super().predict(tensors)
            return replace(prediction, scores=prediction.scores * np.nan)

    write_film(folder / "a.png", 1)
    (row,) = screen(replace(drawing, predictor=Sick())).values()
    assert (row.status, row.heatmap) == (Status.FAILED, "")


def test_heat_maps_do_not_change_other_columns(
    screener: Screener, drawing: Screener, folder: Path
) -> None:
    write_film(folder / "a.png", 1)
    (folder / "b.txt").write_text("hello")
    with_maps = [replace(row, heatmap="") for row in without_times(screen(drawing))]
    assert with_maps == without_times(screen(screener))


def test_no_images_are_made_without_a_gallery(
    drawing: Screener, folder: Path, tmp_path: Path
) -> None:
    write_film(folder / "a.png", 1)
    (row,) = screen(replace(drawing, gallery=None)).values()
    assert row.heatmap == ""
    assert [path.name for path in tmp_path.iterdir()] == ["films"]


def test_thumbnail_is_made_without_a_heat_map(
    screener: Screener, folder: Path, tmp_path: Path
) -> None:
    write_film(folder / "a.png", 1)
    (folder / "b.txt").write_text("hello")
    small = ReportImages(tmp_path / ".aside", heatmaps=False, thumbnails=True)
    rows = screen(replace(screener, gallery=small))
    row, film = rows["a.png"], screener.reader.read(Found("a.png", 1))
    assert (row.heatmap, row.thumbnail) == ("", place_of(row.sha256, THUMBNAILS))
    assert rows["b.txt"].thumbnail == ""
    (path,) = small.aside.iterdir()
    grey = screener.card.preprocessing.grey(film.tensor)
    assert path.read_bytes() == thumbnail_jpeg(grey, (film.rows, film.columns))


def test_heat_maps_are_only_made_on_request(
    drawing: Screener, folder: Path, tmp_path: Path
) -> None:
    write_film(folder / "a.png", 1)
    both = ReportImages(tmp_path / ".both", thumbnails=True)
    small = replace(both, heatmaps=False)
    assert [
        bool(screen(replace(drawing, gallery=asked))["a.png"].heatmap) for asked in (small, both)
    ] == [
        False,
        True,
    ]


@pytest.mark.parametrize(("annotation", "is_shown"), [("YES", False), ("NO", True)])
def test_film_with_burned_in_identity_has_no_thumbnail(
    screener: Screener, folder: Path, tmp_path: Path, annotation: str, is_shown: bool
) -> None:
    write_dicom(folder / "a.dcm", BurnedInAnnotation=annotation)
    small = ReportImages(tmp_path / ".aside", heatmaps=False, thumbnails=True)
    (row,) = screen(replace(screener, gallery=small)).values()
    assert (row.status, bool(row.thumbnail)) == (Status.SCORED, is_shown)
