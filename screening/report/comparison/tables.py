"""What a comparison writes: its figures, and the films that changed."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from screening.errors import ReportError
from screening.report.comparison.compare import Comparison, Pair
from screening.report.comparison.paired import Contrast
from screening.row import LINE_END, Row, Status, cell
from screening.whole import whole

COMPARISON: Final = "comparison.csv"
CHANGED: Final = "changed.csv"

_COLUMNS: Final = ("metric", "a", "b", "difference", "ci_low", "ci_high", "p", "n", "note")
_OF_EACH: Final = ("status", "probability", "prediction")
_CHANGED_COLUMNS: Final = (
    *("film", "sha256", "label"),
    *(f"{name}_{side}" for side in "ab" for name in _OF_EACH),
)

# With fewer films intervals are too narrow, if they are of few patients.
_MANY: Final = 100

#: What a figure's interval and p are of.
_NOTES: Final = {
    "called": "share of films called pneumonia; McNemar's exact test",
    "agreement": "interval of the value, not of a difference",
    "kappa": "interval of the value, not of a difference",
    "sensitivity": "among films with pneumonia; McNemar's exact test",
    "specificity": "among films without pneumonia; McNemar's exact test",
    "accuracy": "among all labelled films; McNemar's exact test",
    "auroc": "DeLong's test; interval by resampling patients",
}


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write the folder: whole, or not at all.

    Raises:
        ReportError: if it holds something already, or cannot be written.
    """
    try:
        with whole(folder) as aside:
            _write(aside / COMPARISON, _COLUMNS, _lines(comparison))
            changed = [pair for pair in comparison.pairs if pair.is_changed]
            films = map(_film, [*changed, *comparison.only])
            _write(aside / CHANGED, _CHANGED_COLUMNS, films)
    except OSError as error:
        raise ReportError(f"the folder {folder} cannot be written: {error.strerror}") from error


def _write(path: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(columns)
        writer.writerows(map(cell, line) for line in lines)


def _lines(comparison: Comparison) -> Iterator[Sequence[object]]:
    for name, (a, b) in comparison.made_with.items():
        yield _line(name, a, b)
    in_both = len(comparison.pairs)
    only_a = sum(pair.a is not None for pair in comparison.only)
    yield _line("only_in_one", only_a, len(comparison.only) - only_a, n=in_both)
    yield _line(
        "copies", *comparison.copies, note="rows left out: they have no answer of their own"
    )
    for status in (Status.SCORED, Status.REFUSED, Status.FAILED):
        number_a = sum(pair.a is not None and pair.a.status is status for pair in comparison.pairs)
        number_b = sum(pair.b is not None and pair.b.status is status for pair in comparison.pairs)
        yield _line(status.value, number_a, number_b, n=in_both)
    for (was, became), number in sorted(comparison.flips.items()):
        note = f"films that A calls {was} and B {became}"
        yield _line("changed", "", "", n=number, note=note)
    for name, figure in comparison.figures.items():
        yield _figure(name, figure)


def _line(metric: str, a: object, b: object, n: object = "", note: str = "") -> Sequence[object]:
    return (metric, a, b, "", "", "", "", n, note)


def _figure(name: str, figure: Contrast) -> Sequence[object]:
    difference = None if name in ("agreement", "kappa") else figure.difference
    numbers = (figure.a, figure.b, difference, figure.ci_low, figure.ci_high, figure.p)
    note = _NOTES[name] if figure.a is not None else "undefined for these films"
    if 0 < figure.n < _MANY:
        note += f"; few: fewer than {_MANY} films, the interval may miss the truth more often"
    return (name, *map(_number, numbers), figure.n, note)


def _film(pair: Pair) -> Sequence[object]:
    return (pair.row.film, pair.row.sha256, pair.label, *_side(pair.a), *_side(pair.b))


def _side(row: Row | None) -> Sequence[object]:
    if row is None:
        return ("", "", "")
    return (row.status.value, row.probability, row.prediction)


def _number(value: float | None) -> float | None:
    """Six digits; as a number, because text that begins with a minus would be made inert."""
    return None if value is None else float(f"{value:.6g}")
