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
from jobs.queue.store import NIGHTS, Store
from jobs.sources.folder_changes import hash_now, late_events, settles_at
from jobs.worker.engine import Engine
from jobs.worker.lease import Heartbeat, Stop
from jobs.worker.quarantine import quarantine
from screening.audit import CHOSEN, KEYED, WRITING, Event, is_report_of
from screening.files import Found, discover, now
from screening.inference.costs import give_back
from screening.inference.pipeline import Screener, Seen
from screening.report.labels import Labels, Policy, join
from screening.results import Row, Status, reason

if TYPE_CHECKING:
    from screening.report.writer import Report

#: Fewer films than these say nothing about the others.
_ENOUGH: Final = 20

_NAMED: Final = 3


class Failures:
    """Counts rows as they come.

    Args:
        most: share of failed films above which the failure is systemic.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._reached = 0
        self._reasons: Counter[str] = Counter()

    def count(self, rows: Iterable[Row]) -> None:
        """Take rows into account; films that were never tried say nothing."""
        for row in rows:
            code = row.reason.partition(":")[0]
            if row.status is Status.FAILED and code == "not_screened":
                continue
            self._reached += 1
            if row.status is Status.FAILED:
                self._reasons[code] += 1

    def are_systemic(self) -> bool:
        """True if the films are not to blame one by one any more."""
        failed = self._reasons.total()
        return self._reached >= _ENOUGH and failed > self._most * self._reached

    def __str__(self) -> str:
        """What happened, with the most common reasons."""
        reasons = ", ".join(
            f"{code} {number}" for code, number in self._reasons.most_common(_NAMED)
        )
        return (
            f"{self._reasons.total()} of {self._reached} films failed ({reasons}), more than the "
            f"allowed share of {self._most:g}: something is wrong beyond single films"
        )


#: A film that was in hand when so many workers died is not tried again.
DEADLY: Final = 2

#: Seconds from one commit to the next, about: what a worker that is killed has screened in vain.
PACE: Final = 1.0

#: Films taken at a time at most. Those a lost worker had in hand are screened one by one.
_MOST: Final = 128


class InFlight:
    """Gives films to an engine, each after it was written down as taken, and holds their rows.

    Rows are written down with the films that are taken next, in one transaction. So many are taken
    at a time that this happens about once a second: what a commit costs hardly depends on its rows.

    Args:
        write: commits rows, and films that are taken from now on.
        films: those of the job that are left, in their order.
        batch: how many are taken at a time at least.
        pace: seconds from one commit to the next, about.
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
        """Hold the rows of films that were given; not for long."""
        self._rows += rows
        if self._clock() - self._written >= self._pace:
            self.clear()

    def clear(self) -> None:
        """Write down the rows that are left."""
        if self._rows:
            self._commit([])

    def _take(self) -> list[str]:
        asked, self._asked = self._asked, self._clock()
        spent = self._asked - asked
        if spent > self._pace:
            self._together = max(self._batch, self._together // 2)
        elif spent < self._pace / 2 and self._taken:
            self._together = max(self._batch, min(2 * self._together, _MOST))
        names = [found.film for found in self._films[self._taken : self._taken + self._together]]
        self._taken += len(names)
        return names

    def _commit(self, taken: list[str]) -> None:
        rows, self._rows = self._rows, []
        self._write(rows, taken)
        self._written = self._clock()


def isolate_suspects(films: Sequence[Found], deaths: Mapping[str, int]) -> Iterator[list[Found]]:
    """Films that may be in hand together, in their order.

    One that was in hand when a worker died goes alone: if it kills the next worker, too, it is known
    which film did.
    """
    for suspect, group in groupby(films, key=lambda found: found.film in deaths):
        if suspect:
            yield from ([found] for found in group)
        else:
            yield list(group)


#: Seconds for which a claim holds, unless it is renewed.
LEASE: Final = 120.0

#: Rows committed together where nothing is screened.
_MANY: Final = 1000

#: Seconds in which a model is loaded, or a folder of very many films is listed, on a slow disk.
_BEGIN: Final = 600.0

#: Seconds in which a report of very many films is written.
_REPORT: Final = 3600.0

#: How many workers in a row may die over a job without a single row.
_DEATHS: Final = 5


class Observer(Protocol):
    """Told how far a job is."""

    def started(self, job: Job, films: int, left: int) -> None:
        """Screening begins."""

    def committed(self, rows: list[Row], seconds: float) -> None:
        """Rows are in the ledger; writing them took so long."""

    def reported(self, report: Report, seconds: float) -> None:
        """The report is there; writing it took so long."""

    def waiting(self, job: Job) -> None:
        """The job was put off; its message says why."""

    def ended(self, job: Job) -> None:
        """The job is done or has failed."""

    def idle(self) -> None:
        """There is nothing to do just now; said every few seconds."""


@dataclass(frozen=True)
class Tools:
    """What a job needs; put together by the command line.

    Attributes:
        open_screener: loads the job's bundle, checks that it is the one submitted.
        lease: seconds for which a claim holds, unless it is renewed.
        pace: seconds from one commit of rows to the next, about.
        sign: gives the signature over the head of a report's chain; None if none is signed.
        clock: seconds since the epoch.
    """

    store: Store
    engine: Engine
    open_screener: Callable[[Job], Screener]
    watcher: Observer
    stop: Stop = field(default_factory=Stop)
    lease: float = LEASE
    pace: float = PACE
    sign: Callable[[str], bytes] | None = None
    clock: Callable[[], float] = time.time


def run_job(job: Job, tools: Tools) -> int:
    """Carry out a claimed job, from wherever an earlier worker left it.

    Returns:
        The exit code: 0, or 3 if some films failed.

    Raises:
        ScreeningError: if it cannot be carried out as submitted.
        SystemicFailure: if too many films failed; the report is there.
        NotYet: if its folder is still being written into.
        Stopped: if the worker was asked to stop before the report was written.
        LeaseLost: if another worker has taken over.
    """
    if job.deaths >= _DEATHS:
        raise JobFailed(f"{job.deaths} workers died over job {job.name} without a single row")
    with Heartbeat(tools.store, job, tools.lease) as heartbeat:
        heartbeat.expect(_BEGIN)
        if not job.listed_at:
            _wait_until_settled(job, tools)
        with closing(tools.open_screener(job)) as screener:
            return _JobRun(job, tools, screener, heartbeat).carry_out()


def _wait_until_settled(job: Job, tools: Tools) -> None:
    at = tools.clock()
    try:
        settled = settles_at(job.folder, job.options.settle, at)
    except OSError as error:
        raise _unreadable(job, error) from error
    if settled is not None:
        raise StillChanging(
            settled - at, f"the folder {job.shown_folder} is still being written into"
        )


@dataclass(frozen=True)
class _JobRun:
    """A claimed job and all that it needs."""

    job: Job
    tools: Tools
    screener: Screener
    heartbeat: Heartbeat

    def carry_out(self) -> int:
        job, store = self.job, self.tools.store
        labels = self._labels()
        self._begin()
        left = store.films_left(job)
        done = store.rows(job)
        if labels is not None:
            self._check(labels, [*done, *_coming(left)])
        self.tools.watcher.started(job, len(left) + len(done), len(left))
        failures = Failures(job.options.max_failure_rate)
        self._screen(left, done, failures)
        if failures.are_systemic():
            self._give_up(failures)
        elif self.tools.stop.asked:
            raise Stopped(f"job {job.name} was given back")
        # The report takes as much memory as the screening did: first that is let go of.
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
        self._set_aside(rows)
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
        """Labels that fit several films, or contradict each other, are found before the work."""
        if labels.policy is Policy.STRICT:
            # Which film a UID is of is not known yet.
            labels = replace(labels, policy=Policy.ERROR)
        join(rows, labels, self.screener.key)

    def _begin(self) -> None:
        """Take the list of files, once; a job that was listed before goes on with that list."""
        job, store, screener = self.job, self.tools.store, self.screener
        fingerprint = screener.key.fingerprint
        if store.pin("patient_key", fingerprint) != fingerprint:
            raise JobFailed(
                f"the key file {job.options.key} holds another key than the one that this queue's "
                "reports were written with, so that patients would not be recognised; use that key, "
                "or another queue"
            )
        who = f"worker {job.worker}, {user_and_host()}"
        try:
            # A share that is away is waited for; its films have not vanished.
            job.folder.stat()
            films = [] if job.listed_at else discover(job.folder)
        except OSError as error:
            raise _unreadable(job, error) from error
        if job.listed_at:
            store.record(job, Event(now(), "resumed", job.name, who))
            return
        threshold = screener.card.operating_point.threshold
        runtime = screener.predictor.runtime
        detail = f"{screener.card.model}, {runtime}, threshold {threshold}, {who}"
        if (prevalence := screener.card.calibration.prevalence) is not None:
            detail += f", prevalence {prevalence:g}"
        history = [
            Event(now(), "started", job.name, detail, job.model_sha256),
            Event(now(), KEYED, fingerprint),
            Event(now(), "listed", job.name, f"{len(films)} files, folder {job.shown_folder}"),
        ]
        if screener.measured:
            target = runtime.partition("/")[0]
            history.append(Event(now(), CHOSEN, target, screener.measured))
        store.list_films(job, films, history)

    def _screen(self, left: list[Found], done: list[Row], failures: Failures) -> None:
        """Screen and commit, batch by batch, until all is done or too much has failed."""
        seen = Seen()
        for row in done:
            seen.add(row)
        failures.count(done)
        deaths = self.tools.store.deaths(self.job)
        for films in isolate_suspects(left, deaths):
            if failures.are_systemic() or self.tools.stop.asked:
                return
            if deaths.get(films[0].film, 0) >= DEADLY:
                rows = [self._killer(films[0])]
                self._commit(rows)
                failures.count(rows)
                continue
            batch = 1 if films[0].film in deaths else self.job.options.batch
            hand = InFlight(self._commit, films, batch, self.tools.stop, self.tools.pace)
            self._expect(batch)
            with closing(self.tools.engine.screen(self.screener, hand, seen, batch)) as batches:
                for rows in batches:
                    hand.put(rows)
                    self._expect(batch)
                    failures.count(rows)
                    if failures.are_systemic():
                        break
                hand.clear()

    def _expect(self, batch: int) -> None:
        # Each film of a batch may need a new decoder, and take as long as it is allowed to.
        self.heartbeat.expect(_BEGIN + 2 * batch * self.job.options.limits.seconds)

    def _commit(self, rows: list[Row], taken: Sequence[str] = ()) -> None:
        began = time.perf_counter()
        self.tools.store.commit(self.job, rows, self.tools.lease, taken)
        if rows:
            self.tools.watcher.committed(rows, time.perf_counter() - began)

    def _killer(self, found: Found) -> Row:
        sha256 = hash_now(self.job.folder, found)
        why = reason("killed_worker")
        return Row(
            film=found.film, sha256=sha256, status=Status.FAILED, reason=why, screened_at=now()
        )

    def _give_up(self, failures: Failures) -> None:
        """Every film that was not reached gets its row, too."""
        store = self.tools.store
        left = store.films_left(self.job)
        store.record(self.job, Event(now(), "given_up", self.job.name, str(failures)))
        why = reason("not_screened")
        for start in range(0, len(left), _MANY):
            self._commit(
                [
                    Row(film=found.film, status=Status.FAILED, reason=why, screened_at=now())
                    for found in left[start : start + _MANY]
                ]
            )

    def _reconciled(self) -> list[Row]:
        """Files in = rows out, or no report."""
        job, store = self.job, self.tools.store
        rows = store.rows(job)
        listed = store.get(job.name).films
        if len(rows) != listed or len({row.film for row in rows}) != listed:
            raise JobFailed(f"job {job.name} listed {listed} files but has {len(rows)} rows")
        return rows

    def _report(self, rows: list[Row], labels: Labels | None) -> Report:
        # pandas and SciPy are not waited for before the first film.
        from screening.report.drift.model_comparison import control
        from screening.report.drift.profile import NightProfile
        from screening.report.writer import Night, Report, write_report

        job, screener, store = self.job, self.screener, self.tools.store
        profile = NightProfile.of(rows)
        earlier = [NightProfile.from_dict(kept) for kept in store.nights(job, NIGHTS)]
        drift = control(profile, earlier, screener.card.reference)
        if is_report_of(job.report, job.name):
            # An earlier worker wrote it, and died before it could say so.
            store.save_night(job, profile.as_dict())
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
        store.save_night(job, profile.as_dict())
        return report

    def _history(self, rows: Iterable[Row]) -> list[Event]:
        """The job's events, what happened to its folder meanwhile, and who writes the report."""
        job, store = self.job, self.tools.store
        hashes = {row.film: row.sha256 for row in rows}
        try:
            late = late_events(
                job.folder, store.films(job), hashes, self.screener.shown_name, now()
            )
        except OSError as error:
            why = f"the folder could not be looked at again: {error.strerror}"
            late = [Event(now(), "not_compared", job.name, why)]
        writing = Event(now(), WRITING, job.name, f"worker {job.worker}, {user_and_host()}")
        return [*store.events(job), *late, writing]

    def _set_aside(self, rows: list[Row]) -> None:
        job = self.job
        if job.options.quarantine is not None:
            into = job.options.quarantine / job.name
            quarantine(rows, job.folder, into, self.screener.shown_name)


def _coming(left: Iterable[Found]) -> list[Row]:
    return [Row(film=found.film, status=Status.SCORED) for found in left]


def _unreadable(job: Job, error: OSError) -> FolderUnreadable:
    return FolderUnreadable(f"the folder {job.shown_folder} cannot be listed: {error.strerror}")
