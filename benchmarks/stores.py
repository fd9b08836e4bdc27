"""What the queue costs: ``python benchmarks/stores.py FILMS --queue QUEUE...``.

FILMS are screened by the engine alone and by a worker, in turn, on each queue: a new file for
SQLite, or an empty database of PostgreSQL (``postgresql://…``), on an idle machine. The table
stands in ``benchmarks/README.md``.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

from jobs.engines.local import LocalEngine
from jobs.outputs.observers import NullObserver
from jobs.queue.jobs import Job, Options
from jobs.queue.sql.database import open_database
from jobs.queue.sql.store import SqlStore
from jobs.queue.store import Store
from jobs.sources.submission import JobRequest, Opener, new_job
from jobs.worker.job_run import LEASE, Tools, run_job
from screening.files import Found, discover
from screening.inference.pipeline import Seen
from screening.report.writer import Report
from screening.results import Row

SHIPPED: Final = Path(__file__).parents[1] / "exports" / "shipped"

#: Jobs that are claimed.
_CLAIMS: Final = 400

#: Rows in a commit, where a film takes a few milliseconds.
_TOGETHER: Final = 128

#: Processes that claim at the same time.
_WORKERS: Final = 4


@dataclass(frozen=True)
class Screened:
    """One way through all films.

    Attributes:
        seconds: without those of the report.
        processor: seconds of it; with the queue, its share alone, with that of a server on this machine.
        queue: seconds for which the queue was waited for.
        commits: those of them in which rows were written.
    """

    seconds: float
    processor: float
    rows: list[Row]
    queue: float = 0.0
    commits: float = 0.0


class Clock(NullObserver):
    """Adds up what a worker says of its time."""

    def __init__(self) -> None:
        self.commits = 0.0
        self.report = 0.0

    def committed(self, _rows: list[Row], seconds: float) -> None:
        """Rows are written down."""
        self.commits += seconds

    def reported(self, _report: Report, seconds: float) -> None:
        """The report is there."""
        self.report += seconds


class Timed:
    """A store that adds up the seconds for which it is waited for, and those of the processor."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seconds = self.processor = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name == "renew":  # Nobody waits for it: it has a thread of its own.
            return method

        def timed(*arguments: Any, **keywords: Any) -> Any:
            began, used = time.perf_counter(), time.thread_time()
            try:
                return method(*arguments, **keywords)
            finally:
                self.seconds += time.perf_counter() - began
                self.processor += time.thread_time() - used

        return timed


@dataclass(frozen=True)
class Bench:
    """A folder, and how it is screened."""

    films: Path
    place: Path
    opener: Opener

    def job(self, name: str) -> Job:
        """A new one for the whole folder."""
        options = Options(key=self.place / "key", settle=0)
        request = JobRequest(
            folder=self.films, model=SHIPPED, options=options, report=self.place / name
        )
        return new_job(request, always=True)

    def alone(self) -> Screened:
        """By the engine, with no queue."""
        job, rows = self.job("alone"), []
        began, used = time.perf_counter(), time.process_time()
        with closing(self.opener.open(job)) as screener:
            films = discover(job.folder)
            for some in LocalEngine().screen(screener, films, Seen(), job.options.batch):
                rows += some
        return Screened(time.perf_counter() - began, time.process_time() - used, rows)

    def queued(self, store: Store, name: str) -> Screened:
        """By a worker."""
        timed, clock, served = Timed(store), Clock(), _server_seconds()
        store.add(self.job(name))
        began = time.perf_counter()
        job = _claimed(cast(Store, timed))
        tools = Tools(cast(Store, timed), LocalEngine(), self.opener.open, clock)
        timed.finish(job, run_job(job, tools))
        seconds = time.perf_counter() - began - clock.report
        processor = timed.processor + _server_seconds() - served
        return Screened(seconds, processor, store.rows(job), timed.seconds, clock.commits)


def _server_seconds() -> float:
    """Of the processor, that all PostgreSQL of this machine has used so far; proc_pid_stat(5)."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = process.read_text().rpartition(")")
            if words[0].endswith("(postgres"):
                ticks += sum(map(int, words[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def claims(queue: Path | str, bench: Bench, workers: int) -> float:
    """Claims a second of several processes, in a queue with as many jobs as they claim."""
    store, example = SqlStore(open_database(queue)), bench.job("claims")
    with closing(store):
        names = [f"{workers}-{number:05}" for number in range(_CLAIMS)]
        for name in names:
            store.add(replace(example, name=name))
        processes = get_context("spawn")
        with processes.Pool(workers, initializer=_open, initargs=(queue,)) as pool:
            pool.map(_ready, range(workers), chunksize=1)
            began = time.perf_counter()
            taken = sum(pool.map(_claim, [_CLAIMS // workers] * workers, chunksize=1))
            seconds = time.perf_counter() - began
        for name in names:
            store.cancel(name)
    return taken / seconds


_OPENED: Final[list[SqlStore]] = []


def _open(queue: Path | str) -> None:
    _OPENED.append(SqlStore(open_database(queue)))


def _ready(_number: int) -> None:
    _OPENED[0].totals()
    time.sleep(0.2)  # So that each process takes one.


def _claim(most: int) -> int:
    return sum(_OPENED[0].claim(f"bench-{number}", LEASE) is not None for number in range(most))


def commit_cost(queue: Path | str, bench: Bench, rows: Sequence[Row]) -> tuple[float, float]:
    """Wall-clock and processor milliseconds a film, for as many rows as a worker commits at once."""
    store, batch = SqlStore(open_database(queue)), _TOGETHER
    names = [row.film for row in rows]
    with closing(store):
        store.add(bench.job("commits"))
        job = _claimed(store)
        store.list_films(job, [Found(name, 1) for name in names], [])
        store.commit(job, [], LEASE, names[:batch])
        began, used = time.perf_counter(), time.process_time()
        for start in range(0, len(rows), batch):
            end = start + batch
            store.commit(job, rows[start:end], LEASE, names[end : end + batch])
        spent = time.perf_counter() - began, time.process_time() - used
        store.finish(job, 0)
    wall, processor = (1000 * seconds / len(rows) for seconds in spent)
    return wall, processor


def _claimed(store: Store) -> Job:
    job = store.claim("bench", LEASE)
    if job is None:
        sys.exit("the queue is not empty, or somebody else works on it")
    return job


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", type=Path)
    parser.add_argument("--queue", nargs="+", default=[])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stores-") as place:
        bench = Bench(arguments.films, Path(place), Opener(lambda _job, _sha256: ""))
        queues: dict[str, Path | str] = {"SQLite": Path(place) / "queue.sqlite"}
        queues |= {queue.split(":")[0]: queue for queue in arguments.queue}
        bench.alone()  # The first time the model is loaded.
        alone: list[Screened] = []
        queued: dict[str, list[Screened]] = {name: [] for name in queues}
        with ExitStack() as stack:
            stores = {name: _opened(queue, stack) for name, queue in queues.items()}
            for number in range(arguments.rounds):
                alone.append(bench.alone())
                for name, store in stores.items():
                    queued[name].append(bench.queued(store, f"{name}-{number}"))
        rows = alone[0].rows
        _show(len(rows), alone, queued)
        _show_statements(queues, bench, rows)


def _opened(queue: Path | str, stack: ExitStack) -> SqlStore:
    return stack.enter_context(closing(SqlStore(open_database(queue))))


def _show(films: int, alone: Sequence[Screened], queued: dict[str, list[Screened]]) -> None:
    """Of the processor, what the engine takes alone, and what the queue takes beside it."""
    print(f"\n{films} films, {len(alone)} rounds; ms a film: median (least to most)\n")
    print(
        "| | a film | processor | waits for the queue | for its commits | longer by | more work |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, ways in {"engine alone": alone, **queued}.items():
        columns = zip(*[(w.seconds, w.processor, w.queue, w.commits) for w in ways], strict=True)
        each = [_spread([1000 * seconds / films for seconds in column]) for column in columns]
        longer = median(100 * w.queue / (w.seconds - w.queue) for w in ways)
        more = [100 * w.processor / a.processor for w, a in zip(ways, alone, strict=True)]
        added = ["", ""] if ways is alone else [f"{longer:.1f} %", f"{median(more):.1f} %"]
        print("|", name, "|", " | ".join([*each, *added]), "|")


def _show_statements(queues: dict[str, Path | str], bench: Bench, rows: Sequence[Row]) -> None:
    print("\n| | commit, ms a film | of the processor |", end="")
    print(f" claims/s, one process | {_WORKERS} processes |\n| --- | --- | --- | --- | --- |")
    for name, queue in queues.items():
        wall, processor = commit_cost(queue, bench, rows)
        rates = [claims(queue, bench, workers) for workers in (1, _WORKERS)]
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {rates[0]:.0f} | {rates[1]:.0f} |")


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
