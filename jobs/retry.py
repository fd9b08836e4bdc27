"""A job that has ended goes on; its report makes way for the new one."""

from contextlib import suppress
from itertools import count
from pathlib import Path

from jobs.errors import JobsError, QueueUnavailable, TransitionError
from jobs.queue.jobs import OPEN, Job
from jobs.queue.store import Store
from screening.audit import Event, is_report_of
from screening.errors import ReportError
from screening.files import sync


def retry_job(store: Store, name: str, event: Event) -> tuple[Job, Path | None]:
    """Queue a job that has ended once more.

    Its report is renamed before: a worker that found it would take the job for finished. If the
    process dies in between, the job has ended as before, and may be queued again.

    Args:
        event: for the job's history.

    Returns:
        The job as it waits, and where its old report is now; None if it had none.

    Raises:
        TransitionError: if it is still open, or is done without a failed film.
        JobsError: if the same work is queued as another job.
        ReportError: if the report cannot be renamed.
        QueueUnavailable: if the queue cannot be used just now; it may have been queued all the same.
    """
    job = store.get(name)
    if job.state in OPEN:
        raise TransitionError(f"job {name} is {job.state}; it goes on by itself")
    old = _set_aside(job)
    try:
        return store.retry(name, event), old
    except QueueUnavailable as error:
        if old is None:
            raise
        raise QueueUnavailable(f"{error}; the old report of job {name} is {old} now") from error
    except JobsError:
        if old is not None:
            _put_back(old, job)
        raise


def _set_aside(job: Job) -> Path | None:
    """Rename the job's own report to the first free name: ``REPORT.1``, ``REPORT.2``."""
    report = job.report
    if not is_report_of(report, job.name):
        return None
    if job.gallery is not None:
        job.gallery.recall(report)
    names = (report.with_name(f"{report.name}.{number}") for number in count(1))
    free = next(name for name in names if not name.exists() and not name.is_symlink())
    try:
        # Should another process have taken this name meanwhile, it is no empty folder, and this fails.
        report.rename(free)
        sync(report.parent)
    except OSError as error:
        raise ReportError(f"{report} cannot be renamed to {free}: {error.strerror}") from error
    return free


def _put_back(old: Path, job: Job) -> None:
    # If something is there by now, the old report stays where it is.
    with suppress(OSError):
        old.rename(job.report)
        sync(job.report.parent)
    if job.gallery is not None:
        job.gallery.clear()
