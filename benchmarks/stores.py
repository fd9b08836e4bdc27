"""Measure the overhead of the queue: ``python benchmarks/stores.py FILMS --queue QUEUE...``.

FILMS are screened in turn by the engine alone and by a worker on each queue, on an idle machine. A
queue is a new file for SQLite, or an empty PostgreSQL database (``postgresql://…``). The table is
in ``benchmarks/README.md``.
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
from jobs.queue.store import JobStore, RunHistory
from jobs.sources.submission import JobRequest, Opener, new_job
from jobs.worker.job_run import LEASE, Tools, run_job
from screening.files import Found, discover
from screening.inference.pipeline import Seen
from screening.report.writer import Report
from screening.results import Row

SHIPPED: Final = Path(__file__).parents[1] / "exports" / "shipped"

#: Number of jobs to claim.
_CLAIMS: Final = 400

#: Rows per commit, as in a worker that needs a few milliseconds per film.
_TOGETHER: Final = 128

#: Number of processes that claim concurrently.
_WORKERS: Final = 4


@dataclass(frozen=True)
class Screened:
    """Figures of one run over all films.

    Attributes:
        seconds: wall-clock seconds without the report.
        processor: CPU seconds. With a queue, only those of the queue, including a server on this
            machine.
        rows: the rows of the run.
        queue: seconds spent waiting for the queue.
        commits: seconds spent committing rows, included in `queue`.
    """

    seconds: float
    processor: float
    rows: list[Row]
    queue: float = 0.0
    commits: float = 0.0


class Clock(NullObserver):
    """Adds up the times that a worker reports."""

    def __init__(self) -> None:
        self.commits = 0.0
        self.report = 0.0

    def committed(self, _rows: list[Row], seconds: float) -> None:
        """Add the time of a commit."""
        self.commits += seconds

    def reported(self, _report: Report, seconds: float) -> None:
        """Add the time of the report."""
        self.report += seconds


class Timed:
    """A store that adds up the wall-clock and CPU seconds of its calls."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.seconds = self.processor = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name == "renew":  # Runs in its own thread, so nothing waits for it.
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
    """Screens one folder, with or without a queue."""

    films: Path
    place: Path
    opener: Opener

    def job(self, name: str) -> Job:
        """Create a new job for the whole folder."""
        options = Options(key=self.place / "key", settle=0)
        request = JobRequest(
            folder=self.films, model=SHIPPED, options=options, report=self.place / name
        )
        return new_job(request, always=True)

    def alone(self) -> Screened:
        """Screen with the engine alone, without a queue."""
        job, rows = self.job("alone"), []
        began, used = time.perf_counter(), time.process_time()
        with closing(self.opener.open(job)) as screener:
            films = discover(job.folder)
            for some in LocalEngine().screen(screener, films, Seen(), job.options.batch):
                rows += some
        return Screened(time.perf_counter() - began, time.process_time() - used, rows)

    def queued(self, store: SqlStore, name: str) -> Screened:
        """Screen with a worker."""
        timed, clock, served = Timed(store), Clock(), _server_seconds()
        store.add(self.job(name))
        began = time.perf_counter()
        job = _claimed(cast(JobStore, timed))
        tools = Tools(
            cast(JobStore, timed), cast(RunHistory, timed), LocalEngine(), self.opener.open, clock
        )
        timed.finish(job, run_job(job, tools))
        seconds = time.perf_counter() - began - clock.report
        processor = timed.processor + _server_seconds() - served
        return Screened(seconds, processor, store.rows(job), timed.seconds, clock.commits)


def _server_seconds() -> float:
    """CPU seconds used so far by all PostgreSQL processes of this machine; see proc_pid_stat(5)."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = process.read_text().rpartition(")")
            if words[0].endswith("(postgres"):
                ticks += sum(map(int, words[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def claims(queue: Path | str, bench: Bench, workers: int) -> float:
    """Claims per second of several processes, in a queue with exactly as many jobs."""
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
    time.sleep(0.2)  # Ensures that each process takes one call.


def _claim(most: int) -> int:
    return sum(_OPENED[0].claim(f"bench-{number}", LEASE) is not None for number in range(most))


def commit_cost(queue: Path | str, bench: Bench, rows: Sequence[Row]) -> tuple[float, float]:
    """Wall-clock and CPU milliseconds per film, committing as many rows at once as a worker."""
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


def _claimed(store: JobStore) -> Job:
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
        bench.alone()  # Warm-up: the first run loads the model.
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
    """Print the times of the engine alone and the additional times of the queue."""
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
