"""Summarise a report: counts of films, performance of the decisions, and both by subset."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from screening.report.drift.drift_csv import Drift
from screening.report.intervals import NOTES, Figure, share
from screening.report.labels import LabelProblem, Unused
from screening.report.metrics import Unit, cases, confusion, judged, numbers, performance, unscored
from screening.report.operating_points import project
from screening.results import LINE_END, PNEUMONIA, Status, cell

SUMMARY: Final = "summary.csv"
_COLUMNS: Final = ("metric", "value", "ci_low", "ci_high", "n", "subset", "unit", "note")
ALL: Final = "all"

#: Kinds of subsets and their columns. A subset is named like ``view=PA``; films without a value are
#: in no subset of that kind.
_SUBSETS: Final = {
    "view": "view",
    "sex": "sex",
    "age": "age_band",
    "manufacturer": "manufacturer",
    "folder": "folder",
}

#: Most subsets of a kind that are listed; more are not useful, e.g. one folder per patient.
_MOST: Final = 50

_LABEL_COUNTS: Final = {
    LabelProblem.NO_FILM: "labels_without_film",
    LabelProblem.AMBIGUOUS: "labels_ambiguous",
    LabelProblem.CONFLICTING: "labels_conflicting",
    LabelProblem.DUPLICATE: "labels_duplicate",
    LabelProblem.UNKNOWN_LABEL: "labels_unknown",
}

_PLURAL: Final = {Unit.PATIENT: "patients", Unit.STUDY: "studies"}
_OF_SEVERAL: Final = "flagged if any of its films is flagged, with their highest probability"
_MISSED: Final = "refused and failed films count as not flagged"


@dataclass(frozen=True)
class SummaryLine:
    """A line of ``summary.csv``.

    Attributes:
        subset: ``all``, or a subset such as ``view=PA``.
        unit: the unit that was counted.
    """

    metric: str
    figure: Figure
    subset: str = ALL
    unit: Unit = Unit.FILM


def summarise(
    films: pd.DataFrame, unused: Sequence[Unused] | None = None, prevalence: float | None = None
) -> list[SummaryLine]:
    """Return all lines of the summary: counts, then performance, then both by subset.

    Args:
        films: from :func:`~screening.report.metrics.table_of`.
        unused: lines of the labels file that were not used; None without a labels file.
        prevalence: share of films with pneumonia for which to project predictive values, 0..1.
    """
    lines = [*_counts(films, ALL), *_label_counts(unused, len(films))]
    lines += _performance(films, ALL)
    lines += _projected(lines, prevalence)
    for unit in (Unit.PATIENT, Unit.STUDY):
        lines += _units(films, unit)
    for kind, column in _SUBSETS.items():
        lines += _subsets(films, kind, column)
    return lines


def drifted(drift: Iterable[Drift]) -> Iterator[SummaryLine]:
    """Yield a line for each drift comparison, with its control limits in place of the interval."""
    for each in drift:
        note = "breach" if each.breach else "" if each.value is not None else each.sentence
        figure = Figure(each.value, each.low, each.high, each.n, note)
        yield SummaryLine(f"drift:{each.measure}", figure, f"{each.window} against {each.against}")


def write_summary(path: Path, lines: Sequence[SummaryLine]) -> None:
    """Write ``summary.csv``; an undefined value is an empty cell with a note, never 0."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(_COLUMNS)
        for line in lines:
            figure = line.figure
            values = (figure.value, figure.ci_low, figure.ci_high)
            about = (cell(line.subset), line.unit.value, _note(figure.note))
            writer.writerow([line.metric, *map(_number, values), figure.n, *about])


def _counts(films: pd.DataFrame, subset: str) -> Iterator[SummaryLine]:
    total = len(films)
    yield _count("files", total, total, subset)
    for status in Status:
        yield _count(status.value, (films.status == status).sum(), total, subset)
    called = films.prediction != ""
    yield _count("called_pneumonia", (films.prediction == PNEUMONIA).sum(), called.sum(), subset)
    yield _count("labelled", (films.label != "").sum(), total, subset)


def _label_counts(unused: Sequence[Unused] | None, files: int) -> Iterator[SummaryLine]:
    if unused is not None:
        problems = Counter(one.problem for one in unused)
        for problem, name in _LABEL_COUNTS.items():
            yield _count(name, problems[problem], files, ALL)


def _performance(films: pd.DataFrame, subset: str) -> Iterator[SummaryLine]:
    own = judged(films)
    if own.empty:
        if subset == ALL:
            for name, figure in performance(cases(own)).items():
                yield SummaryLine(name, replace(figure, note="no_labels"))
        return
    yield _count("patients", own.owner.nunique(), len(own), subset)
    yield _count("films_without_patient", (own.patient == "").sum(), len(own), subset)
    yield from _figures(own, subset, Unit.FILM)
    yield from _with_unscored(own, unscored(films), subset)


def _figures(own: pd.DataFrame, subset: str, unit: Unit) -> Iterator[SummaryLine]:
    scored = cases(own, unit)
    for name, number in confusion(scored).items():
        yield _count(name, number, len(scored.positive), subset, unit)
    for name, figure in performance(scored).items():
        yield SummaryLine(name, figure, subset, unit)


def _with_unscored(own: pd.DataFrame, missing: pd.DataFrame, subset: str) -> Iterator[SummaryLine]:
    """Yield precision and recall with films without a prediction counted as not called."""
    if missing.empty:
        return
    both = pd.concat([own, missing])
    patient, right = numbers(both.owner), (both.outcome == "TP").to_numpy()
    of = {"precision": both.prediction == PNEUMONIA, "recall": both.label == PNEUMONIA}
    yield _count("unscored", len(missing), len(both), subset)
    yield _count("unscored_pneumonia", (missing.label == PNEUMONIA).sum(), len(missing), subset)
    for name, which in of.items():
        these = which.to_numpy(bool)
        figure = share(right[these], patient[these])
        note = _together(_MISSED, figure.note)
        yield SummaryLine(f"{name}_with_unscored", replace(figure, note=note), subset)


def _projected(lines: Sequence[SummaryLine], prevalence: float | None) -> Iterator[SummaryLine]:
    """Yield the predictive values at the given prevalence, by Bayes' theorem.

    Both increase with sensitivity and with specificity, so the lower ends of the two intervals give
    a lower end and the upper ends an upper one. The interval is conservative.
    """
    if prevalence is None:
        return
    figures = {line.metric: line.figure for line in lines}
    sensitivity, specificity = figures["recall"], figures["specificity"]
    value, low, high = (
        project(getattr(sensitivity, end), getattr(specificity, end), prevalence)
        for end in ("value", "ci_low", "ci_high")
    )
    n = sensitivity.n + specificity.n
    note = _together(f"prevalence {prevalence:g}", sensitivity.note, specificity.note)
    yield SummaryLine("ppv_projected", Figure(value.ppv, low.ppv, high.ppv, n, note))
    yield SummaryLine("npv_projected", Figure(value.npv, low.npv, high.npv, n, note))


def _units(films: pd.DataFrame, unit: Unit) -> Iterator[SummaryLine]:
    """Yield performance by patient or study, if any is known."""
    own = judged(films)
    known = own[own["patient" if unit is Unit.PATIENT else "study"] != ""]
    if known.empty:
        return
    number = (own.owner if unit is Unit.PATIENT else known.study).nunique()
    figure = Figure(number, None, None, len(own), _OF_SEVERAL)
    yield SummaryLine(_PLURAL[unit], figure, unit=unit)
    yield from _figures(own, ALL, unit)


def _subsets(films: pd.DataFrame, kind: str, column: str) -> Iterator[SummaryLine]:
    known = films[films[column] != ""]
    number = known[column].nunique()
    if kind == "folder" and number == 1:
        return
    if number > _MOST:
        note = f"more than {_MOST} are not reported separately"
        yield SummaryLine(f"{kind}_subsets", Figure(number, None, None, len(known), note))
        return
    for value, subset in known.groupby(column):
        yield from _counts(subset, f"{kind}={value}")
        yield from _performance(subset, f"{kind}={value}")


def _count(metric: str, number: int, n: int, subset: str, unit: Unit = Unit.FILM) -> SummaryLine:
    return SummaryLine(metric, Figure(int(number), None, None, int(n)), subset, unit)


def _note(note: str) -> str:
    """Return a code of a note with its sentence; any other text unchanged."""
    return f"{note}: {NOTES[note]}" if note in NOTES else note


def _together(*notes: str) -> str:
    return "; ".join(dict.fromkeys(_note(note) for note in notes if note))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int | np.integer) else f"{value:.6g}"
