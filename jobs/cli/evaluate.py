"""``screening evaluate``."""

from pathlib import Path

import click

from jobs.cli.options import FILE, FOLDER, key_option, labels_policy_option, prevalence_option


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
    from jobs.cli.said import said_of
    from jobs.processes import user_and_host
    from screening.films import is_inside
    from screening.privacy import PatientKey
    from screening.report.evaluate import evaluate as evaluated
    from screening.report.labels import Labels, Policy

    place = (out or report.with_name(f"{report.resolve().name}-evaluation")).absolute()
    if is_inside(place, report):
        raise click.UsageError(f"the evaluation {place} would lie inside {report}")
    given = Labels.read(labels, Policy(labels_policy))
    # Labels by path and file name need none.
    secret = PatientKey.load(key) if key.exists() else None
    made = evaluated(report, given, secret, place, prevalence, user_and_host())
    for line in said_of(made):
        click.echo(line)
    click.echo(f"Evaluation: {made.folder}")
