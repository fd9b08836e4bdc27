"""Firing times of schedules: nights with clock changes, and downtime."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from jobs.errors import ScheduleError
from jobs.queue.schedules import NAMED, Due, Times, due

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"

#: Firings in critical nights; the manual shows this table.
TABLE = """\
| cron | time zone | from | to | what fired |
| --- | --- | --- | --- | --- |
| `30 2 * * *` | Europe/Berlin | 2026-10-24 12:00 | 2026-10-25 12:00 | 2026-10-25: 02:30+02:00 |
| `0 0 * * *` | Europe/Berlin | 2026-10-24 12:00 | 2026-10-25 12:00 | 2026-10-25: 00:00+02:00 |
| `*/30 * * * *` | Europe/Berlin | 2026-10-25 01:00 | 2026-10-25 04:00 | 2026-10-25: 01:00+02:00, 01:30+02:00, 02:00+02:00, 02:30+02:00, 02:00+01:00, 02:30+01:00, 03:00+01:00, 03:30+01:00, 04:00+01:00 |
| `30 2 * * *` | Europe/Berlin | 2027-03-27 12:00 | 2027-03-28 12:00 | 2027-03-28: 03:00+02:00 |
| `0 0 * * *` | Europe/Berlin | 2027-03-27 12:00 | 2027-03-28 12:00 | 2027-03-28: 00:00+01:00 |
| `*/30 * * * *` | Europe/Berlin | 2027-03-28 01:00 | 2027-03-28 04:00 | 2027-03-28: 01:00+01:00, 01:30+01:00, 03:00+02:00, 03:30+02:00, 04:00+02:00 |
| `30 2 * * *` | America/New_York | 2026-10-31 12:00 | 2026-11-01 12:00 | 2026-11-01: 02:30-05:00 |
| `30 1 * * *` | America/New_York | 2026-10-31 12:00 | 2026-11-01 12:00 | 2026-11-01: 01:30-04:00 |
| `0 0 * * *` | America/New_York | 2026-10-31 12:00 | 2026-11-01 12:00 | 2026-11-01: 00:00-04:00 |
| `*/30 * * * *` | America/New_York | 2026-11-01 00:00 | 2026-11-01 03:00 | 2026-11-01: 00:00-04:00, 00:30-04:00, 01:00-04:00, 01:30-04:00, 01:00-05:00, 01:30-05:00, 02:00-05:00, 02:30-05:00, 03:00-05:00 |
| `30 2 * * *` | America/New_York | 2027-03-13 12:00 | 2027-03-14 12:00 | 2027-03-14: 03:00-04:00 |
| `0 0 * * *` | America/New_York | 2027-03-13 12:00 | 2027-03-14 12:00 | 2027-03-14: 00:00-05:00 |
| `*/30 * * * *` | America/New_York | 2027-03-14 01:00 | 2027-03-14 04:00 | 2027-03-14: 01:00-05:00, 01:30-05:00, 03:00-04:00, 03:30-04:00, 04:00-04:00 |
"""


def seconds(tz: str, local: str) -> int:
    """Convert a local time to seconds since the epoch; the first one if it occurs twice."""
    return int(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(tz)).timestamp())


def fired(cron: str, tz: str, after: str, until: str) -> list[str]:
    """Return the firings in the local time of the zone."""
    times = Times(cron, tz)
    window = times.between(seconds(tz, after), seconds(tz, until))
    return [times.local(at).isoformat(timespec="minutes") for at in window]


def row(line: str) -> str:
    """Return a line of the table with a computed last column."""
    cron, tz, after, until = (cell.strip(" `") for cell in line.split("|")[1:5])
    times = Times(cron, tz)
    # The table includes both ends.
    found = [times.local(at) for at in times.between(seconds(tz, after) - 1, seconds(tz, until))]
    shown = ", ".join(at.isoformat(timespec="minutes")[11:] for at in found)
    return f"| `{cron}` | {tz} | {after} | {until} | {found[0]:%Y-%m-%d}: {shown} |"


class Counting(Times):
    """Records the firings that are generated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "asked", [])

    def between(self, after: float, until: float) -> Iterator[int]:
        for at in super().between(after, until):
            self.asked.append(at)
            yield at


@pytest.mark.parametrize("line", TABLE.splitlines()[2:])
def test_nights_with_clock_changes(line):
    assert row(line) == line


def test_29_february_fires_in_leap_years_only():
    assert fired("0 3 29 2 *", BERLIN, "2023-01-01", "2032-01-01") == [
        "2024-02-29T03:00+01:00",
        "2028-02-29T03:00+01:00",
    ]


def test_29_february_fires_after_gap_of_eight_years_around_2100():
    assert fired("0 3 29 2 *", "UTC", "2096-03-01", "2105-01-01") == ["2104-02-29T03:00+00:00"]


def test_skipped_times_and_next_one_fire_once_together():
    assert fired("0,30 2-3 * * *", BERLIN, "2027-03-28", "2027-03-29") == [
        "2027-03-28T03:00+02:00",
        "2027-03-28T03:30+02:00",
    ]


def test_quarters_of_skipped_hour_do_not_fire():
    assert fired("*/15 2 * * *", BERLIN, "2027-03-28", "2027-03-29") == []


def test_repeated_time_does_not_fire_in_window_between_both():
    first = seconds(BERLIN, "2026-10-25T02:30")
    between = Times("30 2 * * *", BERLIN).between
    assert list(between(first - 1, first + 7200)) == [first]
    assert list(between(first, first + 7200)) == []
    assert list(between(first + 1800, first + 7200)) == []


@pytest.mark.parametrize(
    ("tz", "day", "expected"),
    [
        ("America/Sao_Paulo", "2017-10-15", "2017-10-15T01:00-02:00"),
        ("Africa/Cairo", "2026-04-24", "2026-04-24T01:00+03:00"),
        ("Asia/Beirut", "2026-03-29", "2026-03-29T01:00+03:00"),
        # The last hour of the day before occurs twice, then midnight once.
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18T00:00-03:00"),
        ("Africa/Cairo", "2026-10-30", "2026-10-30T00:00+02:00"),
        ("Asia/Beirut", "2026-10-25", "2026-10-25T00:00+02:00"),
        # Midnight occurs twice.
        ("America/Havana", "2026-11-01", "2026-11-01T00:00-04:00"),
    ],
)
def test_midnight_fires_once_when_clocks_change_at_midnight(tz, day, expected):
    at = seconds(tz, f"{day}T06:00")
    times = Times("0 0 * * *", tz)
    assert [
        times.local(each).isoformat("T", "minutes") for each in times.between(at - 43200, at)
    ] == [expected]


def test_skipped_midnight_does_not_fire_for_half_hourly_expression():
    assert fired("*/30 0 * * SUN", "America/Sao_Paulo", "2017-10-13", "2017-10-20") == []


def test_half_hour_changes_neither_lose_nor_duplicate_firings():
    assert fired("30 * * * *", LORD_HOWE, "2026-04-05", "2026-04-05T03:00") == [
        "2026-04-05T00:30+11:00",
        "2026-04-05T01:30+11:00",
        "2026-04-05T01:30+10:30",
        "2026-04-05T02:30+10:30",
    ]
    assert fired("*/10 2 * * *", LORD_HOWE, "2026-04-05", "2026-04-05T02:20") == [
        "2026-04-05T02:00+10:30",
        "2026-04-05T02:10+10:30",
        "2026-04-05T02:20+10:30",
    ]
    assert fired("45 1 * * *", LORD_HOWE, "2026-04-05", "2026-04-06") == ["2026-04-05T01:45+11:00"]
    assert fired("15 2 * * *", LORD_HOWE, "2026-10-04", "2026-10-05") == ["2026-10-04T02:30+11:00"]


def test_skipped_day_fires_at_its_end():
    assert fired("0 3 * * *", "Pacific/Apia", "2011-12-29", "2012-01-01") == [
        "2011-12-29T03:00-10:00",
        "2011-12-31T00:00+14:00",
        "2011-12-31T03:00+14:00",
    ]


@pytest.mark.parametrize("cron", ["30 2 * * *", "0,20 1-3 * * 1-5", "*/15 * * * *", "7 * 29 * *"])
@pytest.mark.parametrize("tz", [BERLIN, NEW_YORK])
def test_cronsim_agrees_for_whole_hour_changes_by_day(cron, tz):
    start, end = seconds(tz, "2026-03-01"), seconds(tz, "2026-11-08")
    mine = list(Times(cron, tz).between(start, end))
    theirs = CronSim(cron, datetime.fromtimestamp(start, ZoneInfo(tz)))
    assert mine == [int(at.timestamp()) for at in islice(theirs, len(mine))]
    assert next(theirs).timestamp() > end


def test_window_excludes_start_and_includes_end():
    times = Times("* * * * *", "UTC")
    assert list(times.between(60, 180)) == [120, 180]
    assert list(times.between(59.9, 119.9)) == [60]
    assert list(times.between(60.5, 120.0)) == [120]


@pytest.mark.parametrize("until", [60, 0, -1e9])
def test_empty_or_negative_window_has_no_firings(until):
    assert list(Times("* * * * *", BERLIN).between(60, until)) == []


def test_next_firings_of_rare_expression_are_found():
    times = Times("0 0 29 2 */7", BERLIN)
    found = islice(times.upcoming(seconds(BERLIN, "2026-11-22")), 2)
    assert [f"{times.local(at):%Y %a}" for at in found] == ["2032 Sun", "2060 Sun"]


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "30 2 * *",
        "0 30 2 * * *",
        "60 2 * * *",
        "30 24 * * *",
        "30 2 0 * *",
        "30 2 * 13 *",
        "30 2 * * 8",
        "30 2 * * MONDAY",
        "5-1 2 * * *",
        "*/0 2 * * *",
        "@daily",
        "٣ 2 * * *",
        f"{'1' * 5000} 2 * * *",
    ],
)
def test_invalid_cron_expression_is_refused_and_named(cron):
    with pytest.raises(ScheduleError) as caught:
        Times(cron, BERLIN)
    assert str(caught.value).startswith(repr(cron))
    assert "expected minute, hour, day of month, month and day of week" in str(caught.value)


@pytest.mark.parametrize("cron", ["0 3 30 2 *", "0 3 31 4,6,9,11 *", "0 3 */31 * MON#5"])
def test_expression_that_never_fires_is_refused(cron):
    with pytest.raises(ScheduleError, match="expected minute, hour"):
        Times(cron, BERLIN)


@pytest.mark.parametrize(
    "tz", ["Europe/Bonn", "", "Europe", "../etc/passwd", "/etc/localtime", "\0", "local"]
)
def test_invalid_time_zone_is_refused_and_named(tz):
    with pytest.raises(ScheduleError) as caught:
        Times("30 2 * * *", tz)
    assert str(caught.value).startswith(
        f"{tz!r} is not a time zone that this machine knows; expected a name"
    )


NIGHTLY = Times("30 2 * * *", BERLIN)
ADDED = seconds(BERLIN, "2026-10-23T12:00")
BACK = seconds(BERLIN, "2026-10-26T08:00")
#: The second of the three nights is the one when clocks go back.
THREE_NIGHTS = tuple(seconds(BERLIN, f"2026-10-{day}T02:30") for day in (24, 25, 26))


#: Downtime from noon before the first night until 8:00 after the third.
OFF = """\
| --catch-up | queued | skipped |
| --- | --- | --- |
| 7 | 10-24 02:30+02:00, 10-25 02:30+02:00, 10-26 02:30+01:00 | - |
| 3 | 10-24 02:30+02:00, 10-25 02:30+02:00, 10-26 02:30+01:00 | - |
| 2 | 10-25 02:30+02:00, 10-26 02:30+01:00 | 10-24 02:30+02:00 |
| 0 | - | 10-24 02:30+02:00, 10-25 02:30+02:00, 10-26 02:30+01:00 |
"""


def shown(firings: tuple[int, ...]) -> str:
    nights = (NIGHTLY.local(at).isoformat(" ", "minutes")[5:] for at in firings)
    return ", ".join(nights) or "-"


@pytest.mark.parametrize("line", OFF.splitlines()[2:])
def test_newest_missed_nights_are_caught_up_in_order(line):
    catch_up = int(line.split("|")[1])
    found = due(NIGHTLY, ADDED, BACK, catch_up)
    assert f"| {catch_up} | {shown(found.firings)} | {shown(found.skipped)} |" == line
    assert not found.more


@pytest.mark.parametrize(("late", "queued"), [(0, True), (59.9, True), (60, False), (3600, False)])
def test_firing_within_grace_is_queued_without_catch_up(late, queued):
    night = THREE_NIGHTS[2]
    found = due(NIGHTLY, THREE_NIGHTS[1], night + late, catch_up=0)
    assert found == (Due((night,)) if queued else Due((), (night,)))


def test_firing_on_time_is_queued_in_addition_to_caught_up_ones():
    found = due(NIGHTLY, ADDED, THREE_NIGHTS[2] + 1, catch_up=1)
    assert found == Due(THREE_NIGHTS[1:], THREE_NIGHTS[:1])


def test_nothing_is_due_before_first_firing():
    assert due(NIGHTLY, ADDED, ADDED + 3600, 7) == Due(())


def test_clock_set_back_causes_no_duplicate_firing():
    night = THREE_NIGHTS[0]
    assert due(NIGHTLY, night, night + 1, 7) == Due(())
    assert due(NIGHTLY, night, night, 7) == Due(())
    assert due(NIGHTLY, night, night - 1, 7) == Due(())
    assert due(NIGHTLY, night, night - 86400 * 365, 7) == Due(())
    assert due(NIGHTLY, night, THREE_NIGHTS[1], 7) == Due((THREE_NIGHTS[1],))


@pytest.mark.parametrize("cron", ["* * * * *", "*/5 * * 1 *", "30 2 * * *"])
def test_cost_of_years_of_downtime_is_bounded(cron):
    times = Counting(cron, BERLIN)
    now = seconds(BERLIN, "2026-10-26T08:00")
    found = due(times, 0, now, catch_up=7, grace=0)
    assert (len(found.firings), len(found.skipped), found.more) == (7, NAMED, True)
    assert [*found.skipped, *found.firings] == sorted(set(found.skipped + found.firings))
    assert list(times.between(found.skipped[-1], now)) == list(found.firings)
    # Fifty years have 26 million minutes.
    assert len(times.asked) < 100 * NAMED


def test_more_is_false_up_to_limit_of_named_firings():
    times = Times("* * * * *", "UTC")
    now = (NAMED + 2) * 60
    assert due(times, 0, now, 1).more is False
    assert len(due(times, 0, now, 1).skipped) == NAMED
    assert due(times, -60, now, 1).more is True
    assert len(due(times, -60, now, 1).skipped) == NAMED


def test_zones_do_not_change_clocks_twice_within_three_days():
    # An assumption of the search for changes, checked every two hours in zones with odd changes.
    for tz in ("Africa/Casablanca", "Africa/Freetown", "America/Recife", "Asia/Gaza", LORD_HOWE):
        hours = range(-960_000_000, 2_240_000_000, 7200)
        offsets = [datetime.fromtimestamp(at, ZoneInfo(tz)).utcoffset() for at in hours]
        changed = [at for at, (a, b) in zip(hours[1:], pairwise(offsets), strict=True) if a != b]
        assert min(b - a for a, b in pairwise(changed)) > 3 * 86400


def test_local_is_local_time():
    assert NIGHTLY.local(THREE_NIGHTS[0]).isoformat() == "2026-10-24T02:30:00+02:00"
    assert NIGHTLY.local(0) == datetime(1970, 1, 1, tzinfo=UTC)
