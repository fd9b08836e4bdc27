"""``screening compare``."""

from pathlib import Path

import click

from jobs.cli.options import FILE, FOLDER, key_option


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
    from screening.films import is_inside
    from screening.printable import printable
    from screening.privacy import PatientKey
    from screening.report.comparison.compare import compare as compared
    from screening.report.comparison.tables import write_comparison
    from screening.report.comparison.words import words
    from screening.report.labels import Labels
    from screening.row import PREDICTIONS, read_rows
    from screening.verification import intact

    for report in (report_a, report_b):
        if out is not None and is_inside(out.absolute(), report):
            raise click.UsageError(f"the comparison {out} would lie inside {report}")
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
        click.echo(printable(line))
    if out is not None:
        click.echo(f"Comparison: {out}")
