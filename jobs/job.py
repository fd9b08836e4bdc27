"""A folder to be screened, as it was asked for, and what has become of it."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jobs.states import State
from screening.gallery import Gallery
from screening.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job; changed by copy, and only by a store.

    Attributes:
        name: sorts by time of submission; also the report's default name.
        folder: films, absolute.
        model: bundle, absolute.
        model_sha256: hash of the bundle at submission; a bundle replaced since is an error.
        report: where the report goes, absolute.
        labels: labels file, absolute, or None.
        key: file with the key that hides patient identifiers.
        runtime: what runs the model.
        batch: films scored and committed together.
        limits: what one film may cost.
        max_failure_rate: share of failed films above which the job is given up.
        hash_names: name films by keyed hashes in the report.
        heatmaps: show on each scored film where the model sees pneumonia.
        state: see :mod:`jobs.states`.
        fence: how often it was claimed; a worker with an older number cannot write.
        worker: who holds it.
        lease_until: until when, seconds since the epoch.
        exit_code: 0, 3, 4 or 1 (:mod:`jobs.exit_codes`); None until it has ended.
        message: why it failed.
        films: files found, 0 until the job has started.
        committed: rows written.
    """

    name: str
    folder: Path
    model: Path
    model_sha256: str
    report: Path
    labels: Path | None
    key: Path
    runtime: str
    batch: int
    submitted_at: str
    limits: Limits = field(default_factory=Limits)
    max_failure_rate: float = 0.2
    hash_names: bool = False
    heatmaps: bool = False
    state: State = State.QUEUED
    fence: int = 0
    worker: str = ""
    lease_until: float = 0.0
    started_at: str = ""
    finished_at: str = ""
    exit_code: int | None = None
    message: str = ""
    films: int = field(default=0, compare=False)
    committed: int = field(default=0, compare=False)

    @property
    def gallery(self) -> Gallery | None:
        """Where heat maps wait for the report; None if none are asked for.

        Two jobs may have been given one place for their reports, so it is called after both.
        """
        if not self.heatmaps:
            return None
        return Gallery(self.report.parent / f".{self.report.name}.{self.name}.heatmaps")


def new_name() -> str:
    """A name for a job: time in UTC and six random digits, ``20261122-213005-9f3c2a``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
