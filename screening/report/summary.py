"""The summary of a report: what happened to the films, and how good the decisions were."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from screening.findings import PNEUMONIA
from screening.report.intervals import Figure
from screening.report.metrics import Scored, confusion, performance
from screening.row import COLUMNS, LINE_END, Row, Status, cell

SUMMARY: Final = "summary.csv"
_COLUMNS: Final = ("metric", "value", "ci_low", "ci_high", "n", "subset")
_ALL: Final = "all"

#: A subset is named ``view=PA``; films without a value are in no subset of that kind.
_SUBSETS: Final = {
    "view": "view",
    "sex": "sex",
    "age": "age_band",
    "manufacturer": "manufacturer",
}


@dataclass(frozen=True)
class Line:
    """A line of ``summary.csv``."""

    metric: str
    figure: Figure
    subset: str


def summarise(rows: Sequence[Row], labels_without_film: int) -> list[Line]:
    """All lines of the summary: counts first, then performance, then the same by subset."""
    films = pd.DataFrame([row.as_dict() for row in rows], columns=list(COLUMNS))
    lines = [*_counts(films, _ALL)]
    if films.label.any() or labels_without_film:
        lines.append(_count("labels_without_film", labels_without_film, len(rows), _ALL))
    lines += _performance(films, _ALL)
    for kind, column in _SUBSETS.items():
        for value, subset in films[films[column] != ""].groupby(column):
            lines += _counts(subset, f"{kind}={value}")
            lines += _performance(subset, f"{kind}={value}")
    return lines


def write_summary(path: Path, lines: Sequence[Line]) -> None:
    """Write ``summary.csv``; what is undefined is an empty cell, never 0."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(_COLUMNS)
        for line in lines:
            figure = line.figure
            values = (figure.value, figure.ci_low, figure.ci_high)
            writer.writerow([line.metric, *map(_number, values), figure.n, cell(line.subset)])


def _counts(films: pd.DataFrame, subset: str) -> Iterator[Line]:
    total = len(films)
    yield _count("files", total, total, subset)
    for status in Status:
        yield _count(status.value, (films.status == status).sum(), total, subset)
    called = films.prediction != ""
    yield _count("called_pneumonia", (films.prediction == PNEUMONIA).sum(), called.sum(), subset)
    yield _count("labelled", (films.label != "").sum(), total, subset)


def _performance(films: pd.DataFrame, subset: str) -> Iterator[Line]:
    judged = films[films.outcome != ""]
    if judged.empty:
        return
    # Without a patient each film is its own; the count of such films says how far that went.
    unknown = judged.patient == ""
    patients = judged.patient.where(~unknown, "film " + judged.film)
    scored = Scored(
        positive=(judged.label == PNEUMONIA).to_numpy(),
        probability=judged.probability.to_numpy(np.float64),
        called=(judged.prediction == PNEUMONIA).to_numpy(),
        patient=patients.factorize()[0].astype(np.int64),
    )
    yield _count("patients", patients.nunique(), len(judged), subset)
    yield _count("films_without_patient", unknown.sum(), len(judged), subset)
    for name, number in confusion(scored).items():
        yield _count(name, number, len(judged), subset)
    for name, figure in performance(scored).items():
        yield Line(name, figure, subset)


def _count(metric: str, number: int, n: int, subset: str) -> Line:
    return Line(metric, Figure(int(number), None, None, int(n)), subset)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
