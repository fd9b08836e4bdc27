"""The folder a schedule screens, with the date of the night in it."""

import re
from datetime import datetime, timedelta
from string import Formatter
from typing import Final

from jobs.errors import ScheduleError

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
