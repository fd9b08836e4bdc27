"""Does a converted model decide as the original does?"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from exports.targets import FLIPS, Target
from screening.card import Card
from screening.decision import Floats
from screening.heatmap import evidence
from screening.predictor import Prediction, Predictor
from screening.preprocess import Tensor

PARITY: Final = "parity.csv"
_BATCH: Final = 8

#: Largest allowed difference of evidence in a cell, in logits: a step of a hundredth of the colours.
CELLS: Final = 0.1


@dataclass(frozen=True, eq=False)
class Parity:
    """A target beside the original, on the same films.

    Attributes:
        expected: calibrated probabilities of the original, shape (n,).
        given: those of the target.
        flips: films whose decision differs.
        cells: largest difference of evidence in a cell of a map, in logits; infinite if the target
            gives no map, or one of another shape; 0 if the original has none.
    """

    target: Target
    expected: Floats
    given: Floats
    threshold: float
    cells: float = 0.0

    @property
    def largest(self) -> float:
        """Largest difference of a probability; infinite if one is no number."""
        difference = np.abs(self.expected - self.given)
        return float(np.where(np.isnan(difference), np.inf, difference).max())

    @property
    def flips(self) -> int:
        """Films whose decision differs."""
        t = self.threshold
        return int(np.sum((self.expected >= t) != (self.given >= t)))

    @property
    def breach(self) -> str:
        """What is wrong with this export; empty if nothing is."""
        allowed = max(1, int(FLIPS * len(self.expected)))
        if self.largest > self.target.tolerance:
            return (
                f"a probability differs by {self.largest:.2g}, {self.target.tolerance:g} is allowed"
            )
        if self.flips > allowed:
            return f"{self.flips} decisions differ, {allowed} may"
        if not np.isfinite(self.cells):
            return "it does not give the class activation map of the original"
        if self.cells > CELLS:
            return f"a cell of a map differs by {self.cells:.2g} logits, {CELLS:g} is allowed"
        return ""

    def as_dict(self) -> dict[str, Any]:
        """What the card records."""
        return {
            "file": self.target.file,
            "films": len(self.expected),
            "largest_difference": round(self.largest, 9),
            "mean_difference": round(float(np.abs(self.expected - self.given).mean()), 9),
            "flips": self.flips,
            "tolerance": self.target.tolerance,
            "largest_cell_difference": round(self.cells, 9),
        }


def probabilities(predictor: Predictor, tensors: Sequence[Tensor], card: Card) -> Floats:
    """Calibrated probabilities, shape (n,), computed in batches of eight and a rest."""
    return card.calibration.probabilities(predicted(predictor, tensors).scores)


def predicted(predictor: Predictor, tensors: Sequence[Tensor]) -> Prediction:
    """All answers but the embeddings, computed likewise."""
    parts = []
    for start in range(0, len(tensors), _BATCH):
        batch = np.stack(tensors[start : start + _BATCH])
        answers = predictor.predict(batch)
        parts.append(replace(answers, embeddings=np.empty((len(batch), 0), np.float32)))
    maps = [part.maps for part in parts if part.maps is not None]
    return Prediction(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate(maps) if maps else None,
    )


def compare(target: Target, expected: Prediction, given: Prediction, card: Card) -> Parity:
    """`target` beside the original, on the same films."""
    probabilities_of = card.calibration.probabilities
    return Parity(
        target,
        probabilities_of(expected.scores),
        probabilities_of(given.scores),
        card.operating_point.threshold,
        _cells(expected.maps, given.maps),
    )


def write_parity(path: Path, films: Sequence[str], parities: Sequence[Parity]) -> None:
    """Write ``parity.csv``: one row for each target and film; films go by hash, not by name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["target", "film_sha256", "keras", "target_probability", "difference", "flip"]
        )
        for parity in parities:
            t = parity.threshold
            pairs = zip(films, parity.expected.tolist(), parity.given.tolist(), strict=True)
            for film, expected, given in pairs:
                flip = int((expected >= t) != (given >= t))
                difference = round(abs(expected - given), 9)
                writer.writerow([parity.target.name, film, expected, given, difference, flip])


def _cells(
    expected: npt.NDArray[np.float32] | None, given: npt.NDArray[np.float32] | None
) -> float:
    if expected is None:
        return 0.0
    if given is None or given.shape != expected.shape:
        return math.inf
    difference = np.abs(evidence(expected) - evidence(given))
    return float(np.where(np.isnan(difference), np.inf, difference).max())
