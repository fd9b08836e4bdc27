"""SQL storage of schedules, firings and watched folders."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from jobs.errors import ScheduleError
from jobs.queue.jobs import OPEN, Job
from jobs.queue.schedules import Schedule, ScheduledRun, WatchedFolder
from jobs.queue.sql.database import Database
from jobs.queue.sql.queries import insert_job, line_of_schedule, schedule_of
from jobs.queue.sql.schema import firings, jobs, schedules, watched
from screening.files import path_of, text_of

#: Names per query; databases limit the number of parameters.
_MOST: Final = 500


class SqlScheduleStore:
    """An :class:`~jobs.queue.schedules.ScheduleStore` in the database of the queue.

    Args:
        database: from :func:`jobs.queue.sql.database.open_database`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, schedule: Schedule) -> None:
        """Add a schedule."""
        line = line_of_schedule(schedule)
        try:
            with self._database.writing() as connection:
                connection.execute(schedules.insert().values(line))
        except IntegrityError as error:
            if schedule not in self.schedules():
                raise ScheduleError(
                    f"there is already a schedule {schedule.name}; remove it, or choose another --name"
                ) from error

    def schedules(self) -> list[Schedule]:
        """Return all schedules, sorted by name."""
        with self._database.reading() as connection:
            lines = connection.execute(select(schedules).order_by(schedules.c.name)).mappings()
            return [schedule_of(dict(line)) for line in lines]

    def remove(self, name: str) -> None:
        """Delete a schedule and its firings; the jobs it has queued are kept."""
        with self._database.writing() as connection:
            gone = connection.execute(delete(schedules).where(schedules.c.name == name))
            if not gone.rowcount:
                raise ScheduleError(f"there is no schedule {name}; see `screening schedule list`")

    def firings(self, name: str) -> list[ScheduledRun]:
        """Return a schedule's firings that were handled, oldest first."""
        query = select(firings.c.at, firings.c.job).where(firings.c.schedule == name)
        with self._database.reading() as connection:
            return [
                ScheduledRun(*line) for line in connection.execute(query.order_by(firings.c.at))
            ]

    def fire(
        self, schedule: Schedule, due: Mapping[int, Job], skipped: Sequence[int], last: int
    ) -> bool:
        """Queue the jobs of due firings; return False if another process has done so."""
        unchanged = (schedules.c.name == schedule.name) & (schedules.c.last == schedule.last)
        names = {at: job.name for at, job in due.items()} | dict.fromkeys(skipped, "")
        lines = [
            {"schedule": schedule.name, "at": at, "job": name} for at, name in sorted(names.items())
        ]
        with suppress(IntegrityError), self._database.writing() as connection:
            moved = update(schedules).where(unchanged).values(last=last)
            if connection.execute(moved).rowcount:
                connection.execute(firings.insert(), lines)
                for _at, job in sorted(due.items()):
                    insert_job(connection, job)
                return True
            # If the answer to an earlier call was lost, its jobs exist.
            return bool(due) and _all_there(connection, due)
        # A new job's name was taken, a chance of one in millions; the next attempt draws new ones.
        return False

    def reports(self, name: str) -> set[Path]:
        """Return the report paths of a schedule's open jobs."""
        query = select(jobs.c.report).where(jobs.c.schedule == name, jobs.c.state.in_(OPEN))
        with self._database.reading() as connection:
            return {Path(path_of(report)) for report in connection.scalars(query)}

    def watched(self, folder: Path, names: Collection[str]) -> dict[str, WatchedFolder]:
        """Return the records of these sub-folders of `folder` that have become jobs, by name."""
        c = watched.c
        coming = iter(names)
        found = {}
        with self._database.reading() as connection:
            while portion := [text_of(name) for name in islice(coming, _MOST)]:
                query = select(c.name, c.modified_ns, c.job).where(
                    c.folder == text_of(str(folder)), c.name.in_(portion)
                )
                for name, modified_ns, job in connection.execute(query):
                    found[path_of(name)] = WatchedFolder(modified_ns, job)
        return found

    def watch(self, folder: Path, name: str, modified_ns: int, job: Job) -> bool:
        """Queue the job of a sub-folder; return False if it has become a job before."""
        line = {
            "folder": text_of(str(folder)),
            "name": text_of(name),
            "modified_ns": modified_ns,
            "job": job.name,
        }
        try:
            with self._database.writing() as connection:
                connection.execute(watched.insert().values(line))
                insert_job(connection, job)
        except IntegrityError:
            before = self.watched(folder, [name]).get(name)
            return before is not None and before.job == job.name
        return True

    def rewatch(self, folder: Path, name: str, modified_ns: int) -> None:
        """Record the new modification time of a sub-folder that changed after it became a job."""
        same = (watched.c.folder == text_of(str(folder))) & (watched.c.name == text_of(name))
        with self._database.writing() as connection:
            connection.execute(update(watched).where(same).values(modified_ns=modified_ns))


def _all_there(connection: Connection, due: Mapping[int, Job]) -> bool:
    names = {job.name for job in due.values()}
    found = connection.scalars(select(jobs.c.name).where(jobs.c.name.in_(names)))
    return set(found) == names
