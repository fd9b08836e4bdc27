"""``screening demo``: screen four sample films."""

import shutil
import sys
from pathlib import Path
from typing import Final

import click

#: One real chest film in three encodings (raw, JPEG 2000 lossless and lossy), and a leg.
_FILMS: Final = ("RG1_UNCR.dcm", "RG1_J2KR.dcm", "RG1_J2KI.dcm", "RG3_UNCR.dcm")

#: Largest allowed difference between the three chest probabilities, due to lossy compression.
_AGREEMENT: Final = 0.02


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("screening-demo"),
    show_default=True,
    help="Folder for the films, queue and report.",
)
def demo(out: Path) -> None:
    """Screen four sample films, in less than a minute.

    The films are part of the package pydicom-data: a chest film as uncompressed,
    lossless JPEG 2000 and lossy JPEG 2000 DICOM, whose results must agree, and a
    leg, which must be refused.
    """
    films = out / "films"
    _gather(films)
    from exports.bundle import SHIPPED
    from jobs.cli.bootstrap import WorkerConfig, run_single_job
    from jobs.cli.stores import open_store
    from jobs.queue.jobs import Options
    from jobs.sources.submission import JobRequest, new_job
    from screening.results import PREDICTIONS, read_rows

    queue = out / "queue.sqlite"
    store = open_store(queue)
    options = Options(key=out / "patient.key", settle=0, heatmaps=True)
    job = new_job(
        JobRequest(folder=films, model=SHIPPED, options=options, reports=out), always=True
    )
    store.add(job)
    store.close()
    code = run_single_job(queue, WorkerConfig(drain=True), job.name)
    if code == 0:
        rows = read_rows(job.report / PREDICTIONS)
        for row in rows:
            verdict = row.reason or f"{row.probability:.4f} {row.prediction}"
            click.echo(f"{row.film:<14} {row.status.value:<9} {verdict}")
        scores = [row.probability for row in rows if row.probability is not None]
        if len(scores) != 3 or max(scores) - min(scores) > _AGREEMENT:
            raise click.ClickException(f"the three encodings of one film do not agree: {scores}")
        click.echo("The three encodings of one film agree; the leg was refused. Read the report:")
        click.echo(job.report / PREDICTIONS)
    sys.exit(code)


def _gather(folder: Path) -> None:
    from pydicom.data import get_testdata_file

    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILMS:
        source = get_testdata_file(name, download=False)
        if source is None:
            raise click.ClickException(
                "the sample films are not installed; run: pip install 'screening[demo]'"
            )
        shutil.copyfile(str(source), folder / name)
