"""A folder to be screened, as it was asked for, and what has become of it."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jobs.options import Options
from jobs.states import State
from screening.films import text_of
from screening.gallery import Gallery


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job; changed by copy, and only by a store.

    Attributes:
        name: sorts by time of submission; also the report's default name.
        folder: films, absolute.
        model: bundle, absolute.
        model_sha256: hash of the bundle at submission; a bundle replaced since is an error.
        report: where the report goes, absolute.
        submitted_at: UTC, ISO 8601, like the other times that end in ``_at``.
        priority: higher ones are claimed first.
        tags: words by which its users find it again.
        identity: what a submission is compared by (:func:`identity_of`); empty if it is always a
            new job.
        schedule: name of the schedule that queued it; its jobs run one after the other.
        state: see :mod:`jobs.states`.
        not_before: when it may be claimed at the earliest, seconds since the epoch.
        attempts: how often it was put off because something outside it failed.
        deaths: how many of its workers died, one after the other, without a single row.
        fence: how often it was claimed; a worker with an older number cannot write.
        worker: who holds it.
        lease_until: until when, seconds since the epoch.
        listed_at: when its films were listed; empty until then.
        exit_code: 0, 3, 4 or 1 (:mod:`jobs.exit_codes`); None until it has ended.
        message: why it failed, or what it waits for.
        films: files found, 0 until the job has started.
        committed: rows written.
    """

    name: str
    folder: Path
    model: Path
    model_sha256: str
    report: Path
    options: Options
    submitted_at: str
    priority: int = 0
    tags: tuple[str, ...] = ()
    identity: str = ""
    schedule: str = ""
    state: State = State.QUEUED
    not_before: float = 0.0
    attempts: int = 0
    deaths: int = 0
    fence: int = 0
    worker: str = ""
    lease_until: float = 0.0
    started_at: str = ""
    listed_at: str = ""
    finished_at: str = ""
    exit_code: int | None = None
    message: str = ""
    films: int = field(default=0, compare=False)
    committed: int = field(default=0, compare=False)

    @property
    def gallery(self) -> Gallery | None:
        """Where pictures wait for the report; None if none are asked for.

        Two jobs may have been given one place for their reports, so it is called after both.
        """
        options = self.options
        if not options.heatmaps and not options.thumbnails:
            return None
        aside = self.report.parent / f".{self.report.name}.{self.name}.pictures"
        return Gallery(aside, options.heatmaps, options.thumbnails)

    @property
    def site(self) -> str:
        """Whose nights are comparable: those of one schedule, else of one folder's sub-folders.

        A schedule may name its folders by their date anywhere in the path. Studies of a watched
        folder, and folders that are screened by hand, lie beside those of other nights.
        """
        return f"schedule {self.schedule}" if self.schedule else text_of(str(self.folder.parent))

    @property
    def submitted(self) -> float:
        """When it was submitted, seconds since the epoch."""
        return datetime.fromisoformat(self.submitted_at).timestamp()

    @property
    def shown_folder(self) -> str:
        """The folder for people to read; a path may hold a name."""
        if self.options.hash_names:
            return f"of job {self.name}"
        # A name that is not UTF-8 cannot be printed as it is.
        return os.fsencode(self.folder).decode(errors="replace")


def new_name() -> str:
    """A name for a job: time in UTC and six random digits, ``20261122-213005-9f3c2a``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def identity_of(folder: Path, model_sha256: str, report: Path | None, options: Options) -> str:
    """What two submissions of the same work have in common: SHA-256 as 64 hex digits.

    Args:
        report: as it was asked for; None if the job may choose.
    """
    asked = [str(folder), model_sha256, None if report is None else str(report), options.as_dict()]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
