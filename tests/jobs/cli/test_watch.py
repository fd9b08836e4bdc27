"""Tests for ``screening watch``: usage errors and --submit-only."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from command import screening
from jobs import exit_codes
from makers import COMMAND

#: Seconds to wait for something that normally takes a moment.
PATIENCE = 60


@pytest.fixture
def ward(home):
    (home / "ward").mkdir()
    return home / "ward"


def until(condition):
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def started(*words):
    """Run the command as a process of its own."""
    process = subprocess.Popen(
        [COMMAND, *map(str, words)], env=os.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


WRONG = {
    "a folder that is not there": ["nowhere"],
    "reports inside the folder": ["ward", "--out", "ward/reports"],
    "the folder for reports": ["ward", "--out", "ward"],
    "quarantine inside the folder": ["ward", "--quarantine", "ward/q"],
    "labels that are not there": ["ward", "--labels", "nowhere.csv"],
    "no process": ["ward", "--processes", "0"],
    "a time before which nothing begins": ["ward", "--not-before", "2027-01-01"],
}


@pytest.mark.usefixtures("bundle", "ward")
@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_usage_error_exits_with_2(words):
    result = screening("watch", *words, "--model", "bundle")
    assert result.exit_code == exit_codes.USAGE, result.output


def test_invalid_bundle_is_an_immediate_error(ward):
    result = screening("watch", ward, "--model", ward)
    assert result.exit_code == exit_codes.ERROR
    assert "is not a bundle" in result.stderr


def test_help_says_which_files_are_ignored():
    words = " ".join(screening("watch", "--help").stdout.split())
    assert "Files directly in FOLDER are ignored" in words


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_submit_only_continues_after_restart_and_exits_with_130(store, ward, bundle, how):
    words = ("watch", ward, "--submit-only", "--model", bundle.path, "--settle", "0")
    with started(*words) as process:
        for name in ("a", "b"):
            (ward / name).mkdir()
            (ward / name / "1.png").write_text("film")
        until(lambda: len(store.jobs()) == 2)
        process.send_signal(how)
        assert process.wait(PATIENCE) == exit_codes.INTERRUPTED
    with started(*words) as process:
        (ward / "c").mkdir()
        (ward / "c" / "1.png").write_text("film")
        until(lambda: len(store.jobs()) == 3)
        process.send_signal(how)
        assert process.wait(PATIENCE) == exit_codes.INTERRUPTED
    assert sorted(job.folder.name for job in store.jobs()) == ["a", "b", "c"]
