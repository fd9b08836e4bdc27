"""Compare the decisions of a converted model with those of the original."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from exports.targets import FLIPS, Target
from screening.inference.heatmap import evidence
from screening.model.calibration import Floats
from screening.model.card import Card
from screening.model.image_gate import ImageGateResult
from screening.model.lungs import LOW_EVIDENCE, LungCard, Mask, is_low, lung_evidence
from screening.model.predictor import Predictor
from screening.model.preprocess import Tensor
from screening.results import CLASSES, PNEUMONIA, POSITIVE, Status

Bools = npt.NDArray[np.bool_]

_Z = 1.959964


@dataclass(frozen=True)
class PairedDifference:
    """A difference of two paired proportions with its 95 % interval.

    Attributes:
        value: the second proportion minus the first; nan if no films were compared.
        low: lower limit of the interval of Agresti and Min (Statistics in Medicine 24, 2005), which
            adds half a film to each cell of the two-by-two table, so that the interval has a width
            even if nothing changes.
        high: upper limit of the same interval.
        n: number of films.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def between(cls, before: Bools, after: Bools) -> "PairedDifference":
        """Compute the difference from two readings of the same n films, each of shape (n,)."""
        n = len(before)
        if n == 0:
            return cls(math.nan, math.nan, math.nan, 0)
        gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
        middle = (gained - lost) / (n + 2)
        spread = (gained + lost + 1) - (gained - lost) ** 2 / (n + 2)
        half = _Z * math.sqrt(spread) / (n + 2)
        return cls((gained - lost) / n, max(-1, middle - half), min(1, middle + half), n)

    def __str__(self) -> str:
        if self.n == 0:
            return "no films"
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for the model card."""
        if self.n == 0:
            return {"value": None, "ci_low": None, "ci_high": None, "n": 0}
        ends = {"value": self.value, "ci_low": self.low, "ci_high": self.high}
        return {name: round(value, 6) for name, value in ends.items()} | {"n": self.n}


PARITY: Final = "parity.csv"

#: Batch size of the original; a target is run with this batch size and film by film.
BATCH: Final = 8

#: Maximum difference of evidence in a map cell, in logits: one hundredth of the colour scale.
CELLS: Final = 0.1


@dataclass(frozen=True)
class Verdict:
    """Status, prediction and warnings of one film in a report; any difference counts as a flip.

    Attributes:
        status: status of the film.
        prediction: predicted class; empty unless the film was scored.
        warnings: codes of the warnings.
    """

    status: Status
    prediction: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def called(self) -> bool:
        """Whether the prediction is pneumonia."""
        return self.prediction == PNEUMONIA

    def __str__(self) -> str:
        return " ".join(filter(None, (self.status, self.prediction, *self.warnings)))


@dataclass(frozen=True, eq=False)
class Answers:
    """Output of a model for n films.

    Attributes:
        probabilities: calibrated P(pneumonia), shape (n,).
        verdicts: one verdict per film.
        maps: evidence per map cell in logits, shape (n, r, c); None if the model gives no map.
    """

    probabilities: Floats
    verdicts: list[Verdict]
    maps: npt.NDArray[np.float32] | None = None


def answers(
    predictor: Predictor,
    tensors: Sequence[Tensor],
    card: Card,
    batch: int,
    masks: Sequence[Mask] | None = None,
) -> Answers:
    """Run `predictor` on `tensors` in batches.

    Args:
        batch: batch size; the last batch may be smaller.
        masks: lung fields of the films; with them `low_lung_evidence` is compared, too.
    """
    parts = [
        predictor.predict(np.stack(tensors[start : start + batch]))
        for start in range(0, len(tensors), batch)
    ]
    scores = np.concatenate([part.scores for part in parts])
    embeddings = np.concatenate([part.embeddings for part in parts])
    maps = [evidence(part.maps) for part in parts if part.maps is not None]
    cells = np.concatenate(maps) if maps else None
    probabilities = card.calibration.probabilities(scores)
    recognised = (
        card.gate.check_film(embeddings) if card.gate else [ImageGateResult()] * len(scores)
    )
    shares = (
        [None] * len(scores)
        if masks is None or cells is None
        else list(map(lung_evidence, cells, masks))
    )
    verdicts = [
        _verdict(float(p), recognition, share, card)
        for p, recognition, share in zip(probabilities, recognised, shares, strict=True)
    ]
    return Answers(probabilities, verdicts, cells)


def _verdict(
    probability: float, recognition: ImageGateResult, share: float | None, card: Card
) -> Verdict:
    """Decide as :mod:`screening.inference.pipeline` does; `share` is the film's lung evidence."""
    if not 0 <= probability <= 1:
        return Verdict(Status.FAILED)
    if recognition.refusal:
        return Verdict(Status.REFUSED)
    codes = tuple(warning.code for warning in recognition.warnings)
    finding = card.operating_point.finding(probability)
    if is_low(share, card.lungs or LungCard(), called=finding == PNEUMONIA):
        codes += (LOW_EVIDENCE,)
    return Verdict(Status.SCORED, finding, codes)


@dataclass(frozen=True, eq=False)
class Parity:
    """Comparison of a target with the original on the same n films.

    Attributes:
        target: the converted format.
        expected: answers of the original.
        given: answers of the target, first in batches, then film by film.
        labels: class indices, shape (n,); -1 if unknown.
    """

    target: Target
    expected: Answers
    given: tuple[Answers, ...]
    labels: npt.NDArray[np.int64]

    @cached_property
    def differences(self) -> Floats:
        """Largest difference in probability per film, shape (n,); infinite if a value is nan."""
        apart = [np.abs(self.expected.probabilities - one.probabilities) for one in self.given]
        return np.asarray(np.max([np.where(np.isnan(d), np.inf, d) for d in apart], axis=0))

    @cached_property
    def flipped(self) -> npt.NDArray[np.bool_]:
        """Whether the verdict of the target differs, per film, at either batch size; shape (n,)."""
        given = zip(*(one.verdicts for one in self.given), strict=True)
        pairs = zip(self.expected.verdicts, given, strict=True)
        return np.array([any(one != expected for one in ones) for expected, ones in pairs], bool)

    @property
    def flips(self) -> int:
        """Number of films with a flipped verdict."""
        return int(self.flipped.sum())

    @property
    def allowed_flips(self) -> int:
        """Maximum number of flips."""
        return max(1, int(FLIPS * len(self.labels)))

    @cached_property
    def cells(self) -> float:
        """Largest difference of evidence in a map cell, in logits.

        Infinite if the target gives no map or a map of another shape; 0 if the original has no map.
        """
        return max(_cells(self.expected.maps, one.maps) for one in self.given)

    def change(self, label: int) -> PairedDifference:
        """Change in sensitivity (positive `label`) or specificity (negative `label`)."""
        positive = label == POSITIVE
        of = self.labels == label
        before, after = (
            np.array([verdict.called == positive for verdict in one.verdicts], bool)[of]
            for one in (self.expected, self.given[0])
        )
        return PairedDifference.between(before, after)

    @property
    def breaches(self) -> list[str]:
        """Messages on all violated limits; empty if there are none."""
        found = []
        largest, tolerance = float(self.differences.max()), self.target.tolerance
        if tolerance is not None and largest > tolerance:
            found.append(f"a probability differs by {largest:.2g}, {tolerance:g} is allowed")
        elif not math.isfinite(largest):
            found.append("a probability is not a number")
        if self.flips > self.allowed_flips:
            found.append(f"{self.flips} decisions differ, {self.allowed_flips} are allowed")
        if not math.isfinite(self.cells):
            found.append("it does not have the class activation map of the original")
        elif tolerance is not None and self.cells > CELLS:
            found.append(
                f"a cell of a map differs by {self.cells:.2g} logits, {CELLS:g} is allowed"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for the model card."""
        return {
            "file": self.target.file,
            "films": len(self.labels),
            "largest_difference": round(float(self.differences.max()), 9),
            "mean_difference": round(float(self.differences.mean()), 9),
            "tolerance": self.target.tolerance,
            "flips": self.flips,
            "allowed_flips": self.allowed_flips,
            "largest_cell_difference": round(self.cells, 9),
            "sensitivity_change": self.change(POSITIVE).as_dict(),
            "specificity_change": self.change(1 - POSITIVE).as_dict(),
        }


def compare(
    target: Target,
    predictor: Predictor,
    expected: Answers,
    tensors: Sequence[Tensor],
    labels: npt.NDArray[np.int64],
    card: Card,
    *,
    masks: Sequence[Mask] | None = None,
) -> Parity:
    """Compare `target`, loaded in its own runtime, with the answers of the original.

    Args:
        predictor: the converted model.
        expected: answers of the original to the same films.
    """
    given = tuple(answers(predictor, tensors, card, batch, masks) for batch in (BATCH, 1))
    return Parity(target, expected, given, labels)


def write_parity(path: Path, films: Sequence[str], parities: Sequence[Parity]) -> None:
    """Write ``parity.csv``: one row per target and film; films are identified by hash, not name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for parity in parities:
            for index, film in enumerate(films):
                writer.writerow([parity.target.name, film, *_cells_of_row(parity, index)])


_COLUMNS: Final = (
    "target",
    "film_sha256",
    "label",
    "keras",
    "batched",
    "alone",
    "difference",
    "flip",
    "keras_says",
    "target_says",
)


def _cells_of_row(parity: Parity, index: int) -> list[object]:
    label = int(parity.labels[index])
    said = list(dict.fromkeys(str(one.verdicts[index]) for one in parity.given))
    return [
        "" if label < 0 else CLASSES[label],
        *(float(one.probabilities[index]) for one in (parity.expected, *parity.given)),
        round(float(parity.differences[index]), 9),
        int(parity.flipped[index]),
        str(parity.expected.verdicts[index]),
        # One text unless the verdict depends on the batch size.
        " / ".join(said),
    ]


def _cells(
    expected: npt.NDArray[np.float32] | None, given: npt.NDArray[np.float32] | None
) -> float:
    if expected is None:
        return 0.0
    if given is None or given.shape != expected.shape:
        return math.inf
    difference = np.abs(expected - given)
    return float(np.where(np.isnan(difference), np.inf, difference).max())


#: Maximum number of characters shown of a failure.
_LONGEST: Final = 500


@dataclass(frozen=True, eq=False)
class ExportResult:
    """Result of exporting one target.

    Attributes:
        target: the exported format.
        size: file size in bytes.
        parity: comparison with the original; None if it was not possible.
        failure: why the comparison was not possible.
    """

    target: Target
    size: int = 0
    parity: Parity | None = None
    failure: str = ""

    @property
    def failures(self) -> list[str]:
        """All failures, one line each; empty if the export succeeded."""
        if self.parity is not None:
            return self.parity.breaches
        # A converter names the failure first, followed by a long list of what did work.
        line = " ".join(self.failure.split()).removeprefix(f"{self.target.name}: ")
        return [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"]

    @property
    def summary(self) -> str:
        """One line on the result, for progress messages."""
        if self.parity is None:
            return f"{self.target.name}: {self.failures[0]}"
        largest = float(self.parity.differences.max())
        return (
            f"{self.target.name}: largest difference {largest:.2g}, "
            f"{self.parity.flips} of {len(self.parity.labels)} decisions differ"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for the model card."""
        return {"bytes": self.size} | (self.parity.as_dict() if self.parity is not None else {})


def table(outcomes: Sequence[ExportResult]) -> str:
    """Format a table of all targets with their figures and failures."""
    head = ("target", "MB", "max |dp|", "mean |dp|", "flips", "sensitivity", "specificity", "")
    rows = [head, *(_row(outcome) for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _row(outcome: ExportResult) -> tuple[str, ...]:
    parity = outcome.parity
    failures = outcome.failures
    if parity is None:
        return (outcome.target.name, "", "", "", "", "", "", f"FAILED: {failures[0]}")
    return (
        outcome.target.name,
        f"{outcome.size / 1e6:.2f}",
        f"{parity.differences.max():.2g}",
        f"{parity.differences.mean():.2g}",
        f"{parity.flips}/{len(parity.labels)}",
        str(parity.change(POSITIVE)),
        str(parity.change(1 - POSITIVE)),
        "FAILED: " + "; ".join(failures) if failures else "ok",
    )
