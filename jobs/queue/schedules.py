"""Schedules: when they run, with which folder, and what was missed."""

import re
from bisect import bisect_left
from calendar import timegm
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise, takewhile
from math import floor
from pathlib import Path
from string import Formatter
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from tzlocal import get_localzone

from jobs.errors import ScheduleError
from jobs.queue.jobs import Job, Options


def local_zone() -> str:
    """The zone's name in the IANA database, from ``TZ`` or the files in ``/etc``; else UTC.

    Raises:
        ScheduleError: if the machine has a zone without a name, like ``TZ=CET-1CEST``, or its files
            contradict each other.
    """
    try:
        return ZoneInfo(str(get_localzone())).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            "the time zone of this machine has no name that is known; give one, like Europe/Berlin"
        ) from error


#: Python's directives less ``%c %x %X``, which depend on the locale, and ``%f``, always 0.
_FORMAT: Final = re.compile(r"(?:[^{}%]|%[aAbBdGHIjmMpSuUVwWyYzZ%])*")

_EXPECTED: Final = (
    "expected {date}, {yesterday}, or either with a format, like {date:%Y/%m/%d}; "
    "a brace itself is written twice"
)


def expand(template: str, at: datetime) -> str:
    """The folder for one firing.

    ``{date}`` is the day of the firing, ``2026-11-22``; ``{yesterday}`` the day before in the
    calendar, also where that day has 23 or 25 hours. ``{date:%Y/%m/%d}`` writes it by strftime(3);
    ``%H`` and ``%M`` are the time of the firing. Nothing else of :meth:`str.format` is understood.

    Args:
        at: when it fired, on the clocks of the schedule's time zone.

    Raises:
        ScheduleError: naming the template, if anything else is in braces.
    """
    days = {"date": at, "yesterday": at - timedelta(days=1)}
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ScheduleError(f"the template {template!r}: {error}; {_EXPECTED}") from error
    return "".join(
        literal + ("" if name is None else _written(template, days.get(name), spec, conversion))
        for literal, name, spec, conversion in parts
    )


def _written(template: str, day: datetime | None, spec: str | None, conversion: str | None) -> str:
    """The day in the format asked for; None if it is not known by its name."""
    form = spec or "%Y-%m-%d"
    if day is None or conversion or "%" not in form or not _FORMAT.fullmatch(form):
        raise ScheduleError(f"the template {template!r} cannot be understood; {_EXPECTED}")
    return re.sub("%.", lambda directive: day.strftime(directive[0]), form)


#: Seconds after which a firing that was not queued counts as missed; Quartz takes as many.
GRACE: Final = 60.0

#: Skipped firings that are named one by one.
NAMED: Final = 1000

_HOUR: Final = 3600
_DAY: Final = 86400
_CENTURY: Final = 36525 * _DAY


@dataclass(frozen=True)
class Times:
    """A cron expression and the time zone whose clocks it is read by.

    Where clocks are put on or back, this does what cron(8) of Debian does:

    - An expression with a fixed time (neither the minute nor the hour begins with ``*``) fires once
      for each time it names. A time that clocks skip fires when they have been put on: 02:30 fires
      at 03:00, and so does 02:00; together they fire once. A time that clocks show twice fires the
      first time.
    - Any other expression (``*/15 * * * *``, ``0 * * * *``) fires whenever clocks show a time that
      fits: not at all in an hour that is skipped, twice in one that comes twice.

    One thing is otherwise: to Debian, clocks that are moved by three hours or more have been set
    right. Here a day that is skipped is a gap like any other.

    Args:
        cron: minute, hour, day of month, month and day of week, as in crontab(5). If both days are
            given, either will do; if one begins with ``*``, both must fit.
        tz: the time zone's name in the IANA database.

    Raises:
        ScheduleError: if the expression cannot be understood or never fires, or if there is no such
            time zone.
    """

    cron: str
    tz: str

    def __post_init__(self) -> None:
        _check_zone(self.tz)
        _check_cron(self.cron)

    @property
    def zone(self) -> ZoneInfo:
        """The rules of the time zone."""
        return ZoneInfo(self.tz)

    def local(self, at: float) -> datetime:
        """What clocks show.

        Args:
            at: seconds since the epoch.
        """
        return datetime.fromtimestamp(at, self.zone)

    def between(self, after: float, until: float) -> Iterator[int]:
        """When it fires, in order, each time once.

        Two windows side by side give what the whole window gives.

        Args:
            after: seconds since the epoch; what fires at this very moment is left out.
            until: seconds since the epoch; what fires at this very moment is the last.

        Yields:
            Seconds since the epoch.
        """
        start, end = floor(after) + 1, floor(until) + 1
        if start >= end:
            return
        changes = _changes(self.zone, start, end)
        for left, right in pairwise(chain([start], changes, [end])):
            yield from self._steady(left, right)

    def upcoming(self, after: float) -> Iterator[int]:
        """When it fires in the hundred years to come, as :meth:`between` says it."""
        return self.between(after, after + _CENTURY)

    def _steady(self, start: int, end: int) -> Iterator[int]:
        """What fires from `start` and before `end`, between which clocks are not changed."""
        offset = _offset(self.zone, start)
        fixed = not any(field.startswith("*") for field in self.cron.split()[:2])
        skipped = max(0, offset - _offset(self.zone, start - 1)) if fixed else 0
        newest = None
        for wall in self._walls(start + offset - skipped, end + offset):
            at = max(start, wall - offset)
            if at == newest or (fixed and self.local(at).fold):
                continue
            yield at
            newest = at

    def _walls(self, start: int, end: int) -> Iterator[int]:
        """Times on the wall that fit, from `start` and before `end`, written as if it were UTC.

        Only this is asked of cronsim. Its own way over changes of the clock (2.8) loses firings
        where clocks are moved by half an hour, and knows a midnight that is skipped.
        """
        fits = CronSim(self.cron, datetime.fromtimestamp(start - 1, UTC))
        return takewhile(lambda wall: wall < end, (timegm(wall.timetuple()) for wall in fits))


@dataclass(frozen=True)
class Due:
    """What has become due; all times in seconds since the epoch, in order.

    Attributes:
        firings: to be queued now.
        skipped: missed and not to be made up for; the newest :data:`NAMED` of them.
        more: True if still older ones were skipped.
    """

    firings: tuple[int, ...]
    skipped: tuple[int, ...] = ()
    more: bool = False


def due(times: Times, last: float, now: float, catch_up: int, grace: float = GRACE) -> Due:
    """What fired since `last`, and how much of it is still wanted.

    A firing within `grace` is on time and always queued. Older ones were missed: the newest
    `catch_up` are made up for. If the clock has jumped back behind `last`, nothing is due until it
    has caught up. After years off, the search goes back only as far as it has to.

    Args:
        last: the newest firing that was dealt with, or when the schedule was added; seconds since
            the epoch.
        now: seconds since the epoch.
        catch_up: missed firings to make up for, 0 or more.
        grace: seconds.
    """
    on_time = tuple(times.between(max(last, now - grace), now))
    missed = _newest(times, last, now - grace, catch_up + NAMED + 1)
    made_up = max(0, len(missed) - catch_up)
    skipped = missed[:made_up]
    return Due(missed[made_up:] + on_time, skipped[-NAMED:], more=len(skipped) > NAMED)


def _newest(times: Times, after: float, until: float, most: int) -> tuple[int, ...]:
    """At most so many firings, the last up to `until`; looks back twice as far each time."""
    span = _HOUR
    while True:
        start = max(after, until - span)
        found = deque(times.between(start, until), maxlen=most)
        if len(found) == most or start == after:
            return tuple(found)
        span *= 2


def _check_cron(cron: str) -> None:
    expected = "expected minute, hour, day of month, month and day of week, like 30 2 * * *"
    # cronsim would take a sixth field for seconds.
    if len(cron.split()) != 5:
        raise ScheduleError(f"{cron!r} has {len(cron.split())} fields; {expected}")
    try:
        first = next(CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC)), None)
    except (CronSimError, ValueError) as error:
        raise ScheduleError(f"{cron!r} is no cron expression: {error}; {expected}") from error
    # cronsim gives up after fifty years; 29 February is the same weekday every forty at most.
    if first is None:
        raise ScheduleError(f"{cron!r} never fires: no day of any year fits; {expected}")


def _check_zone(tz: str) -> None:
    try:
        ZoneInfo(tz)
    # A folder of the database is an OSError, a path out of it a ValueError.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"{tz!r} is no time zone of this machine; expected a name of the IANA database, "
            "like Europe/Berlin or UTC"
        ) from error


def _offset(zone: ZoneInfo, at: int) -> int:
    """Seconds by which clocks are ahead of UTC."""
    return timegm(datetime.fromtimestamp(at, zone).timetuple()) - at


def _changes(zone: ZoneInfo, start: int, end: int) -> Iterator[int]:
    """When clocks are changed, after `start` and before `end`.

    The standard library does not say, so each day's ends are compared. No zone has ever changed
    its clocks twice within three days (IANA database 2026).
    """
    for left in range(start, end, _DAY):
        right = min(left + _DAY, end - 1)
        if _offset(zone, left) != _offset(zone, right):
            yield _change(zone, left, right)


def _change(zone: ZoneInfo, left: int, right: int) -> int:
    """The first second after `left` with the offset of `right`, where there is one change."""
    after = _offset(zone, right)
    seconds = range(left, right + 1)
    return left + bisect_left(seconds, True, key=lambda at: _offset(zone, at) == after)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is queued at each firing; a new job each time.

    Attributes:
        cron: see :class:`~jobs.queue.schedules.Times`, like `tz`.
        folder: template of the folder, absolute; :func:`jobs.queue.schedules.expand` fills it in.
        report: template of the report, absolute; empty for a folder in `reports`.
        reports: where reports go that are called like their job, absolute.
        model: bundle, absolute; its hash is taken at each firing.
        catch_up: firings that are made up for after downtime.
        added_at: UTC, ISO 8601.
        last: the newest firing that was dealt with, or when it was added; seconds since the epoch.
    """

    name: str
    cron: str
    tz: str
    folder: str
    report: str
    reports: Path
    model: Path
    options: Options
    added_at: str
    last: float
    priority: int = 0
    tags: tuple[str, ...] = ()
    catch_up: int = 7

    @property
    def times(self) -> Times:
        """When it fires.

        Raises:
            ScheduleError: if they cannot be understood here: a machine may lack a time zone that
                the one on which it was added has.
        """
        return Times(self.cron, self.tz)

    def folder_at(self, at: float) -> Path:
        """The folder of the firing at `at`, seconds since the epoch."""
        return Path(expand(self.folder, self.times.local(at)))

    def report_at(self, at: float) -> Path | None:
        """The report of the firing at `at`; None if it is called like its job."""
        return Path(expand(self.report, self.times.local(at))) if self.report else None


@dataclass(frozen=True)
class ScheduledRun:
    """What became of one time at which a schedule fired.

    Attributes:
        at: seconds since the epoch.
        job: its name; empty if the firing was missed and not made up for.
    """

    at: int
    job: str


@dataclass(frozen=True)
class WatchedFolder:
    """A sub-folder that has become a job.

    Attributes:
        modified_ns: when its list of entries last changed, as it was then; nanoseconds since 1970.
        job: name of the job.
    """

    modified_ns: int
    job: str


class ScheduleStore(Protocol):
    """Schedules with their firings, and the sub-folders that have become jobs.

    A method does everything in one transaction, and may be called again after its answer was lost.
    """

    def add(self, schedule: Schedule) -> None:
        """Add a schedule.

        Raises:
            ScheduleError: if another one has its name.
        """

    def schedules(self) -> list[Schedule]:
        """All of them, by name."""

    def remove(self, name: str) -> None:
        """Forget a schedule and its firings; jobs that it has queued stay.

        Raises:
            ScheduleError: if there is none.
        """

    def firings(self, name: str) -> list[ScheduledRun]:
        """The firings of a schedule that were dealt with, oldest first."""

    def fire(
        self, schedule: Schedule, due: Mapping[int, Job], skipped: Sequence[int], last: int
    ) -> bool:
        """Queue the jobs of firings that are due; False if somebody else has done it.

        Args:
            schedule: as it was read; its `last` must still be the one in the queue.
            due: jobs by the time of their firing.
            skipped: firings that are not made up for.
            last: the newest of all of them.
        """

    def reports(self, name: str) -> set[Path]:
        """Where the reports of a schedule's open jobs will go."""

    def watched(self, folder: Path, names: Collection[str]) -> dict[str, WatchedFolder]:
        """Those of these sub-folders of `folder` that have become jobs, by name."""

    def watch(self, folder: Path, name: str, modified_ns: int, job: Job) -> bool:
        """Queue the job of a sub-folder; False if it has become a job before."""

    def rewatch(self, folder: Path, name: str, modified_ns: int) -> None:
        """A sub-folder has changed since it became a job."""
