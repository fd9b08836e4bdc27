"""Inject faults into workers, and check that no film is lost or duplicated: ``make chaos``.

``python -m chaos.campaign --rounds 200 --films 20000 --store both`` in ``tests/support``. Films are
made from those in SCREENING_FILMS, or from the one real film included in pydicom-data.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.disk import Disk, small_disk
from chaos.films import Grey, real_films, write_films
from chaos.ledger import Holder, Ledger
from chaos.workers import Workers
from jobs.errors import QueueUnavailable
from jobs.queue.jobs import OPEN, State
from makers import COMMAND, encoded
from postgres import Server, served
from screening.audit import is_report_of
from screening.report.verification import verify
from screening.results import PREDICTIONS, Status, read_rows

#: Number of concurrent worker processes.
WORKERS: Final = 4

#: Seconds; short, so that a stopped worker loses its job.
LEASE: Final = 10.0

#: Minimum share of faults that occur while a film is in progress.
_READING: Final = 0.85

#: Number of real films that variants are made from.
_BASES: Final = 300

#: Minimum score as a frontal chest film, 0 to 1: high enough that noise does not change the result.
_CLEAR: Final = 0.98

#: Seconds without progress after which the campaign counts as stuck.
_STUCK: Final = 300.0


@dataclass
class Struck:
    """Counts injected faults, and those that hit a film in progress."""

    all: Counter[str] = field(default_factory=Counter)
    in_hand: Counter[str] = field(default_factory=Counter)

    def count(self, fault: str, in_hand: int) -> None:
        """Count one fault.

        Args:
            in_hand: number of films in progress.
        """
        self.all[fault] += 1
        self.in_hand[fault] += in_hand > 0

    @property
    def waits(self) -> bool:
        """Whether the next fault must wait until a film is in progress."""
        return self.in_hand.total() < _READING * (self.all.total() + 1)

    def summary(self) -> Iterator[str]:
        """Yield the lines of a readable summary."""
        for fault, times in [*sorted(self.all.items()), ("all", self.all.total())]:
            in_hand = self.in_hand.total() if fault == "all" else self.in_hand[fault]
            yield f"  {fault:24} {times:4}, {in_hand:4} with a film in hand"

    def complaints(self, rounds: int) -> Iterator[str]:
        """Yield a complaint if fewer faults than planned were injected."""
        if self.all.total() < rounds:
            yield f"only {self.all.total()} of {rounds} rounds"


@dataclass
class Campaign:
    """One queue, its workers, and the faults injected into them.

    Attributes:
        disk: holds the reports, and SQLite's queue; None if none can be mounted.
        server: PostgreSQL server; None for SQLite.
        points: numbers of films, committed or in progress, at which to inject a fault; ascending.
    """

    ledger: Ledger
    workers: Workers
    reports: Path
    disk: Disk | None
    server: Server | None
    rng: random.Random
    points: list[int]
    struck: Struck = field(default_factory=Struck)
    seen: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def run(self, films: int) -> None:
        """Run until every job has ended, or no progress is made any more."""
        committed, moved = 0, time.monotonic()
        while self.workers.done < self.workers.number:
            self.workers.tend()
            self._catch_up()
            try:
                now = self.ledger.committed()
                self._look_at_reports()
                holders = self.ledger.holders()
                taken = now + sum(holder.in_hand for holder in holders)
                if self.points and taken > self.points[0]:
                    self._strike(holders)
                if self.workers.done and not self.ledger.store.jobs(*OPEN):
                    self.points.clear()
            except QueueUnavailable:
                now = committed
            if now != committed:
                committed, moved = now, time.monotonic()
            if time.monotonic() - moved > _STUCK:
                self.complaints.append(f"stuck at {committed} of {films} films")
                return
            time.sleep(0.02)
        self._catch_up(at_once=True)

    def _strike(self, holders: Sequence[Holder]) -> None:
        faults = ["kill -9", "SIGTERM", "SIGSTOP past the lease"]
        faults += ["disk full"] * (self.disk is not None)
        faults += ["database restarted"] * (self.server is not None)
        fault = self.rng.choice(faults)
        holders = [
            holder
            for holder in holders
            if holder.pid in self.workers.running and holder.pid not in self.workers.frozen
        ]
        if not holders or (self._later and fault in ("disk full", "database restarted")):
            return
        if self.struck.waits:
            holders = [holder for holder in holders if holder.in_hand]
            if not holders:
                return
        victim = self.rng.choice(holders)
        if fault in ("disk full", "database restarted"):
            self._strike_all(fault)
            self.struck.count(fault, sum(holder.in_hand for holder in holders))
        elif fault == "SIGTERM" or not victim.suspects:
            # A film in progress in two dead workers fails by design; the campaign avoids that.
            self._strike_one(fault, victim)
            self.struck.count(fault, victim.in_hand)
        else:
            return
        self.points.pop(0)

    def _strike_one(self, fault: str, victim: Holder) -> None:
        if fault == "kill -9":
            os.kill(victim.pid, signal.SIGKILL)
        elif fault == "SIGTERM":
            os.kill(victim.pid, signal.SIGTERM)
        else:
            self.workers.freeze(victim.pid, LEASE + self.rng.uniform(1, 5))

    def _strike_all(self, fault: str) -> None:
        soon = time.monotonic() + self.rng.uniform(0.5, 3)
        if fault == "disk full" and self.disk is not None:
            self.disk.fill()
            self._later.append((soon, self.disk.free))
        elif self.server is not None:
            way = self.rng.choice(["fast", "immediate", "kill"])
            if way == "kill":
                self.server.kill()
            else:
                self.server.stop(way)
            self._later.append((soon, self.server.start))

    def _catch_up(self, *, at_once: bool = False) -> None:
        for due in list(self._later):
            if at_once or time.monotonic() >= due[0]:
                due[1]()
                self._later.remove(due)

    def _look_at_reports(self) -> None:
        """Check that reports are complete from the moment they become visible."""
        for report in self.reports.iterdir():
            if report.name.startswith(".") or report.name in self.seen:
                continue
            self.seen.add(report.name)
            if not is_report_of(report, _job_of(report, self.ledger)):
                self.complaints.append(f"a partial report is visible: {report.name}")


def _job_of(report: Path, ledger: Ledger) -> str:
    return next(job.name for job in ledger.store.jobs() if job.report == report)


def check(ledger: Ledger, folders: Sequence[Path], reports: Path) -> Iterator[str]:
    """Yield complaints unless every film is scored exactly once and no job left anything behind."""
    jobs = {job.folder: job for job in ledger.store.jobs()}
    for folder in folders:
        job = jobs[folder]
        if job.exit_code != 0:
            yield f"job {job.name} is {job.state}, exit code {job.exit_code}: {job.message}"
        rows = read_rows(job.report / PREDICTIONS) if job.state is State.DONE else []
        films = sorted(path.name for path in folder.iterdir())
        if [row.film for row in rows] != films:
            yield f"job {job.name} has {len(rows)} rows for {len(films)} films"
        others = Counter(str(row.reason) for row in rows if row.status is not Status.SCORED)
        if others:
            yield f"job {job.name} has films that are not scored: {dict(others)}"
        if verify(job.report):
            yield f"the audit of job {job.name} is broken"
    left = sorted(path.name for path in reports.iterdir() if path.name.startswith("."))
    if left:
        yield f"left beside the reports: {left}"


def screening(environment: Mapping[str, str], *words: object) -> None:
    """Run the installed command."""
    command = [COMMAND, *map(str, words)]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def clear_films(place: Path, environment: Mapping[str, str], rng: random.Random) -> list[Grey]:
    """Return a few hundred real films that the shipped model accepts as frontal chest films."""
    source = os.environ.get("SCREENING_FILMS")
    real = real_films(Path(source) if source else None)
    some = rng.sample(real, min(_BASES, len(real)))
    place.mkdir()
    for number, film in enumerate(some):
        (place / f"{number:04}.png").write_bytes(encoded(film))
    report = place.with_name("clear")
    screening(environment, "run", place, "--out", report, "--settle", 0)
    rows = read_rows(report / PREDICTIONS)
    return [film for film, row in zip(some, rows, strict=True) if (row.frontal or 0) > _CLEAR]


def campaign(place: Path, store: str, films: int, rounds: int, jobs: int, seed: int) -> list[str]:
    """Run a campaign on one store in a new folder, print a summary, and return all complaints."""
    started = time.monotonic()
    rng = random.Random(seed)
    place.mkdir(exist_ok=True)
    environment = dict(os.environ) | {"XDG_STATE_HOME": str(place / "state")}
    folders = [place / "films" / f"{number:03}" for number in range(jobs)]
    write_films(folders, films // jobs, clear_films(place / "real", environment, rng), seed)
    made = time.monotonic() - started
    with ExitStack() as stack:
        disk = _disk(stack, place / "disk", films)
        server = stack.enter_context(served()) if store == "postgresql" else None
        queue = server.database() if server else place / "disk" / "queue.sqlite"
        reports = place / "disk" / "reports"
        reports.mkdir()
        for number, folder in enumerate(folders):
            words = ("submit", folder, "--queue", queue, "--settle", 0, "--retries", 20)
            screening(environment, *words, "--out", reports / f"{number:03}")
        ledger = Ledger(queue)
        stack.callback(ledger.close)
        (place / "logs").mkdir()
        workers = Workers(WORKERS, place / "logs", str(queue), LEASE, environment)
        stack.callback(workers.end)
        points = sorted(rng.randrange(films) for _ in range(rounds))
        whole = Campaign(ledger, workers, reports, disk, server, rng, points)
        whole.run(films)
        complaints = [*whole.complaints, *workers.complaints, *check(ledger, folders, reports)]
        claims = sum(job.fence for job in ledger.store.jobs())
    complaints += whole.struck.complaints(rounds)
    lines = [
        f"{store}: {films} films in {jobs} jobs, {WORKERS} workers, seed {seed}",
        *whole.struck.summary(),
        f"  {workers.starts} workers started, jobs claimed {claims} times",
        f"  films made in {made:.0f} s, screened in {time.monotonic() - started - made:.0f} s",
        *(f"  WRONG: {complaint}" for complaint in complaints),
        *([] if complaints else ["  every film is in its report exactly once, scored"]),
    ]
    sys.stdout.write("\n".join([*lines, ""]))
    return complaints


def _disk(stack: ExitStack, place: Path, films: int) -> Disk | None:
    """Mount a small disk; where that fails, use a folder instead."""
    try:
        return stack.enter_context(small_disk(place, 64 + films // 100))
    except OSError as error:
        sys.stdout.write(f"no disk that can be full: {error}\n")
        place.mkdir(exist_ok=True)
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns and print summaries; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--films", type=int, default=20_000, help="in all, on each store")
    parser.add_argument("--jobs", type=int, default=40, help="that share them")
    parser.add_argument("--rounds", type=int, default=200, help="faults, on each store")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other films and faults")
    parser.add_argument("--keep", type=Path, help="a new folder for films, reports and logs")
    asked = parser.parse_args(arguments)
    stores = ["sqlite", "postgresql"] if asked.store == "both" else [asked.store]
    wrong = []
    for store in stores:
        with tempfile.TemporaryDirectory(prefix="chaos-") as place:
            kept = asked.keep and asked.keep.with_name(f"{asked.keep.name}-{store}")
            wrong += campaign(
                kept or Path(place) / store,
                store,
                asked.films,
                asked.rounds,
                asked.jobs,
                asked.seed,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
