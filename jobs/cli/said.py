"""What a report says, in a few lines for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from screening.findings import PNEUMONIA
from screening.printable import printable
from screening.report.drift.lines import breaches
from screening.row import Status

if TYPE_CHECKING:
    from screening.report.write import Report

_SAID: Final = (
    "precision",
    "recall",
    "precision_with_unscored",
    "recall_with_unscored",
    "ppv_projected",
    "npv_projected",
)


def said_of(report: Report) -> Iterator[str]:
    """Counts, labels that were not used, what has drifted, and precision and recall where there are labels."""
    number = Counter(row.status for row in report.rows)
    positive = sum(row.prediction == PNEUMONIA for row in report.rows)
    counts = ", ".join(f"{number[status]} {status.value}" for status in Status)
    yield f"{len(report.rows)} files: {counts}; {positive} called {PNEUMONIA}"
    if report.unused:
        problems = Counter(one.problem.value.replace("_", " ") for one in report.unused)
        counts = ", ".join(f"{count} {problem}" for problem, count in problems.items())
        yield f"Labels not used: {counts}; labels.csv has their lines"
    yield from (printable(f"Drift: {line.sentence}") for line in breaches(report.drift))
    for line in report.lines:
        figure = line.figure
        if (line.subset, line.unit) != ("all", "film") or line.metric not in _SAID:
            continue
        if figure.value is not None and figure.ci_low is not None and figure.ci_high is not None:
            interval = f"{figure.ci_low:.3f} to {figure.ci_high:.3f}"
            name = line.metric.replace("_", " ")
            yield f"{name} {figure.value:.3f} ({interval}, n = {figure.n})"
