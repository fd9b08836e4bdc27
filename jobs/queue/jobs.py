"""A job: what was asked for, its options, and its states."""

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
    """What does not change from the first film of a job to its last.

    Attributes:
        key: file with the key that hides patient identifiers, absolute.
        labels: labels file, absolute, or None.
        labels_policy: what becomes of labels that cannot be used: ``strict``, ``error`` or ``list``.
        prevalence: share of films with pneumonia where predictive values are to hold, or None.
        runtime: what runs the model: ``onnx``, ``litert``, or ``auto`` for the quicker one.
        precision: in which most of it is computed: ``float32`` or ``int8``.
        exact: decode all of every film.
        batch: films scored together.
        limits: what one film may cost.
        max_failure_rate: share of failed films above which the job is given up.
        hash_names: name films by keyed hashes in the report.
        heatmaps: show on each scored film where the model sees pneumonia.
        thumbnails: keep a small picture of each scored film.
        refuse: codes of image quality for which a film is refused; for the others it gets a warning.
        settle: seconds for which nothing in the folder must have changed before it is listed.
        new_only: leave out what a finished job of the same folder and bundle has scored.
        quarantine: folder that failed and refused films are copied to, absolute, or None.
        retries: how often the job is tried again by itself when something outside it fails.
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
        """The fields as plain values, for JSON."""
        values = asdict(self)
        for name in _PATHS:
            values[name] = None if values[name] is None else str(values[name])
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`as_dict`; what an older version did not know has its default."""
        paths = {name: Path(values[name]) for name in _PATHS if values.get(name) is not None}
        lists = {"refuse": tuple(values.get("refuse", ()))}
        return cls(**values | paths | lists | {"limits": DecodeLimits(**values["limits"])})


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    RELEASE = "release"
    POSTPONE = "postpone"
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"


#: A running job is claimed again when its worker has died: its lease ran out. A job that is done is
#: retried for the films that failed.
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

#: States in which there is still something to do.
OPEN: Final = (State.QUEUED, State.RUNNING)


def after(state: State, action: Action) -> State:
    """The state that follows.

    Raises:
        TransitionError: naming both, if the table does not know the pair.
    """
    try:
        return TRANSITIONS[state, action]
    except KeyError as error:
        raise TransitionError(f"a job that is {state} has no {action}") from error


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
        state: see :mod:`jobs.queue.jobs`.
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
    def gallery(self) -> ReportImages | None:
        """Where pictures wait for the report; None if none are asked for.

        Two jobs may have been given one place for their reports, so it is called after both.
        """
        options = self.options
        if not options.heatmaps and not options.thumbnails:
            return None
        aside = self.report.parent / f".{self.report.name}.{self.name}.pictures"
        return ReportImages(aside, options.heatmaps, options.thumbnails)

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
