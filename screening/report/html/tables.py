"""Arrange lines of the summary as tables for the page; missing lines are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from screening.report.html.components import DASH, between, count, number, shown
from screening.report.intervals import NOTES, Figure
from screening.report.metrics import Unit
from screening.report.summary import ALL, SummaryLine

#: Metrics in the order of the page, with display names.
METRICS: Final = {
    "recall": "Sensitivity (recall)",
    "recall_with_unscored": "Sensitivity, with films without a prediction counted as not flagged",
    "specificity": "Specificity",
    "precision": "Positive predictive value (precision)",
    "precision_with_unscored": "Positive predictive value, with films without a prediction counted as not flagged",
    "npv": "Negative predictive value",
    "ppv_projected": "Positive predictive value, projected",
    "npv_projected": "Negative predictive value, projected",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
}

_KINDS: Final = {
    "view": "View",
    "sex": "Sex",
    "age": "Age band",
    "manufacturer": "Manufacturer",
    "folder": "Folder",
}
_COUNTS: Final = {"files": "files", "scored": "scored", "called_pneumonia": "flagged"}
_SHARES: Final = {
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "PPV",
    "auroc": "AUROC",
}
#: Shown for films that are directly in the screened folder.
_NO_FOLDER: Final = "(none)"

#: Most subsets of one kind in a table.
_MOST: Final = 20


@dataclass(frozen=True)
class Subsets:
    """A table of subsets of one kind.

    Attributes:
        rows: the name, and for each column a value with its interval or an empty string.
        left_out: number of further subsets in the summary.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    left_out: int


def performance_table(lines: Sequence[SummaryLine]) -> dict[str, Any]:
    """Return metrics of films, and of patients and studies where known.

    Returns:
        ``groups``, names of the units; ``rows``, each the metric's name and for each unit its
        value, its interval and n; ``notes``, pairs of metric names and a sentence about them.
    """
    by = {(line.unit, line.metric): line.figure for line in lines if line.subset == ALL}
    units = [unit for unit in Unit if any((unit, metric) in by for metric in METRICS)]
    known = {
        name: [by.get((unit, metric)) for unit in units]
        for metric, name in METRICS.items()
        if any((unit, metric) in by for unit in units)
    }
    return {
        "groups": [f"per {unit.value}" for unit in units],
        "rows": [
            [name, *(cell for figure in figures for cell in _cells(figure))]
            for name, figures in known.items()
        ],
        "notes": _notes(known),
    }


def subset_tables(lines: Sequence[SummaryLine]) -> list[Subsets]:
    """Return a table for each kind of subset, the largest subsets first."""
    found: dict[str, dict[str, dict[str, Figure]]] = {}
    for line in lines:
        kind, equals, value = line.subset.partition("=")
        if equals and kind in _KINDS:
            found.setdefault(kind, {}).setdefault(value, {})[line.metric] = line.figure
    return [_subsets(_KINDS[kind], found[kind]) for kind in _KINDS if kind in found]


def too_many(lines: Sequence[SummaryLine]) -> list[str]:
    """Return sentences on kinds that have too many subsets for the summary."""
    figures = {line.metric: line.figure for line in lines}
    return [
        f"{name}: {count(figures[f'{kind}_subsets'].value)} values; {figures[f'{kind}_subsets'].note}."
        for kind, name in _KINDS.items()
        if f"{kind}_subsets" in figures
    ]


def _notes(known: Mapping[str, Sequence[Figure | None]]) -> list[tuple[str, str]]:
    """Collect the notes of figures; figures with the same note share one entry."""
    about: dict[str, list[str]] = {}
    for name, figures in known.items():
        notes = {figure.note for figure in figures if figure is not None and figure.note}
        for note in sorted(notes):
            about.setdefault(NOTES.get(note, note), []).append(name)
    return [
        ("All figures" if len(names) == len(known) else "; ".join(names), sentence)
        for sentence, names in about.items()
    ]


def _subsets(title: str, values: Mapping[str, Mapping[str, Figure]]) -> Subsets:
    def films(name: str) -> float:
        return -(values[name]["files"].value or 0) if "files" in values[name] else 0

    ranked = sorted(values, key=lambda name: (films(name), name))[:_MOST]
    shares = [metric for metric in _SHARES if any(metric in values[name] for name in ranked)]
    rows = []
    for name in ranked:
        own = values[name]
        cells = [(count(own[metric].value) if metric in own else DASH, "") for metric in _COUNTS]
        cells += [_share(own.get(metric)) for metric in shares]
        rows.append((_NO_FOLDER if name == "." else shown(name, 60), cells))
    columns = [*_COUNTS.values(), *(_SHARES[metric] for metric in shares)]
    return Subsets(title, columns, rows, len(values) - len(ranked))


def _share(figure: Figure | None) -> tuple[str, str]:
    if figure is None or figure.value is None:
        return DASH, ""
    return number(figure.value), between(figure.ci_low, figure.ci_high)


def _cells(figure: Figure | None) -> tuple[str, str, str]:
    """Format value, interval and n; empty strings if the summary has no such line."""
    if figure is None:
        return "", "", ""
    return *_share(figure), count(figure.n)
