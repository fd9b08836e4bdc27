"""What `screening submit` asks for, and what it says."""

from datetime import UTC, datetime

import pytest

from command import screening, submitted
from jobs import exit_codes
from jobs.cli.bootstrap import shown


@pytest.fixture
def submit(films, bundle):
    """The result of `submit` with these options."""

    def asked(*words, **environment):
        return screening("submit", films, "--model", bundle.path, *words, **environment)

    return asked


def test_what_is_queued_already_is_the_same_job_and_that_is_said(store, submit):
    first, second = submit(), submit()
    assert [first.exit_code, second.exit_code] == [exit_codes.OK] * 2
    assert first.stdout == second.stdout
    assert first.stderr.startswith("queue ")
    assert second.stderr.startswith("is queued already, queue ")
    assert str(store.jobs()[0].report) in second.stderr
    assert len(store.jobs()) == 1


def test_what_is_running_already_is_the_same_job_and_that_is_said(store, submit):
    first = submit()
    store.claim("A", 60)
    second = submit()
    assert second.stdout == first.stdout
    assert second.stderr.startswith("is running already, queue ")


def test_what_has_ended_is_asked_for_anew(store, submit):
    first = submit()
    store.finish(store.claim("A", 60), exit_codes.OK)
    assert submit().stdout != first.stdout


@pytest.mark.parametrize("words", [("--batch", "4"), ("--new-only",), ("--out", "elsewhere")])
def test_the_same_folder_otherwise_is_another_job(store, submit, words):
    assert submit().stdout != submit(*words).stdout
    assert len(store.jobs()) == 2


def test_run_is_always_a_job_of_its_own(store, films, submit):
    waiting = submit().stdout.strip()
    assert screening("run", films, "--out", "report").exit_code == exit_codes.OK
    assert len(store.jobs()) == 2
    assert store.get(waiting).exit_code is None


def test_what_is_asked_for_is_frozen_with_the_job(store, films, bundle, home):
    words = ("--priority", "-7", "--retries", "9", "--tag", "ward 2", "--tag", "night")
    promises = ("--settle", "2.5", "--new-only", "--quarantine", "aside")
    job = submitted(store, films, "--model", bundle.path, *words, *promises)
    assert (job.priority, job.tags) == (-7, ("ward 2", "night"))
    options = job.options
    assert (options.retries, options.settle, options.new_only) == (9, 2.5, True)
    assert options.quarantine == home / "aside"


def test_what_is_not_asked_for_has_its_default(store, films, bundle):
    job = submitted(store, films, "--model", bundle.path, SCREENING_SUBMIT_SETTLE=None)
    assert (job.priority, job.tags, job.not_before) == (0, (), 0.0)
    options = job.options
    assert (options.retries, options.settle, options.new_only) == (3, 5.0, False)
    assert options.quarantine is None


def test_run_is_not_tried_again_by_itself(store, films, bundle):
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
def test_a_time_without_an_offset_is_that_of_this_machine(store, films, bundle, asked, meant):
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
def test_what_cannot_be_meant_is_wrong_usage(queue, submit, words):
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
def test_the_password_of_a_queue_is_never_told(submit, url, command, source):
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
def test_a_queue_is_shown_without_its_password(url):
    assert shown(url).endswith("@127.0.0.1:1/queue")
    assert "hush" not in shown(url)


def test_thumbnails_are_asked_of_any_model(store, submit):
    assert submit("--thumbnails").exit_code == exit_codes.OK
    (job,) = store.jobs()
    assert (job.options.thumbnails, job.options.heatmaps) == (True, False)
    assert (job.gallery.thumbnails, job.gallery.heatmaps) == (True, False)
