"""Schedules: firing times, folder templates, and missed firings."""

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
    """Return the machine's IANA time zone, from ``TZ`` or the files in ``/etc``; UTC by default.

    Raises:
        ScheduleError: if the machine's zone has no name, like ``TZ=CET-1CEST``, or its files
            contradict each other.
    """
    try:
        return ZoneInfo(str(get_localzone())).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            "the time zone of this machine has no known name; give one, such as --tz Europe/Berlin"
        ) from error


#: Python's directives except ``%c %x %X``, which depend on the locale, and ``%f``, always 0.
_FORMAT: Final = re.compile(r"(?:[^{}%]|%[aAbBdGHIjmMpSuUVwWyYzZ%])*")

_EXPECTED: Final = (
    "expected {date} or {yesterday}, also with a format, such as {date:%Y/%m/%d}; write a brace twice "
    "if it is part of the name"
)


def expand(template: str, at: datetime) -> str:
    """Fill in the folder template for one firing.

    ``{date}`` is the day of the firing, ``2026-11-22``; ``{yesterday}`` is the previous calendar
    day, even if that day has 23 or 25 hours. ``{date:%Y/%m/%d}`` formats it as strftime(3) does;
    ``%H`` and ``%M`` are the time of the firing. Other features of :meth:`str.format` are not
    supported.

    Args:
        at: time of the firing, in the schedule's time zone.

    Raises:
        ScheduleError: with the template, if anything else is in braces.
    """
    days = {"date": at, "yesterday": at - timedelta(days=1)}
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ScheduleError(
            f"the template {template!r} is not valid: {error}; {_EXPECTED}"
        ) from error
    return "".join(
        literal + ("" if name is None else _written(template, days.get(name), spec, conversion))
        for literal, name, spec, conversion in parts
    )


def _written(template: str, day: datetime | None, spec: str | None, conversion: str | None) -> str:
    """Format the day; `day` is None if the template uses an unknown name."""
    form = spec or "%Y-%m-%d"
    if day is None or conversion or "%" not in form or not _FORMAT.fullmatch(form):
        raise ScheduleError(f"the template {template!r} is not valid; {_EXPECTED}")
    return re.sub("%.", lambda directive: day.strftime(directive[0]), form)


#: Seconds after which a firing that was not queued counts as missed; the same as in Quartz.
GRACE: Final = 60.0

#: Maximum of skipped firings that are recorded individually.
NAMED: Final = 1000

_HOUR: Final = 3600
_DAY: Final = 86400
_CENTURY: Final = 36525 * _DAY


@dataclass(frozen=True)
class Times:
    """A cron expression and its time zone.

    Changes of the clock are handled like in Debian's cron(8):

    - An expression with a fixed time (neither minute nor hour begins with ``*``) fires once for
      each time it names. A time in a gap fires at the end of the gap: 02:30 fires at 03:00, and so
      does 02:00; together they fire once. A time that occurs twice fires the first time.
    - Any other expression (``*/15 * * * *``, ``0 * * * *``) fires whenever the local time matches:
      not at all in an hour that is skipped, twice in an hour that is repeated.

    One difference: Debian treats changes of three hours or more as corrections of the clock. Here a
    skipped day is a gap like any other.

    Args:
        cron: minute, hour, day of month, month and day of week, as in crontab(5). If both days are
            given, either may match; if one begins with ``*``, both must match.
        tz: IANA name of the time zone.

    Raises:
        ScheduleError: if the expression is invalid or never fires, or the time zone is unknown.
    """

    cron: str
    tz: str

    def __post_init__(self) -> None:
        _check_zone(self.tz)
        _check_cron(self.cron)

    @property
    def zone(self) -> ZoneInfo:
        """Rules of the time zone."""
        return ZoneInfo(self.tz)

    def local(self, at: float) -> datetime:
        """Return the local time.

        Args:
            at: seconds since the epoch.
        """
        return datetime.fromtimestamp(at, self.zone)

    def between(self, after: float, until: float) -> Iterator[int]:
        """Yield all firings in a window, in order, without duplicates.

        Two adjacent windows together give the same firings as one window.

        Args:
            after: seconds since the epoch, exclusive.
            until: seconds since the epoch, inclusive.

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
        """Yield the firings of the next hundred years, like :meth:`between`."""
        return self.between(after, after + _CENTURY)

    def _steady(self, start: int, end: int) -> Iterator[int]:
        """Yield firings from `start` until before `end`, a window without changes of the clock."""
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
        """Yield matching local times from `start` until before `end`, encoded as if they were UTC.

        cronsim is used only for this. Its own handling of clock changes (2.8) loses firings where
        clocks change by half an hour, and yields a midnight that is skipped.
        """
        fits = CronSim(self.cron, datetime.fromtimestamp(start - 1, UTC))
        return takewhile(lambda wall: wall < end, (timegm(wall.timetuple()) for wall in fits))


@dataclass(frozen=True)
class Due:
    """Firings that are due; all times in seconds since the epoch, in order.

    Attributes:
        firings: to be queued now.
        skipped: missed and not caught up; the newest :data:`NAMED` of them.
        more: True if older firings were skipped as well.
    """

    firings: tuple[int, ...]
    skipped: tuple[int, ...] = ()
    more: bool = False


def due(times: Times, last: float, now: float, catch_up: int, grace: float = GRACE) -> Due:
    """Return the firings since `last`, split into those to queue and those to skip.

    A firing within `grace` is on time and always queued. Older ones were missed; the newest
    `catch_up` of them are queued. If the clock was set back to before `last`, nothing is due until
    it has passed `last`. After years of downtime, the search goes back only as far as necessary.

    Args:
        last: newest firing already handled, or when the schedule was added; seconds since the
            epoch.
        now: seconds since the epoch.
        catch_up: maximum of missed firings to queue, 0 or more.
        grace: seconds.
    """
    on_time = tuple(times.between(max(last, now - grace), now))
    missed = _newest(times, last, now - grace, catch_up + NAMED + 1)
    made_up = max(0, len(missed) - catch_up)
    skipped = missed[:made_up]
    return Due(missed[made_up:] + on_time, skipped[-NAMED:], more=len(skipped) > NAMED)


def _newest(times: Times, after: float, until: float, most: int) -> tuple[int, ...]:
    """Return at most `most` firings, the last ones up to `until`; the search range doubles."""
    span = _HOUR
    while True:
        start = max(after, until - span)
        found = deque(times.between(start, until), maxlen=most)
        if len(found) == most or start == after:
            return tuple(found)
        span *= 2


def _check_cron(cron: str) -> None:
    expected = "expected minute, hour, day of month, month and day of week, such as 30 2 * * *"
    # cronsim would accept a sixth field, as seconds.
    if len(cron.split()) != 5:
        raise ScheduleError(f"{cron!r} has {len(cron.split())} fields; {expected}")
    try:
        first = next(CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC)), None)
    except (CronSimError, ValueError) as error:
        raise ScheduleError(f"{cron!r} is not a cron expression: {error}; {expected}") from error
    # cronsim gives up after fifty years; 29 February has the same weekday at least every forty.
    if first is None:
        raise ScheduleError(f"{cron!r} never fires: there is no such date; {expected}")


def _check_zone(tz: str) -> None:
    try:
        ZoneInfo(tz)
    # ZoneInfo raises OSError for a folder of the database, ValueError for a path outside it.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"{tz!r} is not a time zone that this machine knows; expected a name of the IANA "
            "database, such as Europe/Berlin or UTC"
        ) from error


def _offset(zone: ZoneInfo, at: int) -> int:
    """Return the offset of local time from UTC in seconds."""
    return timegm(datetime.fromtimestamp(at, zone).timetuple()) - at


def _changes(zone: ZoneInfo, start: int, end: int) -> Iterator[int]:
    """Yield the changes of the clock after `start` and before `end`.

    The standard library does not list them, so the offsets at both ends of each day are compared.
    No zone has ever changed its clocks twice within three days (IANA database 2026).
    """
    for left in range(start, end, _DAY):
        right = min(left + _DAY, end - 1)
        if _offset(zone, left) != _offset(zone, right):
            yield _change(zone, left, right)


def _change(zone: ZoneInfo, left: int, right: int) -> int:
    """Return the first second after `left` with the offset of `right`, given exactly one change."""
    after = _offset(zone, right)
    seconds = range(left, right + 1)
    return left + bisect_left(seconds, True, key=lambda at: _offset(zone, at) == after)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Template for the job queued at each firing.

    Attributes:
        cron: see :class:`~jobs.queue.schedules.Times`, like `tz`.
        folder: template of the folder, absolute; see :func:`jobs.queue.schedules.expand`.
        report: template of the report, absolute; empty for a folder in `reports`.
        reports: folder for reports named like their jobs, absolute.
        model: bundle, absolute; its hash is taken at each firing.
        catch_up: maximum of missed firings queued after downtime.
        added_at: UTC, ISO 8601.
        last: newest firing already handled, or when it was added; seconds since the epoch.
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
        """Firing times.

        Raises:
            ScheduleError: if they are invalid on this machine, which may lack a time zone that the
                machine where it was added has.
        """
        return Times(self.cron, self.tz)

    def folder_at(self, at: float) -> Path:
        """Return the folder of the firing at `at`, seconds since the epoch."""
        return Path(expand(self.folder, self.times.local(at)))

    def report_at(self, at: float) -> Path | None:
        """Return the report of the firing at `at`; None if it is named like its job."""
        return Path(expand(self.report, self.times.local(at))) if self.report else None


@dataclass(frozen=True)
class ScheduledRun:
    """A firing that was handled.

    Attributes:
        at: seconds since the epoch.
        job: its name; empty if the firing was missed and not caught up.
    """

    at: int
    job: str


@dataclass(frozen=True)
class WatchedFolder:
    """A sub-folder that has become a job.

    Attributes:
        modified_ns: the sub-folder's modification time at that moment; nanoseconds since 1970.
        job: name of the job.
    """

    modified_ns: int
    job: str


class ScheduleStore(Protocol):
    """Schedules with their firings, and watched sub-folders with their jobs.

    Each method runs in one transaction, and may be called again if its answer was lost.
    """

    def add(self, schedule: Schedule) -> None:
        """Add a schedule.

        Raises:
            ScheduleError: if another schedule has the same name.
        """

    def schedules(self) -> list[Schedule]:
        """Return all schedules, sorted by name."""

    def remove(self, name: str) -> None:
        """Delete a schedule and its firings; the jobs it has queued are kept.

        Raises:
            ScheduleError: if no schedule has this name.
        """

    def firings(self, name: str) -> list[ScheduledRun]:
        """Return a schedule's firings that were handled, oldest first."""

    def fire(
        self, schedule: Schedule, due: Mapping[int, Job], skipped: Sequence[int], last: int
    ) -> bool:
        """Queue the jobs of due firings; return False if another process has done so.

        Args:
            schedule: as it was read; its `last` must still be the one in the queue.
            due: jobs by the time of their firing.
            skipped: firings that are not caught up.
            last: the newest of all these firings.
        """

    def reports(self, name: str) -> set[Path]:
        """Return the report paths of a schedule's open jobs."""

    def watched(self, folder: Path, names: Collection[str]) -> dict[str, WatchedFolder]:
        """Return the records of these sub-folders of `folder` that have become jobs, by name."""

    def watch(self, folder: Path, name: str, modified_ns: int, job: Job) -> bool:
        """Queue the job of a sub-folder; return False if it has become a job before."""

    def rewatch(self, folder: Path, name: str, modified_ns: int) -> None:
        """Record the new modification time of a sub-folder that changed after it became a job."""
