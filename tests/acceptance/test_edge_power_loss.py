"""Test the shipped program on a device that loses power, fills its disk or is stopped."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exports.bundle import SHIPPED
from makers import write_chest_film
from screening.report.verification import verify
from screening.results import read_rows

FILMS = 80


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge") / "films"
    for seed in range(FILMS):
        write_chest_film(folder / f"{seed:03}.png", seed)
    return folder


@pytest.fixture
def program(environment, tmp_path):
    """Start `screen.pyz` with these words."""
    started = []

    def start(*words, **options):
        command = [sys.executable, SHIPPED / "screen.pyz", *words, "--key", tmp_path / "key"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(
            subprocess.Popen(list(map(str, command)), env=environment, **pipes, **options)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def uninterrupted(films, environment, tmp_path_factory):
    """The rows of a run without interruptions."""
    out = tmp_path_factory.mktemp("undisturbed") / "report"
    command = [sys.executable, SHIPPED / "screen.pyz", films, "--out", out]
    subprocess.run([*map(str, command)], env=environment, check=True, capture_output=True)
    return read_rows(out / "predictions.csv")


def journaled(out: Path) -> int:
    """Return the number of rows in the journal of `out`."""
    journal = out.parent / f".{out.name}.journal"
    if not journal.exists():
        return 0
    lines = journal.read_bytes().split(b"\n")[1:-1]
    return sum(len(json.loads(line[9:])["rows"]) for line in lines)


def wait_for(process, out, rows):
    """Wait until the journal has this many rows."""
    while journaled(out) < rows:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def same(rows, others):
    times = ("screened_at", "seconds")
    # A film can be in another batch, which can change the last digits of its results.
    for row, other in zip(rows, others, strict=True):
        one, two = row.as_dict(), other.as_dict()
        for name in ("probability", "frontal", "domain_distance"):
            assert one.pop(name) == pytest.approx(two.pop(name), abs=1e-4)
        assert {**one, **dict.fromkeys(times)} == {**two, **dict.fromkeys(times)}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_program_continues_after_its_last_film(
    program, films, tmp_path, uninterrupted, how
):
    out = tmp_path / "report"
    for _time in range(2):
        before = journaled(out)
        process = program(films, "--out", out)
        wait_for(process, out, before + 8)
        process.send_signal(how)
        _stdout, stderr = process.communicate()
        assert not out.exists()
        if how != signal.SIGKILL:
            assert process.returncode == 130
            assert (
                stderr
                == "Interrupted. Run the same command again to continue from the last film.\n"
            )
    before = journaled(out)
    assert 16 <= before < FILMS
    process = program(films, "--out", out)
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    assert f"{FILMS} files, 0 failed" in stdout
    rows = read_rows(out / "predictions.csv")
    assert len({row.film for row in rows}) == len(rows) == FILMS
    same(rows, uninterrupted)
    assert verify(out) == []
    audit = (out / "audit.csv").read_text()
    assert (audit.count(",resumed,"), audit.count(",scored,")) == (2, FILMS)


def test_full_disk_prints_one_line_and_loses_nothing(program, films, tmp_path, uninterrupted):
    out = tmp_path / "report"

    def small_disk():
        # No file can grow beyond this, so the journal fills up in the middle of the run.
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    process = program(films, "--out", out, preexec_fn=small_disk)
    _stdout, stderr = process.communicate()
    assert process.returncode == 1
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith(f"Error: the journal {tmp_path / '.report.journal'} cannot be written")
    assert "earlier results are kept" in stderr
    before = journaled(out)
    assert 0 < before < FILMS
    process = program(films, "--out", out)
    assert process.wait() == 0
    same(read_rows(out / "predictions.csv"), uninterrupted)


def test_unwritable_location_prints_one_line(program, films, tmp_path):
    (tmp_path / "card").touch()
    process = program(films, "--out", tmp_path / "card" / "report")
    _stdout, stderr = process.communicate()
    assert process.returncode == 1
    assert len(stderr.splitlines()) == 1
    assert "report.journal cannot be written: File exists" in stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a read-only file system")
def test_read_only_card_prints_one_line(environment, films, tmp_path):
    place = tmp_path / "card"
    place.mkdir()
    mount = f"mount -t tmpfs -o ro none {place} && exec"
    words = [sys.executable, SHIPPED / "screen.pyz", films, "--out", place / "report"]
    words += ["--key", tmp_path / "key"]
    command = ["unshare", "-m", "sh", "-c", f'{mount} "$@"', "sh", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be written: Read-only file system" in done.stderr


def test_watching_a_folder_ends_with_a_report(program, films, tmp_path):
    folder, out = tmp_path / "arriving", tmp_path / "report"
    folder.mkdir()
    process = program(folder, "--out", out, "--watch", "--settle", "0.2")
    for seed in range(3):
        write_chest_film(folder / f"{seed}.png", seed)
        row = json.loads(process.stdout.readline())
        assert (row["film"], row["status"]) == (f"{seed}.png", "scored")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert [row.film for row in read_rows(out / "predictions.csv")] == ["0.png", "1.png", "2.png"]


def test_single_film_is_printed_as_json(program, films, uninterrupted):
    process = program(films / "007.png")
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    row = json.loads(stdout)
    assert row["film"] == "007.png"
    assert row["probability"] == pytest.approx(uninterrupted[7].probability, abs=1e-4)
