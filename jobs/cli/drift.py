"""``screening drift``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from jobs.cli.options import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from screening.reference import Reference
    from screening.report.drift.series import Night

#: Columns of the table, by measure.
_SHOWN: Final = {
    "positive_rate": "POSITIVE",
    "psi": "PSI",
    "domain_distance": "DISTANCE",
    "refusal_rate": "REFUSED",
}
_LONGEST: Final = 32


@click.command()
@click.argument(
    "reports",
    metavar="REPORT...",
    nargs=-1,
    required=True,
    type=FOLDER,
)
@click.option(
    "--model",
    type=FOLDER,
    help="Bundle of the reports; also compare them with its baseline.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("drift"),
    show_default=True,
    help="Folder for drift.html (a chart of each figure) and drift.csv. Existing files are replaced.",
)
def drift(reports: tuple[Path, ...], model: Path | None, out: Path) -> None:
    """Show how the films have changed over many nights, one line for each REPORT, oldest first.

    Each night is compared with the earlier ones. An exclamation mark means that a figure is beyond its
    control limits, in this night or in the last three nights together. The last column names all such
    figures.
    """
    from screening.errors import ReportError
    from screening.films import is_inside
    from screening.report.drift.series import series, write_series
    from screening.report.pages.drift_page import write_page

    for report in reports:
        if is_inside(out, report):
            raise click.UsageError(f"the charts {out} would lie inside {report}")
    nights = series(reports, _reference(model, reports))
    for line in _table(nights):
        click.echo(line)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_series(out, nights)
        write_page(out, nights)
    except OSError as error:
        raise ReportError(f"the charts {out} cannot be written: {error.strerror}") from error
    click.echo(f"Charts: {out / 'drift.html'}")


def _reference(model: Path | None, reports: Sequence[Path]) -> Reference | None:
    """That of the bundle, if it is the one that the reports were made with."""
    if model is None:
        return None
    from exports.bundle import Bundle
    from screening.errors import ReportError
    from screening.report.drift.profile import Profile

    bundle = Bundle.open(model)
    for report in reports:
        sha256 = Profile.read(report).model_sha256
        if sha256 not in ("", bundle.sha256):
            raise ReportError(
                f"{report} is of the model {sha256[:16]}, and {model} is {bundle.sha256[:16]}"
            )
    return bundle.card.reference


def _table(nights: Sequence[Night]) -> Iterator[str]:
    """Lines of equal columns: names to the left, figures to the right."""
    from screening.printable import printable

    rows = [["NIGHT", "REPORT", "FILMS", *_SHOWN.values(), "BEYOND ITS LIMITS"]]
    for night in nights:
        beyond = dict.fromkeys(line.measure for line in night.breaches)
        figures = [_figure(night, measure) for measure in _SHOWN]
        name = printable(night.name)
        name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        at = night.profile.at[:16].replace("T", " ") or "-"
        rows.append([at, name, str(night.profile.offered), *figures, ", ".join(beyond)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sides = "<<" + ">" * (len(row) - 3) + "<"
        cells = (
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _figure(night: Night, measure: str) -> str:
    line = night.line(measure)
    value = night.values.get(measure) if line is None else line.value
    if value is None:
        return "-"
    beyond = any(breach.measure == measure for breach in night.breaches)
    return f"{value:.3f}{'!' if beyond else ' '}"
