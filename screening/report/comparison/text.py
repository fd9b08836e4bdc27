"""Write a comparison as text and as CSV files."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from screening.errors import ReportError
from screening.files import atomic_directory
from screening.report.comparison.compare import Comparison, FilmPair
from screening.report.comparison.paired import Contrast
from screening.report.intervals import Booleans
from screening.results import LINE_END, NORMAL, PNEUMONIA, Row, Status, cell

#: Above this p a difference counts as not distinguishable from chance.
_CHANCE: Final = 0.05
_SMALL: Final = 0.001

_CAUTION: Final = (
    "Not distinguishable from chance does not mean that there is no difference; the interval shows "
    "how large it may be."
)


def words(comparison: Comparison) -> Iterator[str]:
    """Yield lines of text: what was compared, which answers changed, and which are right."""
    yield from _what(comparison)
    yield from _films(comparison)
    yield from _calls(comparison)
    both = comparison.both
    if not both.labelled.any():
        yield "Without labels this does not show which of them is right; give --labels."
        return
    figures = comparison.figures
    sick, well = both.labelled & both.positive, both.labelled & ~both.positive
    yield from _side(comparison, sick, PNEUMONIA, figures["sensitivity"], "sensitivity")
    yield from _side(comparison, well, NORMAL, figures["specificity"], "specificity")
    yield _contrast("accuracy", figures["accuracy"])
    yield _contrast("area under the ROC curve", figures["auroc"], digits=4)
    yield _CAUTION


def _what(comparison: Comparison) -> Iterator[str]:
    made_with = comparison.made_with
    for place, side in enumerate("AB"):
        model, sha256, threshold, runtime = (made[place] for made in made_with.values())
        yield f"{side}: {model}, bundle {sha256[:16]}, threshold {threshold}, {runtime}"
    differing = [name for name, (a, b) in made_with.items() if a != b]
    yield f"They differ in: {', '.join(differing) or 'nothing that the reports record'}."


def _films(comparison: Comparison) -> Iterator[str]:
    only_a = sum(pair.a is not None for pair in comparison.only)
    only_b = len(comparison.only) - only_a
    copies = "" if not any(comparison.copies) else _copies(comparison.copies)
    yield (
        f"Films: {len(comparison.pairs)} in both, {only_a} only in A, {only_b} only in B{copies}."
    )
    for (was, became), number in sorted(comparison.flips.items()):
        if {was, became} != {NORMAL, PNEUMONIA}:
            yield f"{was} in A and {became} in B: {_counted(number, 'film')}."


def _copies(copies: tuple[int, int]) -> str:
    return f"; copies left out: {copies[0]} in A, {copies[1]} in B"


def _calls(comparison: Comparison) -> Iterator[str]:
    figures, n = comparison.figures, len(comparison.both.a)
    if not n:
        yield "No film was scored in both reports."
        return
    called = figures["called"]
    yield (
        f"Flagged as {PNEUMONIA}, of {_counted(n, 'film')} scored in both reports: "
        f"{_more(comparison.both.called_a, comparison.both.called_b)}; {_chance(called)}."
    )
    same, kappa = figures["agreement"], figures["kappa"]
    agreed = f"Share of films with the same prediction: {_number(same.a)} {_interval(same)}"
    if kappa.a is None:
        yield f"{agreed}; Cohen's kappa is undefined, because all predictions are the same."
    else:
        yield f"{agreed}; Cohen's kappa is {_number(kappa.a)} {_interval(kappa)}."


def _side(
    comparison: Comparison, which: Booleans, label: str, figure: Contrast, name: str
) -> Iterator[str]:
    """Yield lines on the films with one label: a table of predictions of A and B, and the metric."""
    both = comparison.both
    a, b = both.called_a[which], both.called_b[which]
    if not len(a):
        yield f"No film that was scored in both reports is labelled {label}."
        return
    yield f"Flagged, of {_counted(len(a), 'film')} labelled {label}: {_more(a, b)}."
    yield f"{'':18}{'B flags':>9}{'B does not':>12}"
    for title, mine in (("A flags", a), ("A does not", ~a)):
        yield f"  {title:16}{np.sum(mine & b):9}{np.sum(mine & ~b):12}"
    yield _contrast(name, figure)


def _contrast(name: str, figure: Contrast, digits: int = 3) -> str:
    if figure.a is None or figure.b is None:
        return f"{name}: undefined for these films."
    return (
        f"{name}: A {figure.a:.{digits}f}, B {figure.b:.{digits}f}, difference "
        f"{figure.b - figure.a:+.{digits}f} {_interval(figure, f'+.{digits}f')}, n = {figure.n}: "
        f"{_chance(figure)}."
    )


def _more(a: Booleans, b: Booleans) -> str:
    """Say how many more films are flagged in B than in A, and how many in only one of them."""
    gained, lost = int(np.sum(b & ~a)), int(np.sum(a & ~b))
    if not gained and not lost:
        return f"the same {int(a.sum())} in A and in B"
    net = gained - lost
    how = "as many in B as" if not net else f"{abs(net)} {'more' if net > 0 else 'fewer'} in B than"
    counts = f"{int(b.sum())} and {int(a.sum())}"
    return f"{how} in A ({counts}; {gained} only in B, {lost} only in A)"


def _chance(figure: Contrast) -> str:
    if figure.p is None:
        return "no test, because that needs films of several patients"
    if figure.p == 1 and figure.a == figure.b:
        return "no difference"
    verdict = "not distinguishable" if figure.p > _CHANCE else "distinguishable"
    p = f"p = {figure.p:.3f}" if figure.p >= _SMALL else f"p < {_SMALL}"
    return f"{verdict} from chance, {p}"


def _interval(figure: Contrast, form: str = ".3f") -> str:
    if figure.ci_low is None or figure.ci_high is None:
        return "(no interval: one patient)"
    return f"({figure.ci_low:{form}} to {figure.ci_high:{form}})"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


COMPARISON: Final = "comparison.csv"
CHANGED: Final = "changed.csv"

_COLUMNS: Final = ("metric", "a", "b", "difference", "ci_low", "ci_high", "p", "n", "note")
_OF_EACH: Final = ("status", "probability", "prediction")
_CHANGED_COLUMNS: Final = (
    *("film", "sha256", "label"),
    *(f"{name}_{side}" for side in "ab" for name in _OF_EACH),
)

# With fewer films a line gets a note: its interval may be too narrow.
_MANY: Final = 100

#: Notes by figure: what the interval and p refer to.
_NOTES: Final = {
    "called": "share of films flagged as pneumonia; McNemar's exact test",
    "agreement": "interval of the value, not of a difference",
    "kappa": "interval of the value, not of a difference",
    "sensitivity": "among films with pneumonia; McNemar's exact test",
    "specificity": "among films without pneumonia; McNemar's exact test",
    "accuracy": "among all labelled films; McNemar's exact test",
    "auroc": "DeLong's test; interval by resampling patients",
}


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write the folder atomically.

    Raises:
        ReportError: if the folder is not empty or cannot be written.
    """
    try:
        with atomic_directory(folder) as aside:
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
    yield _line("copies", *comparison.copies, note="left out, because copies are not scored")
    for status in (Status.SCORED, Status.REFUSED, Status.FAILED):
        number_a = sum(pair.a is not None and pair.a.status is status for pair in comparison.pairs)
        number_b = sum(pair.b is not None and pair.b.status is status for pair in comparison.pairs)
        yield _line(status.value, number_a, number_b, n=in_both)
    for (was, became), number in sorted(comparison.flips.items()):
        note = f"films that are {was} in A and {became} in B"
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
        note += f"; few: fewer than {_MANY} films, so the interval may be too narrow"
    return (name, *map(_figure_cell, numbers), figure.n, note)


def _film(pair: FilmPair) -> Sequence[object]:
    return (
        pair.row.film,
        pair.row.sha256,
        pair.label,
        *_side_columns(pair.a),
        *_side_columns(pair.b),
    )


def _side_columns(row: Row | None) -> Sequence[object]:
    if row is None:
        return ("", "", "")
    return (row.status.value, row.probability, row.prediction)


def _figure_cell(value: float | None) -> float | None:
    """Round to six digits, as a number: text that begins with a minus would be escaped."""
    return None if value is None else float(f"{value:.6g}")
