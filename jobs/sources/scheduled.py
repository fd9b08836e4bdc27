"""Enqueue the jobs of schedules when they are due."""

from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from jobs.queue.jobs import Job
from jobs.queue.schedules import Schedule, ScheduleStore, due
from jobs.sources.submission import JobRequest, new_job
from screening.errors import ScreeningError

#: Seconds before a schedule whose job could not be created is tried again.
_AGAIN = 60.0

#: Seconds by which the last firing may lie in the future: the clocks of hosts differ.
_AHEAD = 3600.0


class ScheduleSource:
    """A :class:`~jobs.worker.worker.JobSource` for all schedules of a queue.

    Every worker of the queue has one; each firing is enqueued exactly once.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, agenda: ScheduleStore, clock: Callable[[], float]) -> None:
        self._agenda = agenda
        self._clock = clock
        self._began = clock()
        self._later: dict[str, float] = {}

    def feed(self) -> None:
        """Enqueue due firings, and missed ones up to each schedule's limit."""
        now = self._clock()
        for schedule in self._agenda.schedules():
            # Do not wait longer if the clock was set back.
            if now < self._later.get(schedule.name, 0.0) <= now + _AGAIN:
                continue
            self._later.pop(schedule.name, None)
            if schedule.last > now + _AHEAD:
                # The schedule does not fire until then.
                self._later[schedule.name] = now + _AGAIN
                structlog.get_logger().warning("clock_was_ahead", schedule=schedule.name)
                continue
            try:
                self._feed(schedule, now)
            except (OSError, ScreeningError) as error:
                # The firing stays due. Only the error's type is logged: its text may name a film.
                self._later[schedule.name] = now + _AGAIN
                kind = type(error).__name__
                structlog.get_logger().error("schedule_not_fired", schedule=schedule.name, why=kind)

    def _feed(self, schedule: Schedule, now: float) -> None:
        fired = due(schedule.times, schedule.last, now, schedule.catch_up)
        if not fired.firings and fired.skipped and fired.skipped[-1] >= self._began:
            # Nothing was switched off: the worker was busy, or the job could not be created.
            fired = due(schedule.times, schedule.last, now, 1)
        times = [*fired.skipped, *fired.firings]
        if not times:
            return
        taken = self._agenda.reports(schedule.name)
        jobs = {}
        for at in fired.firings:
            jobs[at] = _job(schedule, at, taken)
            taken.add(jobs[at].report)
        if not self._agenda.fire(schedule, jobs, fired.skipped, max(times)):
            return
        log = structlog.get_logger().bind(schedule=schedule.name)
        if fired.skipped:
            log.warning("firings_skipped", number=len(fired.skipped), more=fired.more)
        for at, job in jobs.items():
            log.info("schedule_fired", fires_at=schedule.times.local(at).isoformat(), job=job.name)


def _job(schedule: Schedule, at: int, taken: Collection[Path]) -> Job:
    request = JobRequest(
        folder=schedule.folder_at(at),
        model=schedule.model,
        options=schedule.options,
        report=schedule.report_at(at),
        reports=schedule.reports,
        priority=schedule.priority,
        tags=schedule.tags,
    )
    return new_job(request, schedule=schedule.name, taken=taken)
