"""Tests for ``screening schedule``: invalid schedules and printed output."""

import json

import pytest

from command import screening
from jobs import exit_codes
from jobs.queue.sql.database import open_database
from jobs.queue.sql.schedules import SqlScheduleStore
from queue_makers import FakeClock, make_job, make_schedule, opened_store

NIGHTLY = ("--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--name", "nightly")


@pytest.fixture
def schedules(queue):
    database = open_database(queue)
    yield SqlScheduleStore(database)
    database.close()


def add(folder, *words, **environment):
    return screening(
        "schedule", "add", folder, "--model", "bundle", *NIGHTLY, *words, **environment
    )


def refused(result, code=exit_codes.ERROR):
    """Check the exit code and return the only error line."""
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    if code == exit_codes.ERROR:
        assert result.stderr.splitlines() == lines
    return lines[0]


@pytest.mark.usefixtures("bundle")
def test_schedule_is_added_with_all_options(schedules, home):
    (home / "labels.csv").write_text("film,label\n0.png,1\n")
    words = (
        "--out",
        "reports/{date}",
        "--labels",
        "labels.csv",
        "--catch-up",
        "2",
        "--settle",
        "9",
    )
    result = add("pacs/{date:%Y/%m}", *words, "--tag", "ward", "--priority", "3")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "nightly\n")
    assert "first run at " in result.stderr
    (planned,) = schedules.schedules()
    assert (planned.cron, planned.tz) == ("30 2 * * *", "Europe/Berlin")
    assert planned.folder == str(home / "pacs/{date:%Y/%m}")
    assert planned.report == str(home / "reports/{date}")
    assert (planned.model, planned.reports) == (home / "bundle", home / "reports")
    assert (planned.tags, planned.priority, planned.catch_up) == (("ward",), 3, 2)
    assert planned.options.labels == home / "labels.csv"
    assert planned.options.key.is_absolute()
    assert planned.options.settle == 9


@pytest.mark.usefixtures("bundle")
def test_braces_in_current_directory_are_literal(schedules, home, monkeypatch):
    place = home / "{ward}"
    place.mkdir()
    monkeypatch.chdir(place)
    result = add("{date}", "--model", "../bundle")
    assert result.exit_code == exit_codes.OK, result.output
    (planned,) = schedules.schedules()
    assert planned.folder_at(0) == place / "1970-01-01"


BAD = {
    "a cron expression": (["--cron", "30 25 * * *"], "'30 25 * * *' is not a cron expression"),
    "one that never fires": (["--cron", "0 3 */31 * MON#5"], "never fires"),
    "a zone": (["--tz", "Europe/Bonn"], "'Europe/Bonn' is not a time zone"),
    "a report": (["--out", "{moon}"], "the template"),
    "a bundle": (["--model", "elsewhere"], "elsewhere is not a bundle"),
}


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(("words", "why"), BAD.values(), ids=BAD)
def test_invalid_schedule_is_a_one_line_error(schedules, home, words, why):
    (home / "elsewhere").mkdir()
    assert why in refused(add("pacs", *words))
    assert schedules.schedules() == []


@pytest.mark.usefixtures("bundle")
def test_invalid_folder_template_is_rejected(schedules):
    assert "the template" in refused(add("pacs/{moon}"))
    assert schedules.schedules() == []


@pytest.mark.usefixtures("bundle")
def test_existing_name_is_rejected(schedules):
    assert add("pacs").exit_code == exit_codes.OK
    assert "there is already a schedule nightly" in refused(add("other"))
    assert len(schedules.schedules()) == 1


WRONG = {
    "labels that are not there": ["pacs", "--labels", "nowhere.csv"],
    "a report inside the folder": ["pacs/{date}", "--out", "pacs/{date}/report"],
    "the default reports inside the folder": ["."],
    "quarantine inside the folder": ["pacs", "--quarantine", "pacs/q"],
    "a time before which nothing begins": ["pacs", "--not-before", "2027-01-01"],
    "a limit below nought": ["pacs", "--catch-up", "-1"],
}


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_usage_error_adds_nothing(schedules, words):
    refused(add(*words), exit_codes.USAGE)
    assert schedules.schedules() == []


def test_list_shows_last_and_next_runs(schedules):
    schedules.add(make_schedule("a"))
    schedules.add(make_schedule("b"))
    schedules.fire(make_schedule("a"), {1_795_000_000: make_job()}, [], 1_795_000_000)
    schedules.fire(make_schedule("b"), {}, [1_795_000_000], 1_795_000_000)
    lines = screening("schedule", "list").stdout.splitlines()
    assert lines[0] == "a  30 2 * * *  Europe/Berlin  /films"
    assert lines[1].startswith("  next ")
    assert lines[1].endswith("last 2026-11-18 12:06+01:00 job-1")
    assert lines[3].endswith("last 2026-11-18 12:06+01:00 skipped")


def test_list_prints_json(schedules):
    schedules.add(make_schedule("a", tags=("ward",)))
    (listed,) = json.loads(screening("schedule", "list", "--json").stdout)
    assert (listed["name"], listed["cron"], listed["report"]) == ("a", "30 2 * * *", None)
    assert listed["next"][11:16] == "02:30"
    assert listed["tags"] == ["ward"]


@pytest.mark.usefixtures("schedules")
def test_empty_list_is_stated():
    assert screening("schedule", "list").stdout.endswith("has no schedules.\n")
    assert screening("schedule", "list", "--json").stdout == "[]\n"


def test_remove_keeps_submitted_jobs(schedules, queue):
    schedules.add(make_schedule("a"))
    schedules.fire(make_schedule("a"), {100: make_job()}, [], 100)
    assert screening("schedule", "remove", "a").stdout == "a was removed\n"
    assert "there is no schedule a" in refused(screening("schedule", "remove", "a"))
    with opened_store(queue, FakeClock()) as store:
        assert len(store.jobs()) == 1


def test_next_runs_are_shown_in_order_with_folders(schedules):
    schedules.add(make_schedule("a", folder="/pacs/{date}"))
    schedules.add(make_schedule("b", cron="0 12 * * *"))
    lines = screening("schedule", "next", "--count", "4").stdout.splitlines()
    assert lines == sorted(lines)
    assert [line.split()[2] for line in lines] in (["a", "b", "a", "b"], ["b", "a", "b", "a"])
    (one,) = screening("schedule", "next", "a", "--count", "1").stdout.splitlines()
    day, _time, _name, folder = one.split()
    assert folder == f"/pacs/{day}"
    assert "there is no schedule c" in refused(screening("schedule", "next", "c"))


def test_queue_password_is_not_shown(postgres_url):
    secret = postgres_url.replace("screening@", "screening:sesame@")
    assert secret != postgres_url
    for words in (["list"], ["list", "--json"], ["next"], ["remove", "a"]):
        result = screening("schedule", *words, "--queue", secret)
        assert "sesame" not in result.output
    away = "postgresql://screening:sesame@127.0.0.1:1/queue"
    result = screening("schedule", "list", "--queue", away)
    assert result.exit_code == exit_codes.ERROR
    assert "sesame" not in result.output
