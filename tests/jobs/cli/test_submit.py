"""Tests for ``screening submit``: the submitted job and the printed output."""

from datetime import UTC, datetime

import pytest

from command import screening, submitted
from jobs import exit_codes
from jobs.cli.stores import shown


@pytest.fixture
def submit(films, bundle):
    """Run `submit` with these options and return the result."""

    def asked(*words, **environment):
        return screening("submit", films, "--model", bundle.path, *words, **environment)

    return asked


def test_queued_folder_is_not_added_again(store, submit):
    first, second = submit(), submit()
    assert [first.exit_code, second.exit_code] == [exit_codes.OK] * 2
    assert first.stdout == second.stdout
    assert first.stderr.startswith("queue ")
    assert second.stderr.startswith("is already queued, queue ")
    assert str(store.jobs()[0].report) in second.stderr
    assert len(store.jobs()) == 1


def test_running_folder_is_not_added_again(store, submit):
    first = submit()
    store.claim("A", 60)
    second = submit()
    assert second.stdout == first.stdout
    assert second.stderr.startswith("is already running, queue ")


def test_ended_job_can_be_submitted_again(store, submit):
    first = submit()
    store.finish(store.claim("A", 60), exit_codes.OK)
    assert submit().stdout != first.stdout


@pytest.mark.parametrize("words", [("--batch", "4"), ("--new-only",), ("--out", "elsewhere")])
def test_same_folder_with_other_options_is_another_job(store, submit, words):
    assert submit().stdout != submit(*words).stdout
    assert len(store.jobs()) == 2


def test_run_always_adds_a_job(store, films, submit):
    waiting = submit().stdout.strip()
    assert screening("run", films, "--out", "report").exit_code == exit_codes.OK
    assert len(store.jobs()) == 2
    assert store.get(waiting).exit_code is None


def test_options_are_stored_with_the_job(store, films, bundle, home):
    words = ("--priority", "-7", "--retries", "9", "--tag", "ward 2", "--tag", "night")
    more_words = ("--settle", "2.5", "--new-only", "--quarantine", "aside")
    job = submitted(store, films, "--model", bundle.path, *words, *more_words)
    assert (job.priority, job.tags) == (-7, ("ward 2", "night"))
    options = job.options
    assert (options.retries, options.settle, options.new_only) == (9, 2.5, True)
    assert options.quarantine == home / "aside"


def test_unset_options_have_their_defaults(store, films, bundle):
    job = submitted(store, films, "--model", bundle.path, SCREENING_SUBMIT_SETTLE=None)
    assert (job.priority, job.tags, job.not_before) == (0, (), 0.0)
    options = job.options
    assert (options.retries, options.settle, options.new_only) == (3, 5.0, False)
    assert options.quarantine is None


def test_run_has_no_retries(store, films, bundle):
    screening("run", films, "--model", bundle.path, "--out", "report")
    assert store.jobs()[0].options.retries == 0


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("2026-11-22T02:30:00+00:00", datetime(2026, 11, 22, 2, 30, tzinfo=UTC)),
        ("2026-11-22T02:30:00+01:00", datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
        ("2026-11-22T02:30Z", datetime(2026, 11, 22, 2, 30, tzinfo=UTC)),
        ("2026-11-22T02:30", datetime(2026, 11, 22, 2, 30).astimezone()),
        ("2026-11-22", datetime(2026, 11, 22).astimezone()),
    ],
)
def test_time_without_offset_is_local_time(store, films, bundle, asked, meant):
    job = submitted(store, films, "--model", bundle.path, "--not-before", asked)
    assert job.not_before == meant.timestamp()


@pytest.mark.parametrize(
    "words",
    [
        ("--not-before", "tomorrow"),
        ("--not-before", "2026-11-31T02:30"),
        ("--not-before", "02:30"),
        ("--not-before", "0001-01-01T00:00"),
        ("--not-before", ""),
        ("--priority", "1001"),
        ("--retries", "-1"),
        ("--settle", "-1"),
        ("--quarantine", "films/aside"),
        ("--queue", "films"),
        ("--queue", ""),
    ],
    ids=" ".join,
)
def test_invalid_values_are_usage_errors(queue, submit, words):
    result = submit(*words)
    assert result.exit_code == exit_codes.USAGE
    assert "Traceback" not in result.output
    assert "Error: " in result.stderr


SECRETS = [
    "postgresql://reader:hush@127.0.0.1:1/queue",
    "postgresql://reader@127.0.0.1:1/queue?password=hush",
    "postgresql://reader:hu@hush:hush@127.0.0.1:1/queue",
    "postgresql://reader:hush@127.0.0.1:hush/queue",
    "mysql://reader:hush@127.0.0.1:1/queue",
]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize("command", [("jobs", "list"), ("schedule", "list"), ("submit",)])
@pytest.mark.parametrize("source", ["line", "environment"])
def test_queue_password_is_never_printed(submit, url, command, source):
    words = ("--queue", url) if source == "line" else ()
    environment = {"SCREENING_QUEUE": url} if source == "environment" else {}
    if command == ("submit",):
        result = submit(*words, **environment)
    else:
        result = screening(*command, *words, **environment)
    assert result.exit_code == exit_codes.ERROR
    assert result.stderr.startswith("Error: ")
    assert "hush" not in result.output


@pytest.mark.parametrize("url", SECRETS[:2])
def test_queue_is_displayed_without_its_password(url):
    assert shown(url).endswith("@127.0.0.1:1/queue")
    assert "hush" not in shown(url)


def test_thumbnails_work_with_any_model(store, submit):
    assert submit("--thumbnails").exit_code == exit_codes.OK
    (job,) = store.jobs()
    assert (job.options.thumbnails, job.options.heatmaps) == (True, False)
    assert (job.gallery.thumbnails, job.gallery.heatmaps) == (True, False)
