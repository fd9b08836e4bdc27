"""Jobs: request, options and states."""

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from exports.targets import FLOAT32, ONNX
from jobs.errors import TransitionError
from screening.files import text_of
from screening.imaging.film import DecodeLimits
from screening.inference.report_images import ReportImages
from screening.report.labels import Policy

_PATHS: Final = ("key", "labels", "quarantine")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that stay the same for all films of a job.

    Attributes:
        key: file with the key for hashing patient identifiers, absolute.
        labels: labels file, absolute, or None.
        labels_policy: handling of unusable labels: ``strict``, ``error`` or ``list``.
        prevalence: share of films with pneumonia that predictive values are computed for, or None.
        runtime: runtime of the model: ``onnx``, ``litert``, or ``auto`` for the faster one.
        precision: precision of most of the model: ``float32`` or ``int8``.
        exact: decode every film at full size.
        batch: films scored together.
        limits: limits for decoding one film.
        max_failure_rate: share of failed films above which the job is aborted.
        hash_names: name films by keyed hashes in the report.
        heatmaps: show on each scored film where the model sees pneumonia.
        thumbnails: keep a small image of each scored film.
        refuse: codes of image quality for which a film is refused; other codes give a warning.
        settle: seconds that the folder must have been unchanged before it is listed.
        new_only: skip files that a finished job of the same folder and bundle has scored.
        quarantine: folder for copies of failed and refused films, absolute, or None.
        retries: automatic retries after failures outside the job.
    """

    key: Path
    labels: Path | None = None
    labels_policy: str = Policy.ERROR.value
    prevalence: float | None = None
    runtime: str = ONNX
    precision: str = FLOAT32
    exact: bool = False
    batch: int = 8
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    max_failure_rate: float = 0.2
    hash_names: bool = False
    heatmaps: bool = False
    thumbnails: bool = False
    refuse: tuple[str, ...] = ()
    settle: float = 5.0
    new_only: bool = False
    quarantine: Path | None = None
    retries: int = 3

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        values = asdict(self)
        for name in _PATHS:
            values[name] = None if values[name] is None else str(values[name])
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of :meth:`as_dict`; fields unknown to an older version get their defaults."""
        paths = {name: Path(values[name]) for name in _PATHS if values.get(name) is not None}
        lists = {"refuse": tuple(values.get("refuse", ()))}
        return cls(**values | paths | lists | {"limits": DecodeLimits(**values["limits"])})


class State(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """Action on a job that changes its state."""

    CLAIM = "claim"
    RELEASE = "release"
    POSTPONE = "postpone"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"


#: A running job is claimed again if its worker died and its lease expired. A job that is done can
#: be retried for its failed films.
TRANSITIONS: Final[dict[tuple[State, Action], State]] = {
    (State.QUEUED, Action.CLAIM): State.RUNNING,
    (State.QUEUED, Action.CANCEL): State.CANCELLED,
    (State.RUNNING, Action.CLAIM): State.RUNNING,
    (State.RUNNING, Action.RELEASE): State.QUEUED,
    (State.RUNNING, Action.POSTPONE): State.QUEUED,
    (State.RUNNING, Action.FINISH): State.DONE,
    (State.RUNNING, Action.FAIL): State.FAILED,
    (State.RUNNING, Action.CANCEL): State.CANCELLED,
    (State.DONE, Action.RETRY): State.QUEUED,
    (State.FAILED, Action.RETRY): State.QUEUED,
    (State.CANCELLED, Action.RETRY): State.QUEUED,
}

#: States of jobs that have not ended.
OPEN: Final = (State.QUEUED, State.RUNNING)


def after(state: State, action: Action) -> State:
    """Return the state after an action.

    Raises:
        TransitionError: with state and action, if the action is not allowed in this state.
    """
    try:
        return TRANSITIONS[state, action]
    except KeyError as error:
        raise TransitionError(
            f"the action {action} is not allowed for a job that is {state}"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job; immutable, and updated only by a store.

    Attributes:
        name: sorts by time of submission; also the report's default name.
        folder: folder of films, absolute.
        model: bundle, absolute.
        model_sha256: hash of the bundle at submission; if the bundle changes, the job fails.
        report: path of the report, absolute.
        submitted_at: UTC, ISO 8601, like all times that end in ``_at``.
        priority: jobs with a higher priority are claimed first.
        tags: words for finding the job again.
        identity: hash for detecting duplicate submissions (:func:`identity_of`); empty to allow
            duplicates.
        schedule: name of the schedule that queued it; jobs of one schedule run one at a time.
        state: see :mod:`jobs.queue.jobs`.
        not_before: earliest time of a claim, seconds since the epoch.
        attempts: how often in a row it was postponed because of a failure outside it, without
            committing a row.
        deaths: how many workers in a row died on it without committing a row.
        fence: number of claims; a worker with an older number cannot write.
        worker: the worker that holds it.
        lease_until: end of the lease, seconds since the epoch.
        listed_at: when its films were listed; empty until then.
        exit_code: 0, 3, 4 or 1 (:mod:`jobs.exit_codes`); None until it has ended.
        message: why it failed, or what it waits for.
        films: number of files listed, 0 until the job has started.
        committed: number of rows written.
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
    def gallery(self) -> ReportImages | None:
        """Images waiting for the report; None if none were requested.

        The folder is named after the report and the job, because two jobs may have the same report
        path.
        """
        options = self.options
        if not options.heatmaps and not options.thumbnails:
            return None
        aside = self.report.parent / f".{self.report.name}.{self.name}.pictures"
        return ReportImages(aside, options.heatmaps, options.thumbnails)

    @property
    def site(self) -> str:
        """Group of comparable nights: jobs of one schedule, or of sub-folders of one folder.

        A schedule may use dates anywhere in its folder path. Studies of a watched folder, and
        folders that are screened manually, are siblings of those of other nights.
        """
        return f"schedule {self.schedule}" if self.schedule else text_of(str(self.folder.parent))

    @property
    def submitted(self) -> float:
        """Time of submission, seconds since the epoch."""
        return datetime.fromisoformat(self.submitted_at).timestamp()

    @property
    def shown_folder(self) -> str:
        """Folder as shown to people; hidden with `hash_names`, as a path may contain a name."""
        if self.options.hash_names:
            return f"of job {self.name}"
        # A name that is not valid UTF-8 cannot be printed unchanged.
        return os.fsencode(self.folder).decode(errors="replace")


def new_name() -> str:
    """Return a new job name, UTC time and six random hex digits: ``20261122-213005-9f3c2a``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def identity_of(folder: Path, model_sha256: str, report: Path | None, options: Options) -> str:
    """Return a hash that is equal for submissions of the same work: SHA-256 as 64 hex digits.

    Args:
        report: path requested by the user; None for the default.
    """
    asked = [str(folder), model_sha256, None if report is None else str(report), options.as_dict()]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
