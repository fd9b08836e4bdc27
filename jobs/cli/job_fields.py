"""A job for programs: names and kinds of value that stay."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jobs import exit_codes
from jobs.job import Job
from jobs.store import Store
from screening.audit import Event
from screening.row import Status


def failed_films(store: Store, job: Job) -> int:
    """How many films of the job have failed so far; the store is asked only if one may have."""
    if not job.committed or job.exit_code == exit_codes.OK:
        return 0
    return store.counts(job).get(Status.FAILED, 0)


def fields(job: Job, failed: int) -> dict[str, Any]:
    """What every ``--json`` says of a job; None where there is nothing to say.

    Args:
        failed: how many of its films have failed so far.
    """
    return {
        "name": job.name,
        "state": job.state.value,
        "folder": None if job.options.hash_names else str(job.folder),
        "report": str(job.report),
        "model": str(job.model),
        "model_sha256": job.model_sha256,
        "priority": job.priority,
        "tags": list(job.tags),
        "schedule": job.schedule or None,
        "films": job.films,
        "committed": job.committed,
        "failed": failed,
        "submitted_at": job.submitted_at,
        "not_before": _iso(job.not_before),
        "started_at": job.started_at or None,
        "finished_at": job.finished_at or None,
        "worker": job.worker or None,
        "lease_until": _iso(job.lease_until),
        "attempts": job.attempts,
        "exit_code": job.exit_code,
        "message": job.message or None,
    }


def all_fields(job: Job, counts: Mapping[Status, int], history: Iterable[Event]) -> dict[str, Any]:
    """The same, and what only ``jobs show`` says.

    Args:
        counts: films by status, so far.
    """
    return fields(job, counts.get(Status.FAILED, 0)) | {
        "listed_at": job.listed_at or None,
        "claims": job.fence,
        "deaths": job.deaths,
        "counts": {status.value: counts.get(status, 0) for status in Status},
        "options": job.options.as_dict(),
        "history": [asdict(event) for event in history],
    }


def _iso(seconds: float) -> str | None:
    """Seconds since the epoch as every other time is written; None for 0."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
