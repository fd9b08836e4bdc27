"""Tests for the command line: usage, exit codes, and screening."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command import screening, submitted
from exports.bundle import SHIPPED, Bundle
from jobs import exit_codes
from jobs.cli import bootstrap
from jobs.cli.main import cli
from jobs.queue.jobs import State
from makers import write_chest_film
from queue_makers import (
    FakeClock,
    SerialEngine,
    make_job,
    opened_store,
    table,
)
from screening import __version__
from screening.results import Status, read_rows

USAGE = {
    "no such command": ["scrutinise"],
    "no such option": ["run", "films", "--colour", "red"],
    "no folder": ["run"],
    "a folder that is not there": ["run", "nowhere"],
    "a file for a folder": ["submit", "file"],
    "a batch of no film": ["run", "films", "--batch", "0"],
    "a batch beyond the range": ["run", "films", "--batch", "1025"],
    "a batch that is no number": ["run", "films", "--batch", "few"],
    "an unknown runtime": ["run", "films", "--runtime", "abacus"],
    "labels that are not there": ["submit", "films", "--labels", "nowhere.csv"],
    "a bundle that is not there": ["submit", "films", "--model", "nowhere"],
    "a report inside the folder": ["run", "films", "--model", "bundle", "--out", "films/report"],
    "a report that is there": ["submit", "films", "--model", "bundle", "--out", "bundle"],
    "a folder for a queue": ["jobs", "list", "--queue", "films"],
    "a job without a name": ["jobs", "show"],
    "a configuration that is not there": ["--config", "nowhere.toml", "jobs", "list"],
    "a configuration that is no TOML": ["--config", "file", "jobs", "list"],
    "a configuration that is no text": ["--config", "binary", "jobs", "list"],
    "an export without a target": ["export", "films"],
    "an unknown target": ["export", "films", "--out", "b", "--target", "abacus"],
    "an evaluation without labels": ["evaluate", "films"],
    "an evaluation inside the report": [
        *("evaluate", "films", "--labels", "file", "--out", "films/evaluation"),
    ],
    "an unknown policy": ["submit", "films", "--labels-policy", "lenient"],
    "a prevalence that is no share": ["submit", "films", "--prevalence", "5"],
    "a training on nothing": ["train", "nowhere", "--out", "m"],
    "no epochs": ["train", "films", "--out", "m", "--epochs", "0"],
}


@pytest.mark.usefixtures("films", "bundle")
@pytest.mark.parametrize("words", USAGE.values(), ids=USAGE)
def test_usage_error_exits_with_2_and_enqueues_nothing(home, queue, words):
    (home / "file").write_text("x = = 1\n")
    (home / "binary").write_bytes(b"\xff\xfe\0")
    result = screening(*words)
    assert result.exit_code == exit_codes.USAGE
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output
    if queue.exists():
        with opened_store(queue, FakeClock()) as store:
            assert store.jobs() == []


ERRORS = {
    "no bundle": (["submit", "films", "--model", "films"], "films is not a bundle"),
    "labels without a column": (
        ["submit", "films", "--model", "bundle", "--labels", "file"],
        "lack the column film, label",
    ),
    "an evaluation of no report": (
        ["evaluate", "films", "--labels", "labels.csv"],
        "films is not intact",
    ),
    "an unknown job": (["jobs", "show", "job-7"], "there is no job job-7"),
    "a queue that is none": (["jobs", "list", "--queue", "file"], "file cannot be opened"),
    "a worker on a queue that is none": (["worker", "--queue", "file"], "file cannot be opened"),
}


@pytest.mark.usefixtures("films", "bundle")
@pytest.mark.parametrize(("words", "message"), ERRORS.values(), ids=ERRORS)
def test_error_prints_one_line_and_exits_with_1(home, words, message):
    (home / "labels.csv").write_text("film,label\n0.png,1\n")
    (home / "file").write_text("nothing of use\n" * 50)
    result = screening(*words)
    assert result.exit_code == exit_codes.ERROR
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_version_is_that_of_the_package():
    assert __version__ in screening("--version").stdout


@pytest.mark.parametrize("command", cli.commands)
def test_every_command_is_in_the_help_and_has_its_own(command):
    assert command in screening("--help").stdout
    result = screening(command, "--help")
    assert result.exit_code == exit_codes.OK
    assert f"{command} [OPTIONS]" in result.stdout


def test_help_imports_no_heavy_package():
    code = (
        "import sys\n"
        "from jobs.cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'matplotlib', 'scipy', 'sklearn'}\n"
        "sys.exit(code or ' '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Research software" in done.stdout


def test_submit_prints_job_queue_and_report(store, films, bundle, queue):
    result = screening("submit", films, "--model", bundle.path)
    (job,) = store.jobs()
    assert result.stdout == f"{job.name}\n"
    assert f"queue {queue}" in result.stderr
    assert str(job.report) in result.stderr
    assert job.report == Path("reports").resolve() / job.name
    assert (job.state, job.folder, job.model) == (State.QUEUED, films, bundle.path)


def test_shipped_bundle_is_the_default(store, films):
    assert submitted(store, films).model_sha256 == Bundle.open(SHIPPED).sha256


def test_run_screens_with_shipped_model_and_writes_report(store, films):
    (films / "notes.txt").write_text("not a film")
    result = screening("run", films, "--out", "report", "--batch", "2")
    assert result.exit_code == exit_codes.OK, result.output
    rows = read_rows(Path("report/predictions.csv"))
    assert [row.status for row in rows] == [Status.SCORED, Status.SCORED, Status.REFUSED]
    assert {row.model_sha256 for row in rows} == {Bundle.open(SHIPPED).sha256}
    (job,) = store.jobs()
    assert (job.state, job.exit_code) == (State.DONE, exit_codes.OK)
    assert result.stdout.startswith(f"Job {job.name}, queue ")
    assert "3 files: 2 scored, 1 refused" in result.stderr
    assert f"Report: {job.report}" in result.stderr


def test_run_leaves_other_jobs_in_the_queue(store, films, bundle):
    waiting = submitted(store, films, "--model", bundle.path)
    assert screening("run", films).exit_code == exit_codes.OK
    assert store.get(waiting.name).state is State.QUEUED


def test_run_with_failed_film_exits_with_3(films):
    (films / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert screening("run", films, "--out", "report").exit_code == exit_codes.SOME_FAILED
    assert [line["status"] for line in table(Path("report/predictions.csv"))][-1] == "failed"


def test_failed_run_prints_reason_and_exits_with_1(store, films, bundle):
    result = screening("run", films, "--model", bundle.path, "--out", "report")
    assert result.exit_code == exit_codes.ERROR
    (job,) = store.jobs()
    assert f"Error: job {job.name}: {bundle.path / 'model.onnx'} cannot be loaded" in result.stderr
    assert job.state is State.FAILED
    assert not Path("report").exists()


@pytest.mark.parametrize(
    ("bad_model", "bad_film", "code"),
    [(False, False, 0), (False, True, 3), (True, False, 1), (True, True, 1)],
)
def test_draining_worker_exits_with_most_severe_job_code(
    store, films, bundle, home, bad_model, bad_film, code
):
    if bad_model:
        submitted(store, films, "--model", bundle.path)
    if bad_film:
        broken = write_chest_film(home / "broken" / "0.png", seed=5).parent
        (broken / "empty.png").touch()
        submitted(store, broken)
    submitted(store, films)
    assert screening("worker", "--drain").exit_code == code
    assert {job.state for job in store.jobs()} <= {State.DONE, State.FAILED}
    assert store.jobs()[-1].state is State.DONE


def test_draining_an_empty_queue_exits_with_0(queue):
    assert screening("worker", "--drain").exit_code == exit_codes.OK
    assert queue.exists()


def test_interrupted_run_exits_with_130_and_worker_continues_it(store, films, monkeypatch):
    engines = [SerialEngine(1, KeyboardInterrupt()), SerialEngine()]
    monkeypatch.setattr(bootstrap, "LocalEngine", lambda *_arguments: engines.pop(0))
    result = screening("run", films, "--batch", "1", "--out", "report")
    assert result.exit_code == exit_codes.INTERRUPTED
    assert "Interrupted" in result.stderr
    (job,) = store.jobs()
    assert (job.state, job.committed) == (State.QUEUED, 1)
    assert screening("worker", "--drain").exit_code == exit_codes.OK
    assert len(read_rows(Path("report/predictions.csv"))) == 2


def test_sigterm_interrupts_a_run(store, films, monkeypatch):
    class Terminated(SerialEngine):
        def __init__(self, *_arguments):
            super().__init__()

        def screen(self, *_arguments):
            signal.raise_signal(signal.SIGTERM)
            yield []

    monkeypatch.setattr(bootstrap, "LocalEngine", Terminated)
    assert screening("run", films).exit_code == exit_codes.INTERRUPTED
    assert [job.state for job in store.jobs()] == [State.QUEUED]


@pytest.mark.parametrize("code", [0, 3, 1, 4])
def test_run_exits_with_its_job_code_if_another_worker_ran_it(store, queue, films, code):
    store.add(make_job(folder=films))
    store.finish(store.claim("another-host:1:1", 60), code, "as the worker saw it")
    assert bootstrap.run_single_job(queue, bootstrap.WorkerConfig(drain=True), "job-1") == code
