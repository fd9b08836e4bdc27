"""Promise 2 for a watched folder: each study gets one report, whatever process dies at any time."""

import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager

import pandas as pd
import pytest

from makers import COMMAND, write_chest_film

FILMS = 12


@pytest.fixture
def ward(tmp_path):
    for study in range(3):
        for film in range(FILMS):
            write_chest_film(
                tmp_path / "ward" / f"study-{study}" / f"{film}.png", FILMS * study + film
            )
    return tmp_path / "ward"


@contextmanager
def watching(ward, tmp_path, environment):
    """Run the command as a process within the block."""
    words = ["--queue", tmp_path / "queue.sqlite", "--out", tmp_path / "reports"]
    process = subprocess.Popen(
        [COMMAND, "watch", ward, *words, "--settle", "0.5", "--batch", "1"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def query_result(queue, query):
    """Return the result of a query; 0 before the database exists."""
    try:
        with closing(sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def until(condition, process):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_study_has_one_report_after_a_kill(ward, tmp_path, environment):
    queue = tmp_path / "queue.sqlite"
    with watching(ward, tmp_path, environment) as process:
        until(lambda: query_result(queue, "SELECT count(row) FROM films") > FILMS, process)
        process.kill()
        process.wait()
    assert FILMS < query_result(queue, "SELECT count(row) FROM films") < 3 * FILMS, "too late"

    with watching(ward, tmp_path, environment) as process:
        done = "SELECT count(*) FROM jobs WHERE state = 'done'"
        until(lambda: query_result(queue, done) == 3, process)
        # A fourth study arrives while the command is watching.
        write_chest_film(ward / "study-3" / "0.png", 100)
        until(lambda: query_result(queue, done) == 4, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()

    reports = sorted((tmp_path / "reports").iterdir())
    assert len(reports) == 4
    assert query_result(queue, "SELECT count(*) FROM jobs") == 4
    assert query_result(queue, "SELECT count(DISTINCT folder) FROM jobs") == 4
    tables = [pd.read_csv(report / "predictions.csv") for report in reports]
    assert sorted(map(len, tables)) == [1, FILMS, FILMS, FILMS]
    rows = pd.concat(tables)
    assert rows.sha256.is_unique
    assert set(rows.status) == {"scored"}


def test_schedule_is_added_shown_and_removed(screening, ward, tmp_path):
    queue = ("--queue", tmp_path / "queue.sqlite")
    words = ("--cron", "30 2 * * *", "--tz", "Europe/Berlin", "--name", "night")
    screening("schedule", "add", f"{ward}/{{date}}", *words, *queue)
    (listed,) = json.loads(screening("schedule", "list", "--json", *queue).stdout)
    assert listed["folder"] == f"{ward}/{{date}}"
    assert f"{ward}/20" in screening("schedule", "next", *queue).stdout
    screening("schedule", "remove", "night", *queue)
    assert json.loads(screening("schedule", "list", "--json", *queue).stdout) == []
    screening("schedule", "add", ward, "--cron", "never", *queue, code=1)
