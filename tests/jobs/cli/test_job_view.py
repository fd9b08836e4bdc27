"""Tests for the text views of jobs, on one line and in 80 columns."""

from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from jobs.cli import job_view
from jobs.cli.job_view import Listed, Tail, lines, table
from jobs.queue.jobs import State
from queue_makers import make_job
from screening.files import display_name

NOW = 1_000_000.0


def rendered(what, width=80):
    """Return the lines that a terminal shows."""
    file = StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(what)
    return file.getvalue().splitlines()


def listed(name="20261122-213005-9f3c2a", failed=0, note="", **changes):
    return Listed(make_job(name, **changes), failed, note)


MANY = [
    listed(films=20_000, committed=20_000, failed=1234, state=State.DONE),
    listed(folder=Path("/a/long/way/" * 10 + "2026-11-22"), note="waits for a long time " * 9),
    listed(folder=Path("/影像/" * 30), tags=("night", "ct"), priority=-1000, state=State.CANCELLED),
]


@pytest.mark.parametrize("some", [MANY, MANY[:1], MANY[1:]])
def test_table_fits_80_columns_with_full_names_and_counts(some):
    shown = rendered(table(some, NOW))
    assert all(cell_len(line) <= 80 for line in shown)
    for one in some:
        assert any(
            line.startswith(f"{one.job.name}  {one.job.state}")
            and job_view.progress(one.job) in line
            for line in shown
        )


def test_wider_terminal_shows_more():
    shown = "\n".join(rendered(table(MANY[:2], NOW), width=300))
    assert str(MANY[1].job.folder) in shown
    assert MANY[1].note.strip() in shown


def test_failed_column_appears_only_with_failed_films():
    assert "1234" in "\n".join(rendered(table(MANY, NOW)))
    assert "FAILED" not in rendered(table(MANY[1:], NOW))[0]


def test_plain_line_is_never_truncated():
    assert all(str(one.job.folder) in line for one, line in zip(MANY, lines(MANY), strict=True))


@given(st.text(min_size=1).filter(str.isprintable), st.integers(5, 40))
def test_long_text_is_truncated_at_its_start(text, width):
    (line,) = rendered(Tail(text), width) or [""]
    assert cell_len(line) <= width
    assert text.endswith(line.strip().removeprefix("…")) or cell_len(text) <= width


@given(st.text())
def test_printed_text_has_no_control_characters(text):
    assert display_name(text).isprintable()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "2 h"),
        (36 * 3600, "2 d"),
        (100 * 86400, "100 d"),
    ],
)
def test_duration_has_a_single_unit(seconds, words):
    assert job_view.duration_text(seconds) == words


def note(job, *waiting):
    return job_view.note(job, [job, *waiting], NOW)


def test_job_that_can_start_has_no_note():
    assert note(make_job()) == note(make_job(not_before=NOW)) == ""


def test_postponed_job_shows_time_and_reason():
    assert note(make_job(not_before=NOW + 5, message="no disk")).endswith(": no disk")
    assert note(make_job(not_before=NOW + 5)).startswith("waits until ")
    assert ":" in note(make_job(not_before=NOW + 5))


def test_time_on_another_day_includes_its_date():
    assert "1970-02-" in note(make_job(not_before=NOW + 30 * 86400))
    assert "1970" not in note(make_job(not_before=NOW + 1))


def test_job_waits_for_earlier_job_of_same_schedule():
    first = make_job("a", schedule="night", state=State.RUNNING, lease_until=NOW)
    second, third = (make_job(name, schedule="night") for name in ("b", "c"))
    other = make_job("0", schedule="noon")
    words = job_view.note(third, [other, first, second, third], NOW)
    assert words == "waits for job a of the same schedule"
    assert job_view.note(other, [other, first, second, third], NOW) == ""
    assert job_view.note(first, [other, first, second, third], NOW) == ""


def test_expired_lease_is_shown():
    job = make_job(state=State.RUNNING, lease_until=NOW - 60)
    assert note(job) == "its worker has not responded for more than 60 s"


def test_state_since_is_when_the_state_began():
    times = {"submitted_at": "2026-11-22T21:00:00+00:00", "started_at": "2026-11-22T22:00:00+00:00"}
    ended = {"finished_at": "2026-11-22T23:00:00+00:00"}
    assert job_view.state_since(make_job(**times)).hour == 21
    assert job_view.state_since(make_job(**times, state=State.RUNNING)).hour == 22
    assert job_view.state_since(make_job(**times, **ended, state=State.FAILED)).hour == 23
