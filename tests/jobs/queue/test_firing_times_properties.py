"""Property tests of schedules against a simulation that checks the clock every minute."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobs.errors import ScheduleError
from jobs.queue.schedules import Times, due

QUICK = settings(deadline=None, max_examples=150, database=None)

#: Days with clock changes.
CHANGES = [
    ("UTC", "2026-12-31"),
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/Berlin", "2027-03-28"),
    ("America/New_York", "2026-11-01"),
    ("America/New_York", "2027-03-14"),
    ("Europe/Dublin", "2026-10-25"),
    ("Australia/Lord_Howe", "2026-04-05"),  # half an hour back
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Antarctica/Troll", "2026-10-25"),  # two hours back
    ("Antarctica/Troll", "2027-03-28"),
    ("America/Sao_Paulo", "2017-10-15"),  # no midnight
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/Havana", "2026-11-01"),  # midnight twice
    ("America/St_Johns", "2010-11-07"),  # at a minute past midnight
    ("America/St_Johns", "2011-03-13"),
    ("Africa/Cairo", "2026-04-24"),
    ("Asia/Beirut", "2026-03-29"),
    ("Africa/Casablanca", "2026-02-15"),  # for Ramadan
    ("Pacific/Apia", "2011-12-30"),  # a day skipped
    ("Pacific/Kwajalein", "1969-10-01"),  # most of a day repeated
    ("Asia/Kathmandu", "1986-01-01"),  # a quarter of an hour
]


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """Draw a field of a cron expression, and the set of its values."""
    everything = range(low, high + 1)
    one, other = sorted((draw(st.sampled_from(everything)), draw(st.sampled_from(everything))))
    step = draw(st.integers(1, 20))
    return draw(
        st.sampled_from(
            [
                ("*", set(everything)),
                (f"*/{step}", set(everything[::step])),
                (f"{one}", {one}),
                (f"{one},{other}", {one, other}),
                (f"{one}-{other}", set(range(one, other + 1))),
                (f"{one}-{other}/{step}", set(range(one, other + 1)[::step]))
                # cronsim treats a range of one value as an open range.
                if one < other
                else (f"{one}", {one}),
            ]
        )
    )


EVERY_DAY = (("*", set(range(1, 32))), ("*", set(range(1, 13))), ("*", set(range(7))))
DAYS = st.just(EVERY_DAY) | st.tuples(fields(1, 31), fields(1, 12), fields(0, 6))
AT_NIGHT = fields(0, 3).filter(lambda field: not field[0].startswith("*"))
CLOCK_FIELDS = st.tuples(fields(0, 59), fields(0, 23) | AT_NIGHT)
WINDOWS = st.tuples(
    st.sampled_from(CHANGES),
    st.floats(-40 * 3600, 12 * 3600),
    st.floats(0, 60 * 3600),
    st.floats(0, 1),
)


def simulated_by_minute(clock, days, tz: str, after: float, until: float) -> Iterator[int]:
    """Yield firings found by checking the local time every minute."""
    (minute, minutes), (hour, hours) = clock
    (day, days_of_month), (_, months), (weekday, weekdays) = days
    fixed = not (minute.startswith("*") or hour.startswith("*"))
    both = day.startswith("*") or weekday.startswith("*")

    def fits(wall: datetime) -> bool:
        by_day = wall.day in days_of_month, wall.isoweekday() % 7 in weekdays
        return (
            wall.minute in minutes
            and wall.hour in hours
            and wall.month in months
            and (all(by_day) if both else any(by_day))
        )

    # Start two days earlier, to know which local times have occurred before.
    begin = int(after) // 60 * 60 - 2 * 86400
    latest = datetime.fromtimestamp(begin, ZoneInfo(tz)).replace(tzinfo=None)
    for at in range(begin, int(until) + 61, 60):
        wall = datetime.fromtimestamp(at, ZoneInfo(tz)).replace(tzinfo=None)
        shown = [wall]
        if fixed:
            new = int((wall - latest) / timedelta(minutes=1))
            shown = [wall - timedelta(minutes=number) for number in range(new)]
        latest = max(latest, wall)
        if after < at <= until and any(fits(each) for each in shown):
            yield at


def times_of(clock, days, tz: str) -> Times:
    try:
        return Times(" ".join(text for text, _ in (*clock, *days)), tz)
    except ScheduleError:
        assume(False)
        raise


@QUICK
@given(CLOCK_FIELDS, DAYS, WINDOWS)
def test_firings_match_simulation_by_minute(clock, days, window):
    (tz, day), before, length, share = window
    after = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(tz)).timestamp() + before
    until, boundary = after + length, after + share * length
    times = times_of(clock, days, tz)
    whole = list(times.between(after, until))
    assert whole == list(simulated_by_minute(clock, days, tz, after, until))
    assert all(one < other for one, other in pairwise(whole))
    assert all(after < at <= until for at in whole)
    halves = [*times.between(after, boundary), *times.between(boundary, until)]
    assert halves == whole


@QUICK
@given(CLOCK_FIELDS, DAYS, WINDOWS, st.data())
def test_adjacent_windows_equal_whole_window(clock, days, window, data):
    (tz, day), before, length, _ = window
    after = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(tz)).timestamp() + before
    times = times_of(clock, days, tz)
    whole = list(times.between(after, after + length))
    assume(whole)
    boundary = data.draw(st.sampled_from(whole)) + data.draw(st.sampled_from([-1, 0, 1]))
    halves = [*times.between(after, boundary), *times.between(boundary, after + length)]
    assert halves == whole


@QUICK
@given(CLOCK_FIELDS, DAYS, WINDOWS, st.integers(0, 9), st.floats(0, 7200))
def test_due_and_skipped_are_all_firings_since_last(clock, days, window, catch_up, grace):
    (tz, day), before, length, _ = window
    last = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(tz)).timestamp() + before
    now = last + length
    times = times_of(clock, days, tz)
    found = due(times, last, now, catch_up, grace)
    everything = [*found.skipped, *found.firings]
    since = list(times.between(last, now))
    assert everything == since[len(since) - len(everything) :]
    assert found.more == (len(everything) < len(since))
    assert all(last < at <= now for at in everything)
    missed = [at for at in found.firings if at <= now - grace]
    assert len(missed) <= catch_up
    assert len(missed) == catch_up or not found.skipped
    if found.firings:
        assert due(times, found.firings[-1], now, catch_up, grace).firings == ()


@QUICK
@given(
    st.text(max_size=30) | st.text("0123456789*/,-#LW MONFEB", max_size=30), st.text(max_size=20)
)
def test_any_text_is_accepted_or_refused(cron, tz):
    for given_cron, given_tz in ((cron, "UTC"), ("0 0 * * *", tz)):
        try:
            times = Times(given_cron, given_tz)
        except ScheduleError:
            continue
        assert next(times.upcoming(0)) > 0
