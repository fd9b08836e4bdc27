"""What a user asks for, checked before it is queued."""

from pathlib import Path

from exports.bundle import Bundle
from exports.runtimes.load import load
from jobs.errors import JobFailed, ReportInTheWay
from jobs.job import Job, new_name
from screening.clock import now
from screening.isolation import IsolatedReader
from screening.limits import Limits
from screening.pipeline import Screener
from screening.privacy import PatientKey
from screening.report.labels import Labels


def new_job(
    folder: Path,
    model: Path,
    report: Path | None,
    labels: Path | None,
    key: Path,
    runtime: str,
    batch: int,
    reports: Path = Path("reports"),
    limits: Limits | None = None,
    max_failure_rate: float = Job.max_failure_rate,
    hash_names: bool = False,
    heatmaps: bool = False,
    public_key: Path | None = None,
) -> Job:
    """A job for `folder`, with the bundle frozen by its hash.

    Args:
        report: where the report goes; by default a folder in `reports`, called like the job.
        public_key: the bundle must be signed with its other half; None if it need not be.

    Raises:
        ReportInTheWay: if the report would lie in the folder, or something is there already.
        BundleError: if `model` is no intact bundle, is not signed as asked, or lacks what heat maps
            are made of.
        LabelsError: if the labels cannot be read.
    """
    name = new_name()
    folder = folder.resolve()
    report = (report or reports / name).absolute()
    if report.resolve().is_relative_to(folder):
        raise ReportInTheWay(
            f"the report {report} would lie inside {folder}, which is screened; choose another --out"
        )
    if report.exists() and (not report.is_dir() or any(report.iterdir())):
        raise ReportInTheWay(f"{report} is there already; choose another --out")
    if labels is not None:
        Labels.read(labels)
    bundle = Bundle.open(model, public_key)
    if heatmaps:
        load(bundle.path, runtime, heatmaps)
    return Job(
        name=name,
        folder=folder,
        model=bundle.path,
        model_sha256=bundle.sha256,
        report=report,
        labels=labels.resolve() if labels else None,
        key=key.absolute(),
        runtime=runtime,
        batch=batch,
        submitted_at=now(),
        limits=limits or Limits(),
        max_failure_rate=max_failure_rate,
        hash_names=hash_names,
        heatmaps=heatmaps,
    )


def open_screener(job: Job, public_key: Path | None = None) -> Screener:
    """Load what the job was submitted with.

    Raises:
        BundleError: if the bundle is not signed with the other half of `public_key`.
        JobFailed: if it was replaced since.
    """
    bundle = Bundle.open(job.model, public_key)
    if bundle.sha256 != job.model_sha256:
        raise JobFailed(
            f"the bundle {job.model} is not the one that job {job.name} was submitted with: "
            f"its hash is {bundle.sha256[:16]}, expected {job.model_sha256[:16]}; submit again"
        )
    predictor = load(bundle.path, job.runtime, job.heatmaps)
    key = PatientKey.load_or_create(job.key)
    reader = IsolatedReader(job.folder, bundle.card.preprocessing, job.limits)
    shown_name = key.film if job.hash_names else str
    return Screener(reader, bundle.card, bundle.sha256, predictor, key, shown_name, job.gallery)
