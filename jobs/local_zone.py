"""The time zone of this machine, by its name."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tzlocal import get_localzone

from jobs.errors import ScheduleError


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
