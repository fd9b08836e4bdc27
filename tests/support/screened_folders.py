"""Folders that tests screen, and a predictor that says what it is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from makers import dicom_bytes, dicom_film, grey_film
from screening.files import discover
from screening.inference.pipeline import Screener, Seen
from screening.model.predictor import Prediction
from screening.results import Row


class Answers:
    """A predictor that gives these scores for pneumonia, whatever it is shown."""

    target = "fake"
    runtime = "fake/answers 1"

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        p = np.array([self.scores.pop(0) for _ in tensors], np.float32)
        return Prediction(np.stack([1 - p, p], axis=1), np.zeros((len(tensors), 1), np.float32))


def screen(screener: Screener) -> dict[str, Row]:
    """Screen the whole folder as one batch."""
    return {row.film: row for row in screener.screen(discover(screener.folder), Seen())}


def screen_one_by_one(screener: Screener) -> dict[str, Row]:
    seen = Seen()
    rows = [screener.screen([found], seen)[0] for found in discover(screener.folder)]
    return {row.film: row for row in rows}


def write_dicom(path: Path, seed: int = 1, **attributes: object) -> Path:
    # With this window, grey = stored / 255 (PS3.3 C.11.2.1.2.1).
    window = {"WindowCenter": 128, "WindowWidth": 256}
    path.write_bytes(dicom_bytes(dicom_film(grey_film(seed), **window | attributes)))
    return path


def without_times(rows: dict[str, Row]) -> list[Row]:
    return [replace(row, screened_at="", seconds=0.0) for row in rows.values()]
