"""Does a converted model decide as the original does?"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from exports.targets import FLIPS, Target
from screening.card import Card
from screening.decision import Floats
from screening.predictor import Predictor
from screening.preprocess import Tensor

PARITY: Final = "parity.csv"
_BATCH: Final = 8


@dataclass(frozen=True, eq=False)
class Parity:
    """A target beside the original, on the same films.

    Attributes:
        expected: calibrated probabilities of the original, shape (n,).
        given: those of the target.
        flips: films whose decision differs.
    """

    target: Target
    expected: Floats
    given: Floats
    threshold: float

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
        }


def probabilities(predictor: Predictor, tensors: Sequence[Tensor], card: Card) -> Floats:
    """Calibrated probabilities, shape (n,), computed in batches of eight and a rest."""
    parts: list[npt.NDArray[np.float64]] = []
    for start in range(0, len(tensors), _BATCH):
        batch = np.stack(tensors[start : start + _BATCH])
        parts.append(card.calibration.probabilities(predictor.predict(batch).scores))
    return np.concatenate(parts)


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
