"""Run one job: list its films, screen those without a row, write its report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final, Protocol

from jobs import exit_codes
from jobs.errors import FolderUnreadable, JobFailed, StillChanging, Stopped, SystemicFailure
from jobs.host import user_and_host
from jobs.queue.jobs import Job
from jobs.queue.store import NIGHTS, JobStore, RunHistory
from jobs.sources.folder_changes import hash_now, late_events, settles_at
from jobs.worker.engine import Engine
from jobs.worker.lease import Heartbeat, Stop
from jobs.worker.quarantine import quarantine
from screening.audit import CHOSEN, KEYED, TARGET, WRITING, Event, is_report_of
from screening.files import Found, discover, now
from screening.inference.costs import give_back
from screening.inference.pipeline import Screener, Seen
from screening.report.labels import Labels, Policy, join
from screening.results import Reason, Row, Status

if TYPE_CHECKING:
    from screening.report.writer import Report

#: With fewer films than this, the failure rate means nothing.
_MIN_FILMS: Final = 20

_NAMED: Final = 3


class Failures:
    """Counts failed films.

    Args:
        most: share of failed films above which the failure is systemic.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._reached = 0
        self._reasons: Counter[str] = Counter()

    def count(self, rows: Iterable[Row]) -> None:
        """Count rows; films that were never tried are ignored."""
        for row in rows:
            if row.status is Status.FAILED and row.reason_code == "not_screened":
                continue
            self._reached += 1
            if row.status is Status.FAILED:
                self._reasons[row.reason_code] += 1

    def are_systemic(self) -> bool:
        """Return True if so many films failed that the cause lies outside single films."""
        failed = self._reasons.total()
        return self._reached >= _MIN_FILMS and failed > self._most * self._reached

    @property
    def fields(self) -> dict[str, str]:
        """The counts as fields of an event; failed films also by reason, most common first."""
        return {
            "films": str(self._reached),
            "failed": str(self._reasons.total()),
            "max_failure_rate": f"{self._most:g}",
            **{code: str(number) for code, number in self._reasons.most_common()},
        }

    def __str__(self) -> str:
        """Return a summary with the most common reasons."""
        reasons = ", ".join(
            f"{code} {number}" for code, number in self._reasons.most_common(_NAMED)
        )
        return (
            f"{self._reasons.total()} of {self._reached} films failed ({reasons}), more than the "
            f"allowed share of {self._most:g}; look for a common cause, then retry the job"
        )


#: A film that was in progress when this many workers died is not tried again.
DEADLY: Final = 2

#: Approximate seconds between commits: the work that is lost when a worker is killed.
PACE: Final = 1.0

#: Maximum of films taken at once. Films that were in progress in a lost worker are screened singly.
_MAX_TAKEN: Final = 128


class InFlight:
    """Feeds films to an engine after marking them as taken, and buffers their rows.

    Rows are committed together with the next films taken, in one transaction. The number of films
    taken at once adapts so that a commit happens about once a second: its cost hardly depends on
    the number of rows.

    Args:
        write: commits rows, and marks films as taken.
        films: the films of the job that have no row yet, in order.
        batch: minimum of films taken at once.
        pace: approximate seconds between commits.
    """

    def __init__(
        self,
        write: Callable[[list[Row], list[str]], None],
        films: Sequence[Found],
        batch: int,
        stop: Stop,
        pace: float = PACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._films = films
        self._batch = batch
        self._stop = stop
        self._pace = pace
        self._clock = clock
        self._taken = 0
        self._together = batch
        self._rows: list[Row] = []
        self._asked = self._written = clock()

    def __iter__(self) -> Iterator[Found]:
        for number, found in enumerate(self._films):
            if self._stop.asked:
                return
            if number == self._taken:
                self._commit(self._take())
            yield found

    def put(self, rows: Sequence[Row]) -> None:
        """Buffer rows of films that were yielded, and commit them when the pace requires it."""
        self._rows += rows
        if self._clock() - self._written >= self._pace:
            self.clear()

    def clear(self) -> None:
        """Commit the buffered rows."""
        if self._rows:
            self._commit([])

    def _take(self) -> list[str]:
        asked, self._asked = self._asked, self._clock()
        spent = self._asked - asked
        if spent > self._pace:
            self._together = max(self._batch, self._together // 2)
        elif spent < self._pace / 2 and self._taken:
            self._together = max(self._batch, min(2 * self._together, _MAX_TAKEN))
        names = [found.film for found in self._films[self._taken : self._taken + self._together]]
        self._taken += len(names)
        return names

    def _commit(self, taken: list[str]) -> None:
        rows, self._rows = self._rows, []
        self._write(rows, taken)
        self._written = self._clock()


def isolate_suspects(films: Sequence[Found], deaths: Mapping[str, int]) -> Iterator[list[Found]]:
    """Yield groups of films that may be in progress together, in order.

    A film that was in progress when a worker died gets a group of its own: if it kills the next
    worker too, it is known which film did.
    """
    for suspect, group in groupby(films, key=lambda found: found.film in deaths):
        if suspect:
            yield from ([found] for found in group)
        else:
            yield list(group)


#: Seconds that a claim lasts unless it is renewed.
LEASE: Final = 120.0

#: Rows per commit where nothing is screened.
_MANY: Final = 1000

#: Seconds allowed for loading a model, or listing a very large folder, on a slow disk.
_START_UP: Final = 600.0

#: Seconds allowed for writing a report of very many films.
_REPORT: Final = 3600.0

#: How many workers in a row may die on a job without committing a single row.
_MAX_DEATHS: Final = 5


class Observer(Protocol):
    """Receives the progress of a job."""

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Rows were committed; the commit took `seconds`."""

    def reported(self, report: Report, seconds: float) -> None:
        """The report was written; this took `seconds`."""

    def waiting(self, job: Job) -> None:
        """The job was postponed; its message says why."""

    def ended(self, job: Job) -> None:
        """The job is done or has failed."""

    def idle(self) -> None:
        """The worker has nothing to do; called every few seconds."""


@dataclass(frozen=True)
class Tools:
    """Dependencies for running a job, assembled by the command line.

    Attributes:
        open_screener: loads the job's bundle and checks that it is the one submitted.
        lease: seconds that a claim lasts unless it is renewed.
        pace: approximate seconds between commits of rows.
        sign: returns the signature of the head of a report's hash chain; None for unsigned reports.
        clock: seconds since the epoch.
    """

    store: JobStore
    history: RunHistory
    engine: Engine
    open_screener: Callable[[Job], Screener]
    watcher: Observer
    stop: Stop = field(default_factory=Stop)
    lease: float = LEASE
    pace: float = PACE
    sign: Callable[[str], bytes] | None = None
    clock: Callable[[], float] = time.time


def run_job(job: Job, tools: Tools) -> int:
    """Run a claimed job, resuming where an earlier worker stopped.

    Returns:
        The exit code: 0, or 3 if some films failed.

    Raises:
        ScreeningError: if the job cannot be run as submitted.
        SystemicFailure: if too many films failed; the report was written.
        StillChanging: if files are still being written to its folder.
        Stopped: if the worker was asked to stop before the report was written.
        LeaseLost: if another worker has taken over.
    """
    if job.deaths >= _MAX_DEATHS:
        raise JobFailed(
            f"{job.deaths} workers died while they ran job {job.name}, without a result for any film"
        )
    with Heartbeat(tools.store, job, tools.lease) as heartbeat:
        heartbeat.expect(_START_UP)
        if not job.listed_at:
            _wait_until_settled(job, tools)
        with closing(tools.open_screener(job)) as screener:
            return _JobRun(job, tools, screener, heartbeat).execute()


def _wait_until_settled(job: Job, tools: Tools) -> None:
    at = tools.clock()
    try:
        settled = settles_at(job.folder, job.options.settle, at)
    except OSError as error:
        raise _unreadable(job, error) from error
    if settled is not None:
        raise StillChanging(
            settled - at, f"files are still being written to the folder {job.shown_folder}"
        )


@dataclass(frozen=True)
class _JobRun:
    """One run of a claimed job."""

    job: Job
    tools: Tools
    screener: Screener
    heartbeat: Heartbeat

    @property
    def _who(self) -> dict[str, str]:
        return {"worker": self.job.worker, **user_and_host()}

    def execute(self) -> int:
        job, store = self.job, self.tools.store
        labels = self._labels()
        self._begin()
        left = store.films_left(job)
        done = store.rows(job)
        if labels is not None:
            self._check(labels, [*done, *_expected_rows(left)])
        self.tools.watcher.started(job, len(left) + len(done), len(left))
        failures = Failures(job.options.max_failure_rate)
        self._screen(left, done, failures)
        if failures.are_systemic():
            self._give_up(failures)
        elif self.tools.stop.asked:
            raise Stopped(f"job {job.name} was returned to the queue")
        # The report needs as much memory as the screening did: release that first.
        del left, done
        self.screener.close()
        give_back()
        rows = self._reconciled()
        self.heartbeat.expect(_REPORT)
        began = time.perf_counter()
        report = self._report(rows, labels)
        self.tools.watcher.reported(report, time.perf_counter() - began)
        if job.gallery is not None:
            job.gallery.clear()
        self._quarantine(rows)
        if failures.are_systemic():
            raise SystemicFailure(str(failures))
        failed = any(row.status is Status.FAILED for row in rows)
        return exit_codes.SOME_FAILED if failed else exit_codes.OK

    def _labels(self) -> Labels | None:
        options = self.job.options
        if options.labels is None:
            return None
        return Labels.read(options.labels, Policy(options.labels_policy))

    def _check(self, labels: Labels, rows: list[Row]) -> None:
        """Fail early on labels that match several films or contradict each other."""
        if labels.policy is Policy.STRICT:
            # It is not known yet which film a UID belongs to.
            labels = replace(labels, policy=Policy.ERROR)
        join(rows, labels, self.screener.key)

    def _begin(self) -> None:
        """List the files, once; a job that was listed before continues with that list."""
        job, store, screener = self.job, self.tools.store, self.screener
        fingerprint = screener.key.fingerprint
        if store.pin("patient_key", fingerprint) != fingerprint:
            raise JobFailed(
                f"the key file {job.options.key} does not contain the key of this queue's earlier "
                "reports, so the same patient would get another hash; use the earlier key, or "
                "another queue"
            )
        try:
            # Raises if the share is unavailable: the job then waits instead of losing its films.
            job.folder.stat()
            films = [] if job.listed_at else discover(job.folder)
        except OSError as error:
            raise _unreadable(job, error) from error
        if job.listed_at:
            store.record(job, Event(now(), "resumed", job.name, self._who))
            return
        started = {
            "model": screener.card.model,
            TARGET: screener.predictor.target,
            "runtime": screener.predictor.runtime,
            "threshold": str(screener.card.operating_point.threshold),
            **self._who,
        }
        if (prevalence := screener.card.calibration.prevalence) is not None:
            started["prevalence"] = f"{prevalence:g}"
        listed = {"files": str(len(films)), "folder": str(job.shown_folder)}
        history = [
            Event(now(), "started", job.name, started, job.model_sha256),
            Event(now(), KEYED, fingerprint),
            Event(now(), "listed", job.name, listed),
        ]
        if screener.measured:
            history.append(Event(now(), CHOSEN, screener.predictor.target, screener.measured))
        store.list_films(job, films, history)

    def _screen(self, left: list[Found], done: list[Row], failures: Failures) -> None:
        """Screen and commit in batches until all films are done or too many have failed."""
        seen = Seen()
        for row in done:
            seen.add(row)
        failures.count(done)
        deaths = self.tools.store.deaths(self.job)
        for films in isolate_suspects(left, deaths):
            if failures.are_systemic() or self.tools.stop.asked:
                return
            if deaths.get(films[0].film, 0) >= DEADLY:
                rows = [self._killed_worker_row(films[0])]
                self._commit(rows)
                failures.count(rows)
                continue
            batch = 1 if films[0].film in deaths else self.job.options.batch
            in_flight = InFlight(self._commit, films, batch, self.tools.stop, self.tools.pace)
            self._expect(batch)
            with closing(
                self.tools.engine.screen(self.screener, in_flight, seen, batch)
            ) as batches:
                for rows in batches:
                    in_flight.put(rows)
                    self._expect(batch)
                    failures.count(rows)
                    if failures.are_systemic():
                        break
                in_flight.clear()

    def _expect(self, batch: int) -> None:
        # Each film of a batch may need a new decoder, and may use its full time limit.
        self.heartbeat.expect(_START_UP + 2 * batch * self.job.options.limits.seconds)

    def _commit(self, rows: list[Row], taken: Sequence[str] = ()) -> None:
        began = time.perf_counter()
        self.tools.store.commit(self.job, rows, self.tools.lease, taken)
        if rows:
            self.tools.watcher.committed(rows, time.perf_counter() - began)

    def _killed_worker_row(self, found: Found) -> Row:
        sha256 = hash_now(self.job.folder, found)
        why = Reason("killed_worker")
        return Row(
            film=found.film, sha256=sha256, status=Status.FAILED, reason=why, screened_at=now()
        )

    def _give_up(self, failures: Failures) -> None:
        """Write a row for every film that was not reached."""
        store = self.tools.store
        left = store.films_left(self.job)
        store.record(self.job, Event(now(), "given_up", self.job.name, failures.fields))
        why = Reason("not_screened")
        for start in range(0, len(left), _MANY):
            self._commit(
                [
                    Row(film=found.film, status=Status.FAILED, reason=why, screened_at=now())
                    for found in left[start : start + _MANY]
                ]
            )

    def _reconciled(self) -> list[Row]:
        """Return all rows; raise JobFailed unless every file listed has exactly one."""
        job, store = self.job, self.tools.store
        rows = store.rows(job)
        listed = store.get(job.name).films
        if len(rows) != listed or len({row.film for row in rows}) != listed:
            raise JobFailed(f"job {job.name} listed {listed} files but has {len(rows)} rows")
        return rows

    def _report(self, rows: list[Row], labels: Labels | None) -> Report:
        # Imported late: pandas and SciPy must not delay the first film.
        from screening.report.drift.model_comparison import control
        from screening.report.drift.profile import NightProfile
        from screening.report.writer import Night, Report, write_report

        job, screener, history = self.job, self.screener, self.tools.history
        profile = NightProfile.of(rows)
        earlier = [NightProfile.from_dict(kept) for kept in history.nights(job, NIGHTS)]
        drift = control(profile, earlier, screener.card.reference)
        if is_report_of(job.report, job.name):
            # An earlier worker wrote it, and died before it could record that.
            history.save_night(job, profile.as_dict())
            return Report(folder=job.report, rows=rows, drift=drift)
        night = Night(
            rows=rows,
            events=self._history(rows),
            key=screener.key,
            labels=labels,
            prevalence=job.options.prevalence,
            shown_name=screener.shown_name,
            gallery=job.gallery,
            sign=self.tools.sign,
            profile=profile,
            drift=drift,
        )
        report = write_report(job.report, night)
        history.save_night(job, profile.as_dict())
        return report

    def _history(self, rows: Iterable[Row]) -> list[Event]:
        """Return the job's events, later changes of its folder, and who writes the report."""
        job, store = self.job, self.tools.store
        hashes = {row.film: row.sha256 for row in rows}
        try:
            late = late_events(
                job.folder, store.films(job), hashes, self.screener.shown_name, now()
            )
        except OSError as error:
            why = {"error": error.strerror or type(error).__name__}
            late = [Event(now(), "not_compared", job.name, why)]
        writing = Event(now(), WRITING, job.name, self._who)
        return [*store.events(job), *late, writing]

    def _quarantine(self, rows: list[Row]) -> None:
        job = self.job
        if job.options.quarantine is not None:
            into = job.options.quarantine / job.name
            quarantine(rows, job.folder, into, self.screener.shown_name)


def _expected_rows(left: Iterable[Found]) -> list[Row]:
    return [Row(film=found.film, status=Status.SCORED) for found in left]


def _unreadable(job: Job, error: OSError) -> FolderUnreadable:
    return FolderUnreadable(f"the folder {job.shown_folder} cannot be listed: {error.strerror}")
