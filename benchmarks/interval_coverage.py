"""Measure the coverage of 95 % intervals: ``python benchmarks/interval_coverage.py --out CSV``.

Films are drawn from populations with known true values, and the figures of a report are computed
from them. The averages are listed in ``benchmarks/README.md``, the whole grid in
``interval_coverage.csv``.
"""

import argparse
import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import product
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from screening.model.calibration import DECIMALS
from screening.report.metrics import Scored, performance

FILMS: Final = (20, 50, 100, 200, 500, 2000)
PREVALENCES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

#: Maximum number of films per patient; the minimum is one.
MOST: Final = (1, 3, 10)

#: Area under the ROC curve, and the shift of the log odds of calibrated probabilities.
MODELS: Final = ((0.80, 0.0), (0.90, 0.7), (0.97, -0.7))

_SENSITIVITY: Final = 0.9

# Correlation between films of a patient: of the latent disease variable, and of the scores.
_LABELS: Final = 0.5
_SCORES: Final = 0.4

#: Coverage is promised from 100 films, if at least this many of the rarer class are expected.
EXPECTED: Final = 10


@dataclass(frozen=True)
class Cell:
    """A population and the number of films drawn from it."""

    films: int
    prevalence: float
    most: int
    model_auroc: float
    shift: float

    @property
    def promised(self) -> bool:
        """Whether the nominal coverage is promised for this cell, on average over prevalence."""
        rarer = min(self.prevalence, 1 - self.prevalence)
        return self.films >= 100 and self.films * rarer >= EXPECTED - 1e-9

    @property
    def distance(self) -> float:
        """Distance between the mean scores of the classes, in standard deviations."""
        return float(np.sqrt(2) * ndtri(self.model_auroc))

    @property
    def threshold(self) -> float:
        """Threshold of the score."""
        return self.distance - float(ndtri(_SENSITIVITY))

    def probability(self, score: np.ndarray) -> np.ndarray:
        """Compute the probability as a card's calibration does: by Bayes, shifted, six decimals."""
        odds = self.distance * (score - self.distance / 2) + logit(self.prevalence) + self.shift
        return np.round(expit(odds), DECIMALS)

    def draw(self, rng: np.random.Generator) -> Scored:
        """Draw patients until there are enough films; the films of a patient are correlated."""
        sizes = rng.integers(1, self.most + 1, self.films)
        patient = np.repeat(np.arange(self.films), sizes)[: self.films]
        disease, score = (
            np.sqrt(alike) * rng.standard_normal(self.films)[patient]
            + np.sqrt(1 - alike) * rng.standard_normal(self.films)
            for alike in (_LABELS, _SCORES)
        )
        positive = disease > ndtri(1 - self.prevalence)
        score += self.distance * positive
        return Scored(positive, self.probability(score), score >= self.threshold, patient)


def truth(cell: Cell) -> dict[str, float]:
    """Compute the true values of the population by sums over a fine grid of scores."""
    edges = np.linspace(-8, 8 + cell.distance, 400_001)
    middle = (edges[1:] + edges[:-1]) / 2
    sick = np.diff(ndtr(edges - cell.distance)) * cell.prevalence
    well = np.diff(ndtr(edges)) * (1 - cell.prevalence)
    p = cell.probability(middle)
    bins = np.minimum((p * 10).astype(int), 9)
    tp = cell.prevalence * ndtr(cell.distance - middle)
    fp = (1 - cell.prevalence) * ndtr(-middle)
    found = _SENSITIVITY * cell.prevalence
    cleared = float(ndtr(cell.threshold)) * (1 - cell.prevalence)
    false, missed = 1 - cell.prevalence - cleared, cell.prevalence - found
    return {
        "precision": found / (found + false),
        "recall": _SENSITIVITY,
        "specificity": cleared / (cleared + false),
        "npv": cleared / (cleared + missed),
        "accuracy": found + cleared,
        "balanced_accuracy": (_SENSITIVITY + cleared / (cleared + false)) / 2,
        "f1": 2 * found / (2 * found + false + missed),
        "auroc": cell.model_auroc,
        "average_precision": float(np.sum(sick * tp / (tp + fp)) / cell.prevalence),
        "brier": float(np.sum(sick * (1 - p) ** 2 + well * p**2)),
        "calibration_error": float(np.abs(np.bincount(bins, (sick + well) * p - sick)).sum()),
    }


@dataclass(frozen=True)
class Held:
    """Coverage of the intervals of a cell, in the rounds that had an interval.

    Attributes:
        cell: the population.
        rounds: number of draws.
        held: coverage by metric, 0..1; None if no round had an interval.
    """

    cell: Cell
    rounds: int
    held: dict[str, float | None]


def held(cell: Cell, rounds: int, seed: int) -> Held:
    """Draw films many times and count how often the intervals contain the true values."""
    rng = np.random.default_rng([seed, *(round(1000 * x) % 2**32 for x in astuple(cell))])
    true = truth(cell)
    hits: dict[str, list[bool]] = {name: [] for name in true}
    for _ in range(rounds):
        for name, figure in performance(cell.draw(rng)).items():
            if figure.ci_low is not None and figure.ci_high is not None:
                # Allows for rounding.
                hits[name].append(figure.ci_low - 1e-9 <= true[name] <= figure.ci_high + 1e-9)
    return Held(cell, rounds, {name: _mean(some) for name, some in hits.items()})


def averages(results: Iterable[Held]) -> dict[tuple[int, int], dict[str, float | None]]:
    """Average over prevalences and models, for the cells with promised coverage.

    Returns:
        Coverage by metric, for each number of films and maximum number of films per patient.
    """
    cells: dict[tuple[int, int], list[Held]] = {}
    for result in results:
        if result.cell.promised:
            cells.setdefault((result.cell.films, result.cell.most), []).append(result)
    return {
        key: {
            name: _mean([h for one in some if (h := one.held[name]) is not None])
            for name in some[0].held
        }
        for key, some in sorted(cells.items())
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _held(arguments: tuple[Cell, int, int]) -> Held:
    return held(*arguments)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _write(path: Path, results: Sequence[Held]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [field.name for field in fields(Cell)]
        writer.writerow([*names, "rounds", *results[0].held])
        for one in results:
            writer.writerow([*astuple(one.cell), one.rounds, *map(_percent, one.held.values())])


def _show(results: Sequence[Held]) -> None:
    names = list(results[0].held)
    print("| films | of a patient |", " | ".join(name.replace("_", " ") for name in names), "|")
    print("| --- " * (len(names) + 2) + "|")
    for (films, most), mean in averages(results).items():
        of = "1" if most == 1 else f"1 to {most}"
        print(f"| {films} | {of} |", " | ".join(map(_percent, mean.values())), "|")


def main() -> None:
    """Print the averages in Markdown and write the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cells = [
        Cell(films, prevalence, most, *model)
        for films, prevalence, most, model in product(FILMS, PREVALENCES, MOST, MODELS)
    ]
    work: list[Any] = [(cell, arguments.rounds, arguments.seed) for cell in cells]
    with Pool() as pool:
        results = list(pool.imap(_held, work))
    _write(arguments.out, results)
    _show(results)


if __name__ == "__main__":
    main()
