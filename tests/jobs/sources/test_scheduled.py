"""Schedules as workers process them: jobs, times and folders."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from exports.bundle import seal
from jobs.errors import QueueUnavailable
from jobs.queue.jobs import State
from jobs.queue.schedules import Schedule, Times
from jobs.sources.scheduled import ScheduleSource
from jobs.worker.worker import work
from queue_makers import FakeClock, empty_bundle, make_schedule, make_tools

BERLIN = "Europe/Berlin"
#: The second of the three nights is the one when clocks go back.
ADDED, BACK = "2026-10-23T12:00", "2026-10-26T08:00"

# Firings seen by a worker that polls every few minutes; the manual shows this table.
TABLE = """\
| cron | time zone | from | to | queued |
| --- | --- | --- | --- | --- |
| `30 2 * * *` | Europe/Berlin | 2026-10-24T12:00 | 2026-10-25T12:00 | 10-25 02:30+02:00 |
| `0 0 * * *` | Europe/Berlin | 2026-10-24T12:00 | 2026-10-25T12:00 | 10-25 00:00+02:00 |
| `*/30 2 * * *` | Europe/Berlin | 2026-10-24T12:00 | 2026-10-25T12:00 | 10-25 02:00+02:00, 10-25 02:30+02:00, 10-25 02:00+01:00, 10-25 02:30+01:00 |
| `30 2 * * *` | Europe/Berlin | 2027-03-27T12:00 | 2027-03-28T12:00 | 03-28 03:00+02:00 |
| `0 0 * * *` | Europe/Berlin | 2027-03-27T12:00 | 2027-03-28T12:00 | 03-28 00:00+01:00 |
| `*/30 2 * * *` | Europe/Berlin | 2027-03-27T12:00 | 2027-03-28T12:00 | - |
| `30 1 * * *` | America/New_York | 2026-10-31T12:00 | 2026-11-01T12:00 | 11-01 01:30-04:00 |
| `30 2 * * *` | America/New_York | 2027-03-13T12:00 | 2027-03-14T12:00 | 03-14 03:00-04:00 |
| `0 0 * * *` | America/Havana | 2026-10-31T12:00 | 2026-11-01T12:00 | 11-01 00:00-04:00 |
| `0 3 29 2 *` | Europe/Berlin | 2027-02-27T12:00 | 2027-03-01T12:00 | - |
| `0 3 29 2 *` | Europe/Berlin | 2028-02-28T12:00 | 2028-03-01T12:00 | 02-29 03:00+01:00 |
"""


def seconds(tz: str, local: str) -> float:
    """Convert a local time to seconds since the epoch; the first one if it occurs twice."""
    return datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(tz)).timestamp()


def fired(agenda, planned: Schedule) -> list[str]:
    """Return the queued firings in the local time of the schedule."""
    done = [firing.at for firing in agenda.firings(planned.name) if firing.job]
    return [planned.times.local(at).isoformat(" ", "minutes")[5:] for at in done]


def folders(store) -> list[str]:
    return [str(job.folder) for job in store.jobs()]


@pytest.fixture
def clock():
    clock = FakeClock()
    clock.seconds = seconds(BERLIN, ADDED)
    return clock


@pytest.fixture
def plan(agenda, bundle, tmp_path, clock):
    """Add a schedule for 02:30 in Berlin; any field by keyword."""

    def added(name="nightly", **changes):
        known = {
            "folder": "/pacs/{date}",
            "model": bundle.path,
            "reports": tmp_path / "reports",
            "last": clock(),
        }
        planned = make_schedule(name, **known | changes)
        agenda.add(planned)
        return planned

    return added


@pytest.fixture
def nights(agenda, clock):
    return ScheduleSource(agenda, clock)


@pytest.mark.parametrize("line", TABLE.splitlines()[2:])
def test_polling_worker_fires_at_times_of_table(agenda, plan, clock, line):
    cron, tz, begin, end = (cell.strip(" `") for cell in line.split("|")[1:5])
    clock.seconds = seconds(tz, begin)
    planned = plan(cron=cron, tz=tz, catch_up=0)
    nights = ScheduleSource(agenda, clock)
    while clock() < seconds(tz, end):
        clock.seconds += 7 * 60 + 3
        nights.feed()
    queued = ", ".join(fired(agenda, planned)) or "-"
    assert f"| `{cron}` | {tz} | {begin} | {end} | {queued} |" == line


@pytest.mark.parametrize(
    ("catch_up", "queued"), [(7, ["24", "25", "26"]), (2, ["25", "26"]), (0, [])]
)
def test_newest_missed_firings_are_queued_and_others_logged(
    agenda, store, plan, clock, catch_up, queued
):
    plan(folder="/pacs/{yesterday}/{date:%d}", catch_up=catch_up)
    clock.seconds = seconds(BERLIN, BACK)
    with capture_logs() as logs:
        ScheduleSource(agenda, clock).feed()
        ScheduleSource(agenda, clock).feed()
    assert folders(store) == [f"/pacs/2026-10-{int(day) - 1}/{day}" for day in queued]
    assert len(agenda.firings("nightly")) == 3
    skipped = [line["number"] for line in logs if line["event"] == "firings_skipped"]
    assert skipped == ([3 - len(queued)] if len(queued) < 3 else [])
    assert [line["event"] for line in logs].count("schedule_fired") == len(queued)


def test_folder_date_is_in_time_zone_of_schedule(agenda, store, plan, clock):
    # At half past midnight in Auckland, Berlin is still on the day before.
    plan(cron="30 0 * * *", tz="Pacific/Auckland", folder="/pacs/{date}/{yesterday}")
    clock.seconds = seconds("Pacific/Auckland", "2026-10-24T08:00")
    ScheduleSource(agenda, clock).feed()
    assert folders(store) == ["/pacs/2026-10-24/2026-10-23"]


def test_missed_nights_run_one_after_the_other(nights, store, plan, clock):
    plan()
    clock.seconds = seconds(BERLIN, BACK)
    nights.feed()
    first = store.claim("A", 60)
    assert first.folder.name == "2026-10-24"
    assert store.claim("B", 60) is None
    store.finish(first, 0)
    assert store.claim("B", 60).folder.name == "2026-10-25"


def test_concurrent_workers_and_restart_fire_once(open_agenda, store, plan, clock):
    plan()
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")
    workers = [ScheduleSource(open_agenda(), clock) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ScheduleSource.feed, workers))
    ScheduleSource(open_agenda(), clock).feed()
    assert folders(store) == ["/pacs/2026-10-24"]


def test_lost_answer_neither_loses_nor_duplicates_firing(agenda, store, plan, clock):
    class LosesFirstAnswer:
        """Loses the answer to its first firing."""

        lost = False

        def __getattr__(self, name):
            return getattr(agenda, name)

        def fire(self, *arguments):
            done = agenda.fire(*arguments)
            if not self.lost:
                self.lost = True
                raise QueueUnavailable("the answer was lost")
            return done

    plan()
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")
    nights = ScheduleSource(LosesFirstAnswer(), clock)
    for _ in range(3):
        nights.feed()
        clock.seconds += 61
    assert folders(store) == ["/pacs/2026-10-24"]


def test_no_duplicate_firing_when_clock_is_set_back(nights, store, plan, clock):
    plan()
    clock.seconds = seconds(BERLIN, "2026-10-24T02:31")
    nights.feed()
    for back in (60, 1800):
        clock.seconds -= back
        nights.feed()
        clock.seconds += back
        nights.feed()
    assert folders(store) == ["/pacs/2026-10-24"]
    clock.seconds = seconds(BERLIN, "2026-10-25T02:30")
    nights.feed()
    assert len(store.jobs()) == 2


def test_clock_set_back_by_days_is_logged_once_a_minute(nights, store, plan, clock):
    plan(last=clock() + 86400)
    with capture_logs() as logs:
        for _ in range(4):
            nights.feed()
            clock.seconds += 30
    assert [line["event"] for line in logs] == ["clock_was_ahead"] * 2
    assert store.jobs() == []


def test_broken_bundle_delays_firing_without_losing_it(nights, store, plan, clock, bundle):
    plan(catch_up=0)
    (bundle.path / "extra").write_text("x")
    (bundle.path / "SHA256SUMS").write_text("")
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")
    with capture_logs() as logs:
        for _ in range(10):
            nights.feed()
            clock.seconds += 29
    assert [(line["event"], line["why"]) for line in logs] == [
        ("schedule_not_fired", "BundleError")
    ] * 4
    assert store.jobs() == []
    seal(bundle.path)
    clock.seconds += 3600
    nights.feed()
    assert folders(store) == ["/pacs/2026-10-24"]


def test_busy_worker_still_queues_newest_firing(nights, store, plan, clock):
    plan(catch_up=0)
    nights.feed()
    clock.seconds = seconds(BERLIN, "2026-10-25T08:00")
    with capture_logs() as logs:
        nights.feed()
    # Of the two missed nights, the newest is queued.
    assert folders(store) == ["/pacs/2026-10-25"]
    assert [line["event"] for line in logs] == ["firings_skipped", "schedule_fired"]


def test_job_uses_bundle_at_time_of_firing(nights, store, plan, clock, bundle):
    plan()
    hashes = []
    for day, threshold in ((24, 0.5), (25, 0.25)):
        hashes.append(empty_bundle(bundle.path, threshold).sha256)
        clock.seconds = seconds(BERLIN, f"2026-10-{day}T02:30")
        nights.feed()
    assert [job.model_sha256 for job in store.jobs()] == hashes
    assert len(set(hashes)) == 2


def test_report_path_gets_suffix_if_taken_now_or_by_open_job(nights, store, plan, clock, tmp_path):
    plan(report=str(tmp_path / "report"))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "predictions.csv").touch()
    clock.seconds = seconds(BERLIN, BACK)
    nights.feed()
    assert [job.report.name for job in store.jobs()] == [
        f"report-{job.name}" for job in store.jobs()
    ]
    plan("other", report=str(tmp_path / "free"))
    clock.seconds = seconds(BERLIN, "2026-10-27T03:00")
    nights.feed()
    clock.seconds = seconds(BERLIN, "2026-10-28T03:00")
    nights.feed()
    first, second = [job.report for job in store.jobs() if job.schedule == "other"]
    assert first == tmp_path / "free"
    assert second.name.startswith("free-")


def test_report_template_is_filled_with_date(nights, store, plan, clock, tmp_path):
    plan(report=str(tmp_path / "{date:%Y}" / "{date:%m-%d}"))
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")
    nights.feed()
    assert [job.report for job in store.jobs()] == [tmp_path / "2026" / "10-24"]


def test_report_is_named_like_job_by_default(nights, store, plan, clock, tmp_path):
    plan(priority=5, tags=("night",))
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")
    nights.feed()
    (job,) = store.jobs()
    assert job.report == tmp_path / "reports" / job.name
    assert (job.priority, job.tags, job.schedule) == (5, ("night",), "nightly")


@pytest.mark.parametrize(
    "wrong",
    [{"tz": "Mars/Olympus"}, {"folder": "/pacs/{moon}"}, {"report": f"/{'x' * 300}"}],
    ids=["a zone that this machine lacks", "a template", "a path that cannot be"],
)
def test_invalid_schedule_does_not_block_others(nights, store, plan, clock, wrong):
    plan("a", **wrong)
    plan("b")
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")
    with capture_logs() as logs:
        nights.feed()
    assert [job.schedule for job in store.jobs()] == ["b"]
    assert [line["schedule"] for line in logs] == ["a", "b"]


def test_removed_schedule_stops_firing_and_keeps_its_jobs(nights, agenda, store, plan, clock):
    plan()
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")
    nights.feed()
    agenda.remove("nightly")
    clock.seconds = seconds(BERLIN, BACK)
    nights.feed()
    assert folders(store) == ["/pacs/2026-10-24"]


def test_missing_folder_is_retried_and_then_fails(nights, store, screener, plan, clock, tmp_path):
    plan(folder=str(tmp_path / "missing"), retries=1)
    clock.seconds = seconds(BERLIN, "2026-10-24T02:30")

    class Passing:
        """Advances the clock while the worker has nothing to do."""

        def idle(self):
            clock.seconds += 30

        def __getattr__(self, _name):
            return lambda *_arguments: None

    (job,) = work(
        make_tools(store, screener, clock=clock, watcher=Passing()), True, feeders=[nights]
    )
    assert (job.state, job.attempts) == (State.FAILED, 1)
    assert "cannot be listed" in job.message
    assert store.totals() == {State.FAILED: 1}


def test_times_of_schedule_match_its_expression(plan):
    assert plan().times == Times("30 2 * * *", BERLIN)
