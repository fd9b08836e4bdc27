"""Folder templates of schedules."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import ScheduleError
from jobs.queue.schedules import expand

QUICK = settings(deadline=None, max_examples=300, database=None)

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = datetime(2026, 11, 22, 2, 30, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("template", "folder"),
    [
        ("/films/today", "/films/today"),
        ("/films/{date}", "/films/2026-11-22"),
        ("/films/{date:}", "/films/2026-11-22"),
        ("/films/{yesterday}", "/films/2026-11-21"),
        ("/films/{date:%Y/%m/%d}/ward", "/films/2026/11/22/ward"),
        ("{yesterday:%Y%m%d}-{date:%Y%m%d}", "20261121-20261122"),
        ("{date:%Y-%m-%dT%H%M}", "2026-11-22T0230"),
        ("{date:day %j of %Y, 100%%}", "day 326 of 2026, 100%"),
        ("{date:%%Y%Y}", "%Y2026"),
        ("{{date}}/{date}", "{date}/2026-11-22"),
        ("100% {date}", "100% 2026-11-22"),
        ("%Y", "%Y"),
        ("$(date)/`id`/${HOME}".replace("${HOME}", "$HOME"), "$(date)/`id`/$HOME"),
        ("röntgen/{date:%Y-ä}", "röntgen/2026-ä"),
    ],
)
def test_dates_are_filled_in(template, folder):
    assert expand(template, NIGHT) == folder


@pytest.mark.parametrize(
    ("night", "before"),
    [
        # Days of 25 and 23 hours: subtracting 24 hours would give the wrong day, or the same one.
        (datetime(2026, 10, 26, 0, 30, tzinfo=BERLIN), "2026-10-25"),
        (datetime(2026, 10, 25, 23, 30, tzinfo=BERLIN), "2026-10-24"),
        (datetime(2027, 3, 29, 0, 30, tzinfo=BERLIN), "2027-03-28"),
        (datetime(2027, 3, 28, 23, 30, tzinfo=BERLIN), "2027-03-27"),
        (datetime(2027, 1, 1, 0, 0, tzinfo=BERLIN), "2026-12-31"),
        (datetime(2028, 3, 1, 0, 0, tzinfo=BERLIN), "2028-02-29"),
        (datetime(2027, 3, 1, 0, 0, tzinfo=BERLIN), "2027-02-28"),
    ],
)
def test_yesterday_is_previous_calendar_day(night, before):
    assert expand("{yesterday}", night) == before


@pytest.mark.parametrize(
    "template",
    [
        "{day}",
        "{Date}",
        "{ date}",
        "{}",
        "{0}",
        "{date.year}",
        "{date.__class__}",
        "{date[0]}",
        "{date!r}",
        "{date!s:%Y}",
        "{date!}",
        "{date",
        "date}",
        "{",
        "}",
        "{{date}",
        "{date:%Y",
        "{date:{yesterday}}",
        "{date:%Y{date}}",
        "{date:YYYY-MM-DD}",
        "{date:>20}",
        "{date:%}",
        "{date:%Q}",
        "{date:%Y%}",
        "{date:%c}",
        "{date:%-d}",
        "{date:%999999999d}",
    ],
)
def test_other_placeholders_are_refused_with_template(template):
    with pytest.raises(ScheduleError) as caught:
        expand(template, NIGHT)
    assert str(caught.value).startswith(f"the template {template!r}")
    assert "expected {date} or {yesterday}, also with a format" in str(caught.value)


@QUICK
@given(st.text() | st.text("{}:%!.[]dateystr Ym\0"))
def test_any_template_is_expanded_or_refused(template):
    try:
        folder = expand(template, NIGHT)
    except ScheduleError:
        return
    assert ("{" in folder) <= ("{{" in template)
    assert folder == template or "{" in template or "}" in template


@QUICK
@given(st.text())
def test_doubled_braces_are_literal(text):
    assert expand(text.replace("{", "{{").replace("}", "}}"), NIGHT) == text
