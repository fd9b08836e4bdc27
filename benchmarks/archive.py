"""Measure a queue with very many films: ``python benchmarks/archive.py --queue QUEUE``.

Nothing is screened. Jobs of 100,000 synthetic films are listed, their rows are committed as by a
worker, and the jobs are finished, one after the other, up to ``--films 1000000``. Each job adds one
line to the CSV: the size of the ledger on disk, and the cost of writing and querying. Costs that
depend on the size of the ledger would grow from line to line. QUEUE is a new file for SQLite, or an
empty PostgreSQL database.
"""

import argparse
import csv
import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from sqlalchemy import text

from jobs.queue.jobs import Job, Options, new_name
from jobs.queue.sql.database import Database, open_database
from jobs.queue.sql.store import SqlStore
from jobs.worker.job_run import LEASE
from screening.files import Found, now
from screening.results import Row, Status

#: Rows per commit, as in a worker that needs a few milliseconds per film.
_TOGETHER: Final = 128


@dataclass(frozen=True)
class Step:
    """Figures after one more job.

    Attributes:
        films: number of films in the queue so far.
        bytes_a_film: bytes per film on disk, including indexes.
        list_us: microseconds per film to list the folder.
        commit_us: microseconds per film to commit its row.
        claim_ms: milliseconds to claim the job.
        left_ms: milliseconds to query the films without a row, when none is left.
        before_us: microseconds to query whether a finished job of the folder has scored a file.
        rows_us: microseconds per film to read the rows for the report.
    """

    films: int
    bytes_a_film: float
    list_us: float
    commit_us: float
    claim_ms: float
    left_ms: float
    before_us: float
    rows_us: float


def main() -> None:
    """Write the CSV line by line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--films", type=int, default=1_000_000)
    parser.add_argument("--job", type=int, default=100_000, help="films of one job")
    arguments = parser.parse_args()
    database = open_database(arguments.queue if "://" in arguments.queue else Path(arguments.queue))
    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(Step)])
    writer.writeheader()
    with closing(SqlStore(database)) as store:
        for number in range(arguments.films // arguments.job):
            step = _one_more(store, database, number, arguments.job)
            writer.writerow({name: round(value, 3) for name, value in asdict(step).items()})
            sys.stdout.flush()


def _one_more(store: SqlStore, database: Database, number: int, films: int) -> Step:
    job = _job(number)
    store.add(job)
    watch = _Watch()
    claimed = store.claim("archive", LEASE)
    if claimed is None:
        sys.exit("the queue is not empty, or somebody else works on it")
    claim = watch.lap()
    names = [f"{index // 1000:03}/{index:06}.dcm" for index in range(films)]
    store.list_films(claimed, [Found(name, 7_000_000) for name in names], [])
    listed = watch.lap()
    for rows in _rows(job, names):
        store.commit(claimed, rows, LEASE, [row.film for row in rows])
    committed = watch.lap()
    store.films_left(claimed)
    left = watch.lap()
    for name in names[:100]:
        store.scored_before(claimed, _sha256(job, name))
    before = watch.lap() / 100
    store.rows(claimed)
    read = watch.lap()
    store.finish(claimed, 0)
    done = (number + 1) * films
    return Step(
        films=done,
        bytes_a_film=_size(database) / done,
        list_us=1e6 * listed / films,
        commit_us=1e6 * committed / films,
        claim_ms=1e3 * claim,
        left_ms=1e3 * left,
        before_us=1e6 * before,
        rows_us=1e6 * read / films,
    )


def _size(database: Database) -> int:
    """Size of the database in bytes, including the content of SQLite's write-ahead log."""
    with database.writing() as connection:
        if connection.dialect.name == "postgresql":
            return int(connection.scalar(text("SELECT pg_database_size(current_database())")))
        pages, size = (
            connection.scalar(text(f"PRAGMA {what}")) for what in ("page_count", "page_size")
        )
    return int(pages * size)


def _job(number: int) -> Job:
    return Job(
        name=f"{new_name()}-{number}",
        folder=Path(f"/archive/{number:05}"),
        model=Path("/bundle"),
        model_sha256="0" * 64,
        report=Path(f"/reports/{number:05}"),
        options=Options(key=Path("/key")),
        submitted_at=now(),
    )


def _rows(job: Job, names: list[str]) -> Iterator[list[Row]]:
    """Yield batches of rows with all fields that rows of real films have."""
    for start in range(0, len(names), _TOGETHER):
        yield [
            Row(
                film=name,
                sha256=_sha256(job, name),
                status=Status.SCORED,
                probability=0.123456,
                prediction="NORMAL",
                threshold=0.984696,
                patient=_sha256(job, name)[:16],
                view="PA",
                modality="DX",
                model="efficientnet-lite0 0123abcd",
                model_sha256=job.model_sha256,
                screened_at=job.submitted_at,
                seconds=0.0312,
                runtime="onnx/onnxruntime 1.32.0",
                instance=_sha256(job, name)[:16],
                study=_sha256(job, name)[16:32],
                sex="F",
                age_band="40-64",
                manufacturer="ACME",
                tensor_sha256=_sha256(job, name[::-1]),
                frontal=0.9987,
                domain_distance=0.4321,
                grey_mean=0.512345,
                grey_sd=0.212345,
                black=0.012345,
                white=0.012345,
                sharpness=0.012345,
                decoding="mean/4",
            )
            for name in names[start : start + _TOGETHER]
        ]


def _sha256(job: Job, name: str) -> str:
    return hashlib.sha256(f"{job.name} {name}".encode()).hexdigest()


class _Watch:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last


if __name__ == "__main__":
    main()
