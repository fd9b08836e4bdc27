"""The comparisons of a night with what was expected of it, as lines of ``drift.csv``."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from screening.errors import ReportError
from screening.results import LINE_END, cell, text

DRIFT: Final = "drift.csv"

#: What a night is compared with.
REFERENCE: Final = "reference"
NIGHTS: Final = "last nights"

TONIGHT: Final = "tonight"
THREE: Final = "last three nights"

#: Fewest films to compare. A single study has only a few films and is merged with others.
FEWEST: Final = 60

POSITIVE_RATE: Final = "positive_rate"

#: Measures with their display names; a line has :data:`ALL` instead if nothing can be compared.
NAMES: Final = {
    POSITIVE_RATE: "The share of films flagged as pneumonia",
    "refusal_rate": "The share of refused files",
    "out_of_domain": "The share of films unlike the training films",
    "inverted": "The share of films that look inverted",
    "rotated": "The share of films that do not look upright",
    "ks": "The Kolmogorov-Smirnov distance of the scores (KS)",
    "psi": "The population stability index of the scores (PSI)",
    "domain_distance": "The typical distance from the training films",
    "grey_mean": "The typical mean grey value",
    "grey_sd": "The typical contrast",
    "black": "The typical share of black pixels",
    "white": "The typical share of white pixels",
    "sharpness": "The typical sharpness",
    "views": "The share of the view",
    "scanners": "The share of the manufacturer",
}
ALL: Final = "all"


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One comparison. The fields are the columns of ``drift.csv``, in this order.

    Attributes:
        measure: one of :data:`NAMES`, or :data:`ALL`.
        against: :data:`REFERENCE` or :data:`NIGHTS`.
        window: :data:`TONIGHT` or :data:`THREE`.
        value: the night's value; None if there is none.
        expected: the value to compare with; None if there is none.
        low: lower control limit; None if there is none.
        high: upper control limit; None if there is none.
        n: number of films behind the value.
        breach: True if the value is beyond a limit.
        sentence: the comparison in words. It may name a view or a manufacturer, which a log must
            not do.
    """

    measure: str
    against: str
    window: str
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    n: int
    breach: bool = False
    sentence: str


COLUMNS: Final = tuple(each.name for each in fields(Drift))
_NUMBERS: Final = ("value", "expected", "low", "high")


def write_drift(folder: Path, lines: Iterable[Drift]) -> None:
    """Write ``drift.csv`` into `folder`; unknown values are empty cells."""
    with (folder / DRIFT).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(COLUMNS)
        writer.writerows(cells(line) for line in lines)


def read_drift(folder: Path) -> list[Drift]:
    """Read the comparisons of a report; none if it has no ``drift.csv``.

    Raises:
        ReportError: if the file is damaged.
    """
    path = folder / DRIFT
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_line(values) for values in csv.DictReader(file)]
    except (AttributeError, csv.Error, KeyError, OSError, TypeError, ValueError) as error:
        raise ReportError(f"{path} is damaged: {error}") from error


def cells(line: Drift) -> list[str]:
    """Return a comparison as the cells of a CSV line."""
    return [_cell(value) for value in vars(line).values()]


def breaches(lines: Iterable[Drift]) -> Iterator[Drift]:
    """Return the comparisons with a breach, which need attention."""
    return (line for line in lines if line.breach)


def _line(values: Mapping[str, str]) -> Drift:
    numbers = {name: float(values[name]) if values[name] else None for name in _NUMBERS}
    return Drift(
        measure=text(values["measure"]),
        against=text(values["against"]),
        window=text(values["window"]),
        n=int(values["n"]),
        breach=bool(values["breach"]),
        sentence=text(values["sentence"]),
        **numbers,
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "breach" if value else ""
    return f"{value:.6g}" if isinstance(value, float) else cell(value)
