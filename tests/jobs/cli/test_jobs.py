"""Tests for ``screening jobs``, which inspects and manages jobs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from command import screening
from jobs import exit_codes
from jobs.cli.main import cli
from jobs.queue.jobs import State
from jobs.worker.worker import work
from queue_makers import found, make_job, make_tools, scored_row
from screening.audit import Event
from screening.results import Reason, Row, Status, read_rows

COMMANDS = sorted(cli.commands["jobs"].commands)


def screened(store, name, films=("1.png", "2.png"), failed=()):
    """Claim the job, commit a row for each of these films, and return the claimed job."""
    job = store.claim("host:1:2", 60, only=name)
    store.list_films(job, found(*films, *failed), [])
    rows = [scored_row(film) for film in films]
    rows += [
        Row(film=film, status=Status.FAILED, reason=Reason("unreadable", "torn")) for film in failed
    ]
    store.commit(job, rows, 60)
    return job


def listed(*words):
    """Return the names that `jobs list` prints."""
    result = screening("jobs", "list", *words)
    assert result.exit_code == exit_codes.OK, result.output
    return [line.split()[0] for line in result.stdout.splitlines()]


def json_of_job(*words):
    return json.loads(screening("jobs", *words, "--json").stdout)


@pytest.mark.parametrize("words", [[], ["--state", "done"], ["--tag", "night"]])
def test_empty_list_is_mentioned_on_stderr_only(queue, words):
    result = screening("jobs", "list", *words)
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "")
    assert result.stderr.startswith(f"The queue {queue} ")
    assert screening("jobs", "list", "--json", *words).stdout == "[]\n"


def test_list_has_one_line_per_job_oldest_first(store):
    for name in ("b", "a", "c"):
        store.add(make_job(name, Path(f"/films of {name}"), priority=5, tags=("ct", name)))
    screened(store, "a", ["1.png"], ["2.png"])
    store.finish(store.claim("A", 60, only="c"), 1, "no\ndisk")
    lines = [line.split(maxsplit=7) for line in screening("jobs", "list").stdout.splitlines()]
    since = [line.pop(5) for line in lines]
    assert since[0] == "2026-11-22T21:30:05Z"
    assert all(time.endswith("Z") for time in since)
    assert [line[:5] for line in lines] == [
        ["b", "queued", "-", "0", "5"],
        ["a", "running", "2/2", "1", "5"],
        ["c", "failed", "-", "0", "5"],
    ]
    assert lines[0][5:] == ["ct,b", "/films of b"]
    assert lines[2][5:] == ["ct,c", r"/films of c  no\ndisk"]


def test_list_can_be_filtered_by_state_tag_and_limit(store):
    for name, tags in {"a": ("ct",), "b": ("ct", "night"), "c": ("night",), "d": ()}.items():
        store.add(make_job(name, tags=tags))
    store.cancel("a")
    store.claim("A", 60, only="d")
    assert listed() == ["a", "b", "c", "d"]
    assert listed("--state", "queued") == ["b", "c"]
    assert listed("--state", "running", "--state", "cancelled") == ["a", "d"]
    assert listed("--tag", "night") == ["b", "c"]
    assert listed("--tag", "night", "--tag", "ct") == ["b"]
    assert listed("--limit", "2") == ["c", "d"]
    assert listed("--limit", "1", "--state", "queued") == ["c"]


def test_json_list_has_every_field(store):
    store.add(make_job("a", Path("/films"), priority=5, tags=("ct",), not_before=4e9))
    store.add(make_job("b"))
    store.finish(screened(store, "b", ["1.png"], ["2.png"]), 3)
    first, second = json.loads(screening("jobs", "list", "--json").stdout)
    assert first == {
        "name": "a",
        "state": "queued",
        "folder": "/films",
        "report": "/report-a",
        "model": "/bundle",
        "model_sha256": "f" * 64,
        "priority": 5,
        "tags": ["ct"],
        "schedule": None,
        "films": 0,
        "committed": 0,
        "failed": 0,
        "submitted_at": "2026-11-22T21:30:05.123+00:00",
        "not_before": "2096-10-02T07:06:40.000+00:00",
        "started_at": None,
        "finished_at": None,
        "worker": None,
        "lease_until": None,
        "attempts": 0,
        "exit_code": None,
        "message": None,
    }
    assert (second["films"], second["committed"], second["failed"]) == (2, 2, 1)
    assert (second["state"], second["exit_code"], second["worker"]) == ("done", 3, "host:1:2")
    assert second["finished_at"] >= second["started_at"] > second["submitted_at"]


def test_help_names_every_json_field(store):
    store.add(make_job())
    (job,) = json.loads(screening("jobs", "list", "--json").stdout)
    assert [name for name in job if name not in screening("jobs", "list", "--help").stdout] == []
    more = json_of_job("show", "job-1").keys() - job.keys()
    assert [name for name in more if name not in screening("jobs", "show", "--help").stdout] == []


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "job-1"]])
def test_hidden_folder_name_is_not_shown(store, words):
    store.add(make_job(folder=Path("/films/Doe, Jane"), report=Path("/report"), hash_names=True))
    for more in ([], ["--json"]):
        result = screening("jobs", *words, *more)
        assert "job-1" in result.stdout
        assert "Doe" not in result.output


def test_show_prints_options_result_and_history(store):
    store.add(make_job(labels=Path("/labels.csv"), tags=("ct",)))
    job = screened(store, "job-1", ["1.png"], ["2.png"])
    store.record(
        job, Event("2026-11-22T21:30:06", "given_up", job.name, {"error": "2 of\x1b[31m 3"})
    )
    store.finish(job, 4, "most films failed")
    lines = screening("jobs", "show", "job-1").stdout.splitlines()
    shown = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    assert (shown["job"], shown["folder"], shown["tags"]) == ("job-1", "/films", "ct")
    assert (shown["state"], shown["note"]) == ("failed", "most films failed")
    assert shown["films"] == "2/2, 1 scored, 1 failed"
    assert shown["exit"] == "code    4"
    assert (shown["labels"], shown["limits.seconds"]) == ("/labels.csv", "30.0")
    assert shown["worker"] == "host:1:2"
    assert lines[-1] == r'  2026-11-22T21:30:06  given_up  error="2 of\u001b[31m 3"'


def test_show_of_queued_job_has_no_result_and_worker(store):
    store.add(make_job())
    shown = screening("jobs", "show", "job-1").stdout
    assert "exit code" not in shown
    assert "message" not in shown
    assert "worker       none" in shown
    assert "films        not listed yet" in shown


def test_json_of_show_has_counts_options_and_history(store):
    store.add(make_job())
    store.finish(screened(store, "job-1", ["1.png"], ["2.png"]), 3)
    shown = json_of_job("show", "job-1")
    assert shown["counts"] == {"scored": 1, "refused": 0, "failed": 1, "duplicate": 0}
    assert (shown["claims"], shown["deaths"], shown["options"]["batch"]) == (1, 0, 2)
    assert [event["event"] for event in shown["history"]] == ["submitted"]


def test_unique_prefix_selects_a_job(store):
    for name in ("20261122-213005-9f3c2a", "20261122-213005-9f4000", "20261123-213005-9f3c2a"):
        store.add(make_job(name))
    assert json_of_job("show", "20261123")["name"] == "20261123-213005-9f3c2a"
    assert json_of_job("show", "20261122-213005-9f4")["name"] == "20261122-213005-9f4000"
    result = screening("jobs", "show", "20261122")
    assert result.exit_code == exit_codes.ERROR
    assert "names of 2 jobs begin with 20261122: 20261122-213005-9f3c2a, " in result.stderr


def test_exact_name_wins_over_prefix(store):
    for name in ("job", "job-1"):
        store.add(make_job(name))
    assert json_of_job("show", "job")["name"] == "job"


@pytest.mark.parametrize("command", ["show", "watch", "retry", "cancel"])
def test_unknown_name_is_an_error_with_a_suggestion(store, command):
    store.add(make_job("20261122-213005-9f3c2a"))
    result = screening("jobs", command, "20261122-213006-9f3c2a")
    assert result.exit_code == exit_codes.ERROR
    assert result.stderr.startswith("Error: there is no job 20261122-213006-9f3c2a")
    assert "did you mean 20261122-213005-9f3c2a?" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "retry", "cancel"])
@pytest.mark.parametrize("words", [[], [""]])
def test_missing_or_empty_name_changes_nothing(store, command, words):
    store.add(make_job())
    result = screening("jobs", command, *words)
    assert result.exit_code in (exit_codes.USAGE, exit_codes.ERROR)
    assert store.get("job-1").state is State.QUEUED


@pytest.mark.parametrize("command", COMMANDS)
def test_invalid_queue_file_prints_one_line_and_exits_with_1(home, command):
    (home / "file").write_text("nothing of use\n" * 50)
    names = ["job-1"] if command in ("show", "retry", "cancel") else []
    result = screening("jobs", command, *names, "--queue", "file")
    assert (result.exit_code, result.stderr.count("\n")) == (exit_codes.ERROR, 1)
    assert "file cannot be opened" in result.stderr


def test_cancel_names_the_worker_of_the_job(store):
    store.add(make_job("a"))
    store.add(make_job("b"))
    job = screened(store, "b")
    result = screening("jobs", "cancel", "a", "b")
    assert result.exit_code == exit_codes.OK
    assert result.stdout.splitlines() == [
        "a is cancelled",
        "b is cancelled; its worker (host:1) will soon stop screening it",
    ]
    assert [job.state for job in store.jobs()] == [State.CANCELLED] * 2
    assert store.get("b").fence > job.fence


def test_cancel_continues_after_jobs_that_have_ended(store):
    for name in ("a", "b", "c"):
        store.add(make_job(name))
    store.cancel("a")
    store.finish(store.claim("A", 60, only="b"), 0)
    result = screening("jobs", "cancel", "a", "b", "c")
    assert result.exit_code == exit_codes.ERROR
    assert result.stderr.splitlines() == [
        "Error: job a is already cancelled",
        "Error: job b is already done",
    ]
    assert [job.state.value for job in store.jobs()] == ["cancelled", "done", "cancelled"]


def test_cancel_with_an_unknown_name_cancels_nothing(store):
    store.add(make_job("a"))
    assert screening("jobs", "cancel", "a", "x").exit_code == exit_codes.ERROR
    assert store.get("a").state is State.QUEUED


def test_retry_prints_remaining_films_and_old_report(store, screener, films):
    (films / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    job = store.add(make_job(folder=films))
    list(work(make_tools(store, screener), drain=True))
    result = screening("jobs", "retry", "job-1")
    assert result.exit_code == exit_codes.OK, result.output
    old = job.report.with_name(f"{job.report.name}.1")
    assert (
        result.stdout
        == f"job-1 is queued again: 1 of 3 films left; the old report was renamed to {old}\n"
    )
    assert len(read_rows(old / "predictions.csv")) == 3
    last = store.events(job)[-1]
    assert last.event == "retried"
    assert list(last.fields) == ["user", "host"]


def test_retry_of_open_job_is_an_error_others_are_queued(store):
    for name in ("a", "b"):
        store.add(make_job(name))
    store.cancel("b")
    result = screening("jobs", "retry", "a", "b")
    assert result.exit_code == exit_codes.ERROR
    assert result.stderr == "Error: job a is queued; only a job that has ended can be retried\n"
    assert result.stdout == "b is queued again\n"
    assert store.get("b").state is State.QUEUED


def test_prune_deletes_jobs_that_ended_long_ago(store):
    for name in ("open", "ended"):
        store.add(make_job(name))
    store.cancel("ended")
    for words in (["--dry-run", "--older", "0"], ["--older", "1"], []):
        assert screening("jobs", "prune", *words).exit_code == exit_codes.OK
        assert listed() == ["open", "ended"]
    assert screening("jobs", "prune", "--dry-run", "--older", "0").stdout == "ended\n"
    result = screening("jobs", "prune", "--older", "0")
    assert result.stdout == "ended\n"
    assert "1 job" in result.stderr
    assert listed() == ["open"]


def test_prune_deletes_kept_images_but_no_report(store, home):
    job = store.add(make_job(heatmaps=True, report=home / "report"))
    job.report.mkdir()
    job.gallery.keep({"heatmaps/0.png": b"picture"})
    store.cancel("job-1")
    screening("jobs", "prune", "--older", "0", "--dry-run")
    assert job.gallery.aside.exists()
    screening("jobs", "prune", "--older", "0")
    assert not job.gallery.aside.exists()
    assert job.report.exists()


def test_list_imports_no_heavy_package(store):
    store.add(make_job())
    code = (
        "import sys\n"
        "from jobs.cli.main import cli\n"
        "try: cli(['jobs', 'list'])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'onnxruntime', 'pydicom', 'imagecodecs', 'pandas', 'scipy', 'alembic', 'stamina'}\n"
        "sys.exit(code or ' '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("job-1  queued")
