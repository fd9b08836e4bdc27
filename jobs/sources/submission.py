"""Create jobs from user requests, validated before they are queued."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from exports.bundle import Bundle
from exports.runtimes.load import (
    AUTO,
    check_lungs,
    check_map,
    choose,
    load_lungs,
    load_target,
    quickest,
)
from exports.targets import Target
from exports.targets import target as target_called
from jobs.errors import JobFailed, ReportExists
from jobs.queue.jobs import Job, Options, identity_of, new_name
from jobs.sources.folder_changes import hash_now
from screening.audit import CHOSEN, Event
from screening.files import Found, is_inside, now
from screening.inference.pipeline import Screener
from screening.inference.reader import FilmReader, Reader, ReadFilm
from screening.inference.sandbox import IsolatedReader
from screening.model.lung_reading import LungReader
from screening.model.predictor import Predictor
from screening.privacy import PatientKey
from screening.report.labels import Labels, Policy
from screening.results import Reason, Status


@dataclass(frozen=True)
class NewOnly:
    """A :class:`~screening.inference.reader.FilmReader` that skips films that were scored before.

    Attributes:
        scored_before: returns the job that has scored a file with this hash, or ``""``.
    """

    reader: FilmReader
    scored_before: Callable[[str], str]

    @property
    def folder(self) -> Path:
        """The folder of the films."""
        return self.reader.folder

    @property
    def recipe(self) -> Reader:
        """Settings for reading new films."""
        return self.reader.recipe

    def known(self, found: Found) -> ReadFilm | None:
        """Return the result for a film whose exact bytes were scored before, otherwise None."""
        sha256 = hash_now(self.folder, found)
        job = self.scored_before(sha256) if sha256 else ""
        if not job:
            return None
        why = Reason("already_screened", f"job {job}")
        return ReadFilm(found.film, sha256, status=Status.DUPLICATE, reason=why)

    def read(self, found: Found) -> ReadFilm:
        """Read one film unless it was scored before."""
        return self.known(found) or self.reader.read(found)

    def close(self) -> None:
        """Close the underlying reader."""
        self.reader.close()


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A request to screen a folder.

    Attributes:
        report: path of the report; None for a folder in `reports` with the job's name.
        not_before: seconds since the epoch.
        public_key: key that the bundle's signature must match; None if no signature is required.
    """

    folder: Path
    model: Path
    options: Options
    report: Path | None = None
    reports: Path = Path("reports")
    priority: int = 0
    tags: tuple[str, ...] = ()
    not_before: float = 0.0
    public_key: Path | None = None


def new_job(
    request: JobRequest,
    *,
    always: bool = False,
    schedule: str = "",
    taken: Collection[Path] = (),
) -> Job:
    """Create a job for a request; it records the bundle's hash.

    Args:
        always: create a new job even if the same work is already queued or running.
        schedule: schedule that requests the job. Implies a new job; if the report's path is taken,
            the job's name is appended to it.
        taken: report paths of other jobs of the schedule.

    Raises:
        ReportExists: if the report would lie in the folder, or its path exists already.
        BundleError: if the bundle is not intact, is not signed as required, or lacks the requested
            model, or what heat maps or refusals need.
        LabelsError: if the labels are invalid.
        FileUnavailable: if the bundle or the labels cannot be read.
    """
    request, bundle = _checked(request)
    name, options = new_name(), request.options
    folder = Path(os.path.realpath(request.folder))
    report = (request.report or request.reports / name).absolute()
    if schedule and (report in taken or _is_taken(report)):
        report = report.with_name(f"{report.name}-{name}")
    check_places(folder, report, options.quarantine)
    if _is_taken(report):
        raise ReportExists(f"{report} already exists; choose another --out")
    asked = request.report and request.report.absolute()
    return Job(
        name=name,
        folder=folder,
        model=bundle.path,
        model_sha256=bundle.sha256,
        report=report,
        options=options,
        submitted_at=now(),
        priority=request.priority,
        tags=request.tags,
        not_before=request.not_before,
        identity="" if always or schedule else identity_of(folder, bundle.sha256, asked, options),
        schedule=schedule,
    )


def checked(request: JobRequest) -> JobRequest:
    """Validate a request except for its folder, and return it with absolute paths.

    Raises:
        BundleError: if the bundle is not intact, is not signed as required, or lacks the requested
            model, or what heat maps or refusals need.
        LabelsError: if the labels are invalid.
        FileUnavailable: if the bundle or the labels cannot be read.
    """
    return _checked(request)[0]


def _checked(request: JobRequest) -> tuple[JobRequest, Bundle]:
    # Absolute paths, because a worker has a different working directory.
    options = replace(
        request.options,
        key=request.options.key.absolute(),
        labels=request.options.labels and request.options.labels.resolve(),
        quarantine=request.options.quarantine and request.options.quarantine.absolute(),
    )
    if options.labels is not None:
        Labels.read(options.labels, Policy(options.labels_policy))
    bundle = Bundle.open(request.model, request.public_key)
    # Installed runtimes do not matter here: another machine may run the job.
    target = choose(bundle.path, options.runtime, options.precision)
    if options.heatmaps:
        check_map(load_target(bundle.path, target), bundle.path)
    check_lungs(bundle.path, target.runtime, options.refuse)
    return replace(request, model=bundle.path, options=options), bundle


def check_places(folder: Path, report: Path, quarantine: Path | None) -> None:
    """Check that nothing would be written into the folder.

    Raises:
        ReportExists: with the path that would lie inside it.
    """
    for what, place in {"report": report, "quarantine": quarantine}.items():
        if place is not None and is_inside(place, folder):
            raise ReportExists(
                f"the {what} {place} would be inside the screened folder {folder}; choose another"
            )


def _is_taken(report: Path) -> bool:
    return report.exists() and (not report.is_dir() or any(report.iterdir()))


class Opener:
    """Loads a job's bundle, reader and key; the model is kept for the next job.

    Args:
        scored_before: returns the finished job that has scored a job's file, by its hash.
        public_key: key that bundle signatures must match; None if no signature is required.
        history: returns the events of a job so far.
    """

    def __init__(
        self,
        scored_before: Callable[[Job, str], str],
        public_key: Path | None = None,
        history: Callable[[Job], list[Event]] = lambda _job: [],
    ) -> None:
        self._scored_before = scored_before
        self._public_key = public_key
        self._history = history
        self._loaded: tuple[tuple[str, Target], Predictor] | None = None
        self._lungs: tuple[tuple[str, str], LungReader | None] | None = None

    def open(self, job: Job) -> Screener:
        """Return a screener for the job's films.

        Raises:
            BundleError: if the bundle is not signed as required, or lacks the requested model.
            FileUnavailable: if a file of the bundle, or the key file, cannot be read.
            JobFailed: if the bundle was replaced since submission.
        """
        options = job.options
        bundle = Bundle.open(job.model, self._public_key)
        if bundle.sha256 != job.model_sha256:
            raise JobFailed(
                f"the bundle {job.model} is not the one that job {job.name} was submitted with: "
                f"its hash is {bundle.sha256[:16]}, expected {job.model_sha256[:16]}; submit again"
            )
        key = PatientKey.load_or_create(options.key)
        reader: FilmReader = IsolatedReader(
            job.folder, bundle.card.preprocessing, options.limits, exact=options.exact
        )
        if options.new_only:
            reader = NewOnly(reader, lambda sha256: self._scored_before(job, sha256))
        target, predictor, measured = self._predictor(job, bundle)
        return Screener(
            reader=reader,
            card=bundle.card,
            model_sha256=bundle.sha256,
            predictor=predictor,
            key=key,
            shown_name=key.film if options.hash_names else str,
            gallery=job.gallery,
            bundle=bundle.path,
            measured=measured,
            lungs=self._lung_reader(job, bundle, target),
        )

    def _lung_reader(self, job: Job, bundle: Bundle, target: Target) -> LungReader | None:
        wanted = (bundle.sha256, target.runtime)
        if self._lungs is None or self._lungs[0] != wanted:
            self._lungs = (wanted, load_lungs(bundle.path, bundle.card, target.runtime))
        check_lungs(bundle.path, target.runtime, job.options.refuse)
        reader = self._lungs[1]
        return None if reader is None else replace(reader, refused=job.options.refuse)

    def _predictor(self, job: Job, bundle: Bundle) -> tuple[Target, Predictor, dict[str, str]]:
        """Return the job's model, and the measurement behind the choice if it was made just now."""
        options, measured = job.options, dict[str, str]()
        if options.runtime != AUTO:
            target = choose(bundle.path, options.runtime, options.precision)
        elif chosen := [one.subject for one in self._history(job) if one.event == CHOSEN]:
            target = target_called(chosen[-1])
        else:
            shape = bundle.card.preprocessing.shape
            target, predictor, measured = quickest(bundle.path, options.precision, shape)
            self._loaded = ((bundle.sha256, target), predictor)
        wanted = (bundle.sha256, target)
        if self._loaded is None or self._loaded[0] != wanted:
            # One thread per model: the engine runs one thread per core.
            self._loaded = (wanted, load_target(bundle.path, target, threads=1))
        predictor = self._loaded[1]
        if options.heatmaps:
            check_map(predictor, bundle.path)
        return target, predictor, measured
