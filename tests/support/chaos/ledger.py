"""Read-only view of the queue and its workers, while they run."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from jobs.queue.jobs import State
from jobs.queue.sql.database import open_database
from jobs.queue.sql.schema import films, jobs
from jobs.queue.sql.store import SqlStore


@dataclass(frozen=True)
class Holder:
    """A process that holds a job.

    Attributes:
        in_hand: number of its films that are being read or scored.
        suspects: number of its films without a row that were in progress when a worker was lost.
    """

    pid: int
    job: str
    in_hand: int
    suspects: int


class Ledger:
    """Read-only access to the queue."""

    def __init__(self, queue: Path | str) -> None:
        self._database = open_database(queue)
        self.store = SqlStore(self._database)

    def committed(self) -> int:
        """Return the number of films in all jobs that have a row."""
        with self._database.reading() as connection:
            return connection.scalar(select(func.coalesce(func.sum(jobs.c.committed), 0))) or 0

    def holders(self) -> list[Holder]:
        """Return the processes that hold a job whose films are listed."""
        open_film = (films.c.job_id == jobs.c.id) & films.c.row.is_(None)
        left = select(func.count()).where(open_film)
        query = select(
            jobs.c.worker,
            jobs.c.name,
            left.where(films.c.in_hand == 1).scalar_subquery(),
            left.where(films.c.deaths > 0).scalar_subquery(),
        ).where(jobs.c.state == State.RUNNING, jobs.c.listed_at != "")
        with self._database.reading() as connection:
            return [
                Holder(int(worker.split(":")[-2]), name, in_hand, suspects)
                for worker, name, in_hand, suspects in connection.execute(query)
                if worker
            ]

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.close()
