"""When a schedule fires, and what is still to be queued after the machine was off."""

from bisect import bisect_left
from calendar import timegm
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise, takewhile
from math import floor
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from jobs.errors import ScheduleError

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
