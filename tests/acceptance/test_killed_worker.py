"""Promise 2: a committed row is never lost and never duplicated, whatever process dies."""

import signal
import sqlite3
import subprocess
import time

import pandas as pd
import pytest

from makers import COMMAND, write_chest_film
from screening.report.verification import verify


def committed(queue) -> int:
    connection = sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute("SELECT count(row) FROM films").fetchone()[0]
    finally:
        connection.close()


@pytest.fixture
def films(tmp_path, request):
    number = 500 if request.config.getoption("--long") else 150
    for seed in range(number):
        write_chest_film(tmp_path / "films" / f"{seed:04}.png", seed)
    return tmp_path / "films"


def start_worker(queue, environment) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, "worker", "--drain", "--queue", queue],
        env=environment,
        stderr=subprocess.DEVNULL,
    )


def test_killed_worker_loses_and_duplicates_no_film(films, tmp_path, screening, environment):
    queue, report = tmp_path / "queue.sqlite", tmp_path / "report"
    name = screening(
        "submit", films, "--queue", queue, "--out", report, "--batch", "2"
    ).stdout.strip()
    number = len(list(films.iterdir()))
    worker = start_worker(queue, environment)
    while committed(queue) < number // 4 and worker.poll() is None:
        time.sleep(0.02)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    before = committed(queue)
    assert 0 < before < number, "the signal came too early or too late to prove anything"
    assert not report.exists()

    screening("worker", "--drain", "--queue", queue)

    rows = pd.read_csv(report / "predictions.csv")
    assert len(rows) == number
    assert rows.film.is_unique
    assert set(rows.status) == {"scored"}
    audit = pd.read_csv(report / "audit.csv")
    assert list(audit.event[:5]) == ["submitted", "started", "keyed", "listed", "resumed"]
    assert (audit.event == "scored").sum() == number
    assert verify(report) == []
    assert "done" in screening("jobs", "show", name, "--queue", queue).stdout
