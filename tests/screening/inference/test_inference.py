"""Films can be processed anywhere and in any batches; only their rows depend on each other."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from makers import BrightnessPredictor, encoded, grey_film, write_film
from screened_folders import screen, without_times
from screening.files import discover
from screening.inference.inference import InferenceResult
from screening.inference.pipeline import Screener, Seen
from screening.inference.reader import ReadFilm
from screening.inference.report_images import THUMBNAILS, ReportImages
from screening.results import Reason, Status


@pytest.fixture
def full(screener: Screener, folder: Path) -> Screener:
    """A screener for a folder with duplicates, equal pixels in different files, and other files."""
    for name, seed in {"a": 1, "b": 2, "c": 1, "e": 3, "f": 2}.items():
        write_film(folder / f"{name}.png", seed, 0.3 + seed / 10)
    (folder / "d.png").write_bytes(encoded(grey_film(1, 0.4)) + b"more")
    (folder / "g.txt").write_text("hello")
    (folder / "h.png").touch()
    return screener


def read(screener: Screener) -> list[ReadFilm]:
    return [screener.reader.read(found) for found in discover(screener.folder)]


def test_result_is_small_and_survives_pickling(full: Screener) -> None:
    films = full.examiner.examine(read(full))
    assert all(examined.film.tensor is None for examined in films)
    sent = pickle.dumps(films)
    assert len(sent) < 1000 * len(films)
    rows = full.rows(pickle.loads(sent), Seen())  # noqa: S301  # its own
    assert without_times({row.film: row for row in rows}) == without_times(screen(full))


@given(sizes=st.lists(st.integers(1, 4), min_size=8, max_size=8))
@settings(
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_rows_do_not_depend_on_the_batches(full: Screener, sizes: list[int]) -> None:
    films, seen, rows = read(full), Seen(), []
    for size in sizes:
        # Each batch is processed without knowledge of the others.
        rows += full.rows(full.examiner.examine(films[:size]), seen)
        films = films[size:]
    assert without_times({row.film: row for row in rows}) == without_times(screen(full))


def test_known_films_and_copies_are_not_predicted(full: Screener) -> None:
    films = read(full)
    full.examiner.examine(films, known={films[0].sha256})
    assert isinstance(full.predictor, BrightnessPredictor)
    # b and e, and d with the pixels of a; not a, nor the copies c and f.
    assert full.predictor.batches == [3]


def test_only_the_first_of_equal_films_gets_an_image(full: Screener, tmp_path: Path) -> None:
    small = ReportImages(tmp_path / ".aside", heatmaps=False, thumbnails=True)
    films = replace(full, gallery=small).examiner.examine(read(full))
    drawn = [examined.film.film for examined in films if THUMBNAILS in examined.pictures]
    assert drawn == ["a.png", "b.png", "d.png", "e.png"]


def test_row_names_the_runtime_that_processed_the_film(full: Screener) -> None:
    elsewhere = [replace(one, runtime="fake/2") for one in full.examiner.examine(read(full))]
    assert {row.runtime for row in full.rows(elsewhere, Seen())} == {"fake/2"}


def test_film_without_a_prediction_has_a_row(screener: Screener) -> None:
    lost = ReadFilm("a.png", "0" * 64, status=Status.FAILED, reason=Reason("killed_worker"))
    (row,) = screener.rows([InferenceResult(lost)], Seen())
    assert (row.film, row.status, row.reason, row.runtime) == (
        "a.png",
        Status.FAILED,
        lost.reason,
        screener.predictor.runtime,
    )
