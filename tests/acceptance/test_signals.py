"""Test signals: the first finishes films in progress and requeues the job; the second stops."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

from makers import COMMAND, write_chest_film
from screening.report.verification import verify
from screening.results import Status, read_rows

FILMS = 100


def ask(queue, query):
    with closing(sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query).fetchone()


def committed(queue) -> int:
    return ask(queue, "SELECT count(row) FROM films")[0]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals") / "films"
    for seed in range(FILMS):
        write_chest_film(folder / f"{seed:04}.png", seed)
    return folder


@pytest.fixture
def signalled(films, tmp_path, screening, environment):
    """Signal a worker after its first rows; return rows before and after, and its exit code."""

    def sent(batch, *signals):
        queue, report = tmp_path / "queue.sqlite", tmp_path / "report"
        words = ("--queue", queue, "--out", report, "--batch", batch)
        screening("submit", films, *words)
        with subprocess.Popen(
            [COMMAND, "worker", "--queue", queue],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as worker:
            # With one core and one thread, batches are read one after the other.
            os.sched_setaffinity(worker.pid, {min(os.sched_getaffinity(0))})
            while not (before := committed(queue)) and worker.poll() is None:
                time.sleep(0.02)
            for number in signals:
                worker.send_signal(number)
            _out, stderr = worker.communicate(timeout=300)
        assert "Traceback" not in stderr
        assert "Interrupted." in stderr
        return before, committed(queue), worker.returncode

    return sent


def in_progress_and_suspected(queue):
    return ask(queue, "SELECT sum(in_hand AND row IS NULL), sum(deaths) FROM films")


def check_continuation(tmp_path, screening):
    queue, report = tmp_path / "queue.sqlite", tmp_path / "report"
    assert ask(queue, "SELECT state, worker FROM jobs") == ("queued", "")
    assert in_progress_and_suspected(queue) == (0, 0)
    assert not report.exists()
    screening("worker", "--drain", "--queue", queue)
    rows = read_rows(report / "predictions.csv")
    assert [row.film for row in rows] == [f"{number:04}.png" for number in range(FILMS)]
    assert {row.status for row in rows} == {Status.SCORED}
    assert verify(report) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_the_films_in_progress_finish(number, signalled, tmp_path, screening):
    before, after, code = signalled(8, number)
    assert code == 130
    # At least one batch was being read ahead.
    assert before + 8 <= after < FILMS
    check_continuation(tmp_path, screening)


def test_second_signal_stops_at_once(signalled, tmp_path, screening):
    before, after, code = signalled(40, signal.SIGTERM, signal.SIGINT)
    assert code == 130
    # The films in progress would have been another forty.
    assert after == before
    assert after + 40 <= FILMS
    check_continuation(tmp_path, screening)
