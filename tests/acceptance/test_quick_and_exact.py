"""Test `--runtime`, `--precision`, `--exact` and `--profile`, which apply to the whole job."""

import csv
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from PIL import Image

from exports.bundle import SHIPPED
from jobs.host import cores
from makers import COMMAND, chest_film
from screening.results import read_rows


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two films of 224 pixels and one that is five times as large."""
    folder = tmp_path_factory.mktemp("films")
    for number in (1, 2):
        Image.fromarray(chest_film(number)).save(folder / f"{number}.png")
    large = Image.fromarray(chest_film(3)).resize((1320, 1100), Image.Resampling.BICUBIC)
    large.save(folder / "large.jpeg", quality=95)
    return folder


def rows_of(report):
    return {row.film: row for row in read_rows(report / "predictions.csv")}


def audited(report, event):
    with (report / "audit.csv").open(newline="", encoding="utf-8") as file:
        return [line for line in csv.DictReader(file) if line["event"] == event]


def test_report_has_the_decoding_of_each_film(screening, films, tmp_path):
    screening("run", films, "--out", tmp_path / "quick")
    screening("run", films, "--out", tmp_path / "exact", "--exact")
    quick, exact = rows_of(tmp_path / "quick"), rows_of(tmp_path / "exact")
    assert [row.decoding for row in quick.values()] == ["full", "full", "jpeg/2"]
    assert [row.decoding for row in exact.values()] == ["full"] * 3
    for name, row in quick.items():
        assert row.status == exact[name].status
        assert row.probability == pytest.approx(exact[name].probability, abs=0.02)
    # Both can be verified, each with its own decoding.
    for report in ("quick", "exact"):
        screening("verify", tmp_path / report, "--films", films, "--model", SHIPPED)


def test_edge_program_decodes_like_a_run(films, tmp_path):
    place = tmp_path / "bundle"
    shutil.copytree(SHIPPED, place)
    program = [sys.executable, place / "screen.pyz", films, "--runtime", "onnx"]
    for name, extra in {"quick": [], "exact": ["--exact"]}.items():
        words = [*extra, "--out", tmp_path / name, "--key", tmp_path / "key"]
        subprocess.run([*map(str, program), *map(str, words)], check=True, capture_output=True)
    assert [row.decoding for row in rows_of(tmp_path / "quick").values()][2] == "jpeg/2"
    assert {row.decoding for row in rows_of(tmp_path / "exact").values()} == {"full"}


def test_requested_model_is_used_and_profile_lists_stages(screening, films, tmp_path):
    words = ("--precision", "int8", "--runtime", "litert", "--profile")
    output = screening("run", films, "--out", tmp_path / "report", *words).stderr
    used = {row.runtime.split()[0] for row in rows_of(tmp_path / "report").values()}
    assert used == {"tflite-int8/ai-edge-litert"}
    assert audited(tmp_path / "report", "chosen") == []
    stages = {line[:18].strip(): line[18:].split() for line in output.splitlines()}
    for stage in ("reading and hash", "decoding", "preparing", "inference", "answering", "rows"):
        assert float(stages[stage][0]) > 0, stage
    assert "3 films in " in output
    assert f"{cores()} cores could do " in output
    assert "start-up " in output


def test_auto_measures_once_and_records_the_result(screening, films, tmp_path):
    words = ("--runtime", "auto", "--precision", "int8")
    screening("run", films, "--out", tmp_path / "report", *words)
    (chosen,) = audited(tmp_path / "report", "chosen")
    assert chosen["detail"].startswith(f"{chosen['subject']}=")
    assert "onnx-int8=" in chosen["detail"]
    assert "tflite-int8=" in chosen["detail"]
    used = {row.runtime.partition("/")[0] for row in rows_of(tmp_path / "report").values()}
    assert used == {chosen["subject"]}


def test_missing_model_is_detected_before_anything_is_queued(
    screening, films, bright_bundle, tmp_path
):
    words = ("--model", bright_bundle, "--precision", "int8", "--out", tmp_path / "report")
    output = screening("submit", films, *words, code=1).stderr
    assert "has no int8 model for the runtime onnx; its models: onnx" in output


def test_takeover_uses_the_model_chosen_by_the_first_worker(environment, tmp_path):
    films, queue = tmp_path / "films", tmp_path / "queue.sqlite"
    films.mkdir()
    for number in range(300):
        Image.fromarray(chest_film(number)).save(films / f"{number:03}.png")
    words = ("--runtime", "auto", "--precision", "int8", "--settle", "0", "--queue", queue)
    first = subprocess.Popen(
        [COMMAND, "run", films, "--out", tmp_path / "report", *words],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not _committed(queue) and time.monotonic() < until:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert 0 < _committed(queue) < 300
    # Pretend that the other one was chosen on the first worker's machine.
    with sqlite3.connect(queue) as ledger:
        (chosen,) = ledger.execute("SELECT subject FROM events WHERE event = 'chosen'").fetchone()
        other = {"onnx-int8": "tflite-int8", "tflite-int8": "onnx-int8"}[chosen]
        ledger.execute("UPDATE events SET subject = ? WHERE event = 'chosen'", (other,))
    command = [COMMAND, "worker", "--drain", "--queue", queue]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    used = {row.runtime.partition("/")[0] for row in rows_of(tmp_path / "report").values()}
    assert used == {chosen, other}


def _committed(queue) -> int:
    if not queue.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{queue}?mode=ro", uri=True) as ledger:
            return int(
                ledger.execute("SELECT count(*) FROM films WHERE row IS NOT NULL").fetchone()[0]
            )
    except sqlite3.OperationalError:
        return 0
