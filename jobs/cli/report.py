"""``screening verify``, ``evaluate``, ``compare`` and ``drift``."""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from exports.bundle import SHIPPED
from jobs import exit_codes
from jobs.cli.options import FILE, FOLDER, key_option, labels_policy_option, prevalence_option
from screening.files import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from screening.model.drift_baseline import DriftBaseline
    from screening.report.drift.series import NightResult
    from screening.report.verification import VerificationProblem

#: Number of problems printed for each kind and file; the rest are counted.
_MAX_SHOWN: Final = 20


@click.command()
@click.argument("report", type=FOLDER)
@click.option("--films", type=FOLDER, help="Also screen some films of this folder again.")
@click.option(
    "--model", type=FOLDER, help="Bundle for screening them again.  [default: the shipped one]"
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Number of films to screen again, chosen at random.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of the random choice.")
@key_option
@click.option("--public-key", type=FILE, help="Require a signature by the matching private key.")
def verify(
    report: Path,
    *,
    films: Path | None,
    model: Path | None,
    sample: int,
    seed: int | None,
    key: Path,
    public_key: Path | None,
) -> None:
    """Check that no file of REPORT was changed, added or removed.

    The command names every file that differs, and the line if it can. The exit code
    is then 1. With --films, some films are also screened again and the results are
    compared with the report.

    The hash chain in audit.csv detects changes to a part of the report. It does not
    detect that somebody has rewritten the whole report with new hashes. Only a
    signature detects that: see `screening sign` and --sign-reports.
    """
    from screening.audit import AUDIT, read_audit, target_of
    from screening.report.verification import verify as problems_of
    from screening.report.verification import written

    if films is None and model is not None:
        raise click.UsageError("--model is only used to screen films again; add --films FOLDER")
    problems = problems_of(report)
    if any(problem.file == AUDIT for problem in problems):
        # If the audit itself is damaged, other files cannot be compared with it.
        _exit_with(report, problems)
    history = read_audit((report / AUDIT).read_bytes())
    signed, forged = _signature(report, history.head, public_key)
    problems += forged
    again = ""
    if films is not None and not problems:
        seed = secrets.randbelow(2**32) if seed is None else seed
        target = target_of(history.events)
        again, different = _screened_again(
            report, target, films, model or SHIPPED, most=sample, seed=seed, key=key
        )
        problems += different
    if not problems:
        click.echo(f"{report}: intact: {display_name(written(history))}")
        click.echo(signed)
    if again:
        click.echo(again)
    _exit_with(report, problems)


def _signature(
    report: Path, head: str, public_key: Path | None
) -> tuple[str, list[VerificationProblem]]:
    """Return a sentence about the signature, and its problems."""
    from screening.audit import SIGNATURE
    from screening.report.verification import VerificationProblem

    is_there = (report / SIGNATURE).exists()
    if public_key is None:
        if is_there:
            return "Its signature was not checked; add --public-key to check it.", []
        return (
            "It is not signed, so a report that was rewritten as a whole would not be detected.",
            [],
        )
    from exports.bundle import is_signed_report

    if is_signed_report(report, head, public_key):
        return f"Its signature matches the public key {public_key}.", []
    why = f"does not match this report and the public key {public_key}"
    problem = VerificationProblem(SIGNATURE, "forged", why)
    if not is_there:
        problem = VerificationProblem(SIGNATURE, "missing", "is missing: the report is not signed")
    return "", [problem]


def _screened_again(
    report: Path, target: str, films: Path, model: Path, *, most: int, seed: int, key: Path
) -> tuple[str, Sequence[VerificationProblem]]:
    """Screen some films again; return a summary and the results that differ."""
    from exports.bundle import Bundle
    from jobs.errors import FolderUnreadable
    from jobs.rescreen import rescreen
    from screening.privacy import PatientKey
    from screening.results import PREDICTIONS, read_rows

    rows = read_rows(report / PREDICTIONS)
    # Only reports with hashed film names need the key.
    secret = PatientKey.load(key) if key.exists() else None
    try:
        again = rescreen(rows, target, films, Bundle.open(model), most, seed, key=secret)
    except OSError as error:
        raise FolderUnreadable(f"{films} cannot be listed: {error.strerror}") from error
    how = f"{again.films} of {len(rows)} films were screened again (--seed {seed})"
    return (
        f"{how}." if again.problems else f"{how}, with the same results as in the report.",
        again.problems,
    )


def _exit_with(report: Path, problems: Sequence[VerificationProblem]) -> None:
    """Print the problems and exit with the matching code."""
    kinds: Counter[tuple[str, str]] = Counter()
    for problem in problems:
        kind = (problem.file, problem.what)
        kinds[kind] += 1
        if kinds[kind] <= _MAX_SHOWN:
            click.echo(display_name(str(problem)))
    for (file, what), number in kinds.items():
        if number > _MAX_SHOWN:
            click.echo(display_name(f"{file}: {what}: and {number - _MAX_SHOWN} more"))
    if problems:
        click.echo(f"{report} is not intact; problems found: {len(problems)}", err=True)
    sys.exit(exit_codes.ERROR if problems else exit_codes.OK)


@click.command()
@click.argument("report", type=FOLDER)
@click.option(
    "--labels",
    required=True,
    type=FILE,
    help="CSV file with the columns film and label and, optionally, patient.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write.  [default: REPORT-evaluation]",
)
@labels_policy_option
@prevalence_option
@key_option
def evaluate(
    report: Path,
    labels: Path,
    out: Path | None,
    labels_policy: str,
    prevalence: float | None,
    key: Path,
) -> None:
    """Evaluate a finished report against labels; the images are not needed.

    The result is the same as if REPORT had been made with these labels. It is written to a separate
    folder, whose audit starts with the last hash of the report's audit. REPORT is checked first and is
    not changed.
    """
    from jobs.cli.progress import summary_lines
    from jobs.host import user_and_host
    from screening.files import is_inside
    from screening.privacy import PatientKey
    from screening.report.evaluate import evaluate as evaluated
    from screening.report.labels import Labels, Policy

    place = (out or report.with_name(f"{report.resolve().name}-evaluation")).absolute()
    if is_inside(place, report):
        raise click.UsageError(
            f"the evaluation {place} would be inside the report {report}; choose another --out"
        )
    given = Labels.read(labels, Policy(labels_policy))
    # Labels that are matched by path or file name need no key.
    secret = PatientKey.load(key) if key.exists() else None
    made = evaluated(report, given, secret, place, prevalence, user_and_host())
    for line in summary_lines(made):
        click.echo(line)
    click.echo(f"Evaluation: {made.folder}")


@click.command()
@click.argument("report_a", type=FOLDER)
@click.argument("report_b", type=FOLDER)
@click.option(
    "--labels",
    type=FILE,
    help="CSV file with the columns film and label, instead of the labels of the reports.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write comparison.csv and changed.csv (films that changed) to this folder.",
)
@key_option
def compare(
    report_a: Path, report_b: Path, labels: Path | None, out: Path | None, key: Path
) -> None:
    """Compare two reports of the same films, made with two models or thresholds.

    Use it before you replace a model: REPORT_A is the report of the current model,
    REPORT_B that of the new one. Films are matched by their bytes. With labels,
    each difference has a test and a 95 % interval: McNemar's exact test for
    sensitivity, specificity and accuracy, DeLong's test for the area under the ROC
    curve. Intervals take into account that one patient can have several films.
    """
    from screening.files import display_name, is_inside
    from screening.privacy import PatientKey
    from screening.report.comparison.compare import compare as compared
    from screening.report.comparison.text import words, write_comparison
    from screening.report.labels import Labels
    from screening.report.verification import intact
    from screening.results import PREDICTIONS, read_rows

    for report in (report_a, report_b):
        if out is not None and is_inside(out.absolute(), report):
            raise click.UsageError(
                f"the comparison {out} would be inside the report {report}; choose another --out"
            )
        intact(report)
    comparison = compared(
        read_rows(report_a / PREDICTIONS),
        read_rows(report_b / PREDICTIONS),
        Labels.read(labels) if labels else None,
        PatientKey.load(key) if key.exists() else None,
    )
    if out is not None:
        write_comparison(out, comparison)
    for line in words(comparison):
        click.echo(display_name(line))
    if out is not None:
        click.echo(f"Comparison: {out}")


#: Table columns by measure.
_COLUMNS: Final = {
    "positive_rate": "POSITIVE",
    "psi": "PSI",
    "domain_distance": "DISTANCE",
    "refusal_rate": "REFUSED",
}
_MAX_NAME: Final = 32


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
    from screening.files import is_inside
    from screening.report.drift.series import series, write_series
    from screening.report.html.drift_page import write_page

    for report in reports:
        if is_inside(out, report):
            raise click.UsageError(
                f"the charts {out} would be inside the report {report}; choose another --out"
            )
    nights = series(reports, _reference(model, reports))
    for line in _table(nights):
        click.echo(line)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_series(out, nights)
        write_page(out, nights)
    except OSError as error:
        raise ReportError(f"the charts cannot be written to {out}: {error.strerror}") from error
    click.echo(f"Charts: {out / 'drift.html'}")


def _reference(model: Path | None, reports: Sequence[Path]) -> DriftBaseline | None:
    """Return the baseline of the bundle, after checking that the reports were made with it."""
    if model is None:
        return None
    from exports.bundle import Bundle
    from screening.errors import ReportError
    from screening.report.drift.profile import NightProfile

    bundle = Bundle.open(model)
    for report in reports:
        sha256 = NightProfile.read(report).model_sha256
        if sha256 not in ("", bundle.sha256):
            raise ReportError(
                f"{report} was made with the model {sha256[:16]}, but {model} is "
                f"{bundle.sha256[:16]}; give the bundle that made the reports"
            )
    return bundle.card.reference


def _table(nights: Sequence[NightResult]) -> Iterator[str]:
    """Yield table lines with aligned columns: text on the left, figures on the right."""
    from screening.files import display_name

    rows = [["NIGHT", "REPORT", "FILMS", *_COLUMNS.values(), "BEYOND LIMITS"]]
    for night in nights:
        beyond = dict.fromkeys(line.measure for line in night.breaches)
        figures = [_figure(night, measure) for measure in _COLUMNS]
        name = display_name(night.name)
        name = name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
        at = night.profile.at[:16].replace("T", " ") or "-"
        rows.append([at, name, str(night.profile.offered), *figures, ", ".join(beyond)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sides = "<<" + ">" * (len(row) - 3) + "<"
        cells = (
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _figure(night: NightResult, measure: str) -> str:
    line = night.line(measure)
    value = night.values.get(measure) if line is None else line.value
    if value is None:
        return "-"
    beyond = any(breach.measure == measure for breach in night.breaches)
    return f"{value:.3f}{'!' if beyond else ' '}"
