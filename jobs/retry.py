"""Retry a job that has ended; its old report is renamed."""

from contextlib import suppress
from itertools import count
from pathlib import Path

from jobs.errors import JobsError, QueueUnavailable, TransitionError
from jobs.queue.jobs import OPEN, Job
from jobs.queue.store import JobStore
from screening.audit import Event, is_report_of
from screening.errors import ReportError
from screening.files import sync


def retry_job(store: JobStore, name: str, event: Event) -> tuple[Job, Path | None]:
    """Queue a job that has ended again.

    Its report is renamed first, because a worker that found the report would consider the job
    finished. If the process dies in between, the job is still ended and can be retried.

    Args:
        event: added to the job's history.

    Returns:
        The queued job, and the new path of its old report; None if it had none.

    Raises:
        TransitionError: if the job is still open, or is done without a failed film.
        JobsError: if the same work is queued as another job.
        ReportError: if the report cannot be renamed.
        QueueUnavailable: if the queue is temporarily unavailable; the job may have been queued
            nevertheless.
    """
    job = store.get(name)
    if job.state in OPEN:
        raise TransitionError(
            f"job {name} is {job.state}; only a job that has ended can be retried"
        )
    old = _rename_report(job)
    try:
        return store.retry(name, event), old
    except QueueUnavailable as error:
        if old is None:
            raise
        raise QueueUnavailable(
            f"{error}; the old report of job {name} was renamed to {old}"
        ) from error
    except JobsError:
        if old is not None:
            _restore_report(old, job)
        raise


def _rename_report(job: Job) -> Path | None:
    """Rename the job's own report to the first free name: ``REPORT.1``, ``REPORT.2``."""
    report = job.report
    if not is_report_of(report, job.name):
        return None
    if job.gallery is not None:
        job.gallery.recall(report)
    names = (report.with_name(f"{report.name}.{number}") for number in count(1))
    free = next(name for name in names if not name.exists() and not name.is_symlink())
    try:
        # If another process has taken the name meanwhile, as a non-empty folder, this fails.
        report.rename(free)
        sync(report.parent)
    except OSError as error:
        raise ReportError(f"{report} cannot be renamed to {free}: {error.strerror}") from error
    return free


def _restore_report(old: Path, job: Job) -> None:
    # If the path is occupied by now, the old report keeps its new name.
    with suppress(OSError):
        old.rename(job.report)
        sync(job.report.parent)
    if job.gallery is not None:
        job.gallery.clear()
