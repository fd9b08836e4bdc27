"""Compare many nights of a site in sequence, each with the nights before it."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from screening.errors import ReportError
from screening.model.drift_baseline import DriftBaseline
from screening.report.drift.drift_csv import COLUMNS, DRIFT, NIGHTS, TONIGHT, Drift, breaches, cells
from screening.report.drift.model_comparison import control
from screening.report.drift.night_comparison import plain_values
from screening.report.drift.profile import NightProfile
from screening.results import LINE_END, cell

_COLUMNS: Final = ("report", "at", *COLUMNS)


@dataclass(frozen=True)
class NightResult:
    """One report of a series.

    Attributes:
        name: name of the report's folder.
        lines: comparisons with the nights before, and with the model's reference if known.
        values: values of this night alone, by measure; known from the first night on.
    """

    name: str
    profile: NightProfile
    lines: Sequence[Drift]
    values: dict[str, float]

    @property
    def breaches(self) -> list[Drift]:
        """The comparisons with a breach, which need attention."""
        return list(breaches(self.lines))

    def line(self, measure: str) -> Drift | None:
        """Return the comparison of this single night with those before; None if there is none."""
        own = (
            line
            for line in self.lines
            if (line.measure, line.window, line.against) == (measure, TONIGHT, NIGHTS)
        )
        return next(own, None)


def series(reports: Iterable[Path], reference: DriftBaseline | None = None) -> list[NightResult]:
    """Return nights sorted by the time of their last film, whatever the order of `reports`.

    A report that is given twice counts once.

    Args:
        reference: the model's reference; None leaves out comparisons with it.

    Raises:
        ReportError: if a path is not a report, or if the reports are of different models.
    """
    profiles = {path.resolve(): NightProfile.read(path) for path in reports}
    ordered = sorted(profiles.items(), key=lambda pair: (pair[1].at, pair[0]))
    _refuse_two_models(ordered)
    nights: list[NightResult] = []
    for path, profile in ordered:
        lines = control(profile, [night.profile for night in nights], reference)
        if reference is None:
            lines = [line for line in lines if line.against == NIGHTS]
        nights.append(NightResult(path.name, profile, lines, plain_values(profile)))
    return nights


def write_series(folder: Path, nights: Iterable[NightResult]) -> None:
    """Write ``drift.csv``: the lines of each night, preceded by its report and time."""
    with (folder / DRIFT).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(_COLUMNS)
        for night in nights:
            about = (cell(night.name), night.profile.at)
            writer.writerows([*about, *cells(line)] for line in night.lines)


def _refuse_two_models(ordered: Sequence[tuple[Path, NightProfile]]) -> None:
    first: dict[str, Path] = {}
    for path, profile in ordered:
        if profile.model_sha256:
            first.setdefault(profile.model_sha256, path)
    if len(first) > 1:
        (one, path), (other, second) = list(first.items())[:2]
        raise ReportError(
            f"{path} was made with the model {one[:16]}, and {second} with the model {other[:16]}; "
            "give reports of one model only"
        )
