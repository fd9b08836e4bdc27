"""Tests of promise 3: no damaged or hostile film makes a run fail.

This is the short form of ``make fuzz``; with ``--long`` it has the full length.
"""

import hashlib
import re
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fuzz.campaign import JOB, Campaign, hostile_files
from fuzz.corpus import corpus
from fuzz.mutants import Mutant, Mutants
from fuzz.night import Night, costs, night, wrong
from fuzz.watch import Look, Watch, together
from screening.errors import UnreadableFilm
from screening.imaging.readers import open_film
from screening.results import Reason, Row, Status


def test_no_mutant_makes_a_run_fail(request, tmp_path):
    number = 20_000 if request.config.getoption("--long") else JOB
    campaign = Campaign(tmp_path)
    mutants = Mutants(seed=2)
    for start in range(0, number, JOB):
        campaign.add(f"{start:06}", mutants.some(range(start, min(start + JOB, number))))
    assert campaign.complaints == []


def test_no_bomb_makes_a_run_fail(request, tmp_path):
    large = request.config.getoption("--long")
    bombs = night(tmp_path / "bombs", hostile_files(large=large), flat=False)
    assert bombs.complaints == []


def name_of(process: int) -> str:
    """Command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def test_checks_detect_a_command_that_breaks_every_promise(tmp_path):
    broken = """
        import subprocess, sys, pathlib, os
        for _ in range(os.cpu_count() + 1):
            subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        import time; time.sleep(1)
        pathlib.Path("core").touch()
        (pathlib.Path(sys.argv[2]) / "a.png").write_bytes(b"changed")
        raise ValueError
    """
    command = [sys.executable, "-c", textwrap.dedent(broken)]
    mutants = [Mutant("a.png", "PNG", b"a"), Mutant("b.png", "PNG", b"b")]
    complaints = night(tmp_path / "broken", mutants, command=command).complaints
    kinds = ("exit code 1", "processes left", "traceback", "standard output", "folder of films")
    for kind in (*kinds, "written: work/core", "0 rows for 2 files", "children at once"):
        assert any(kind in complaint for complaint in complaints), kind
    left = next(complaint for complaint in complaints if "left behind" in complaint)
    for pid in map(int, re.findall(r"\d+", left)):
        assert "sleep" not in name_of(pid)


def test_checks_detect_impossible_rows(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    hash_of_a = hashlib.sha256(b"a").hexdigest()
    good = Row(film="a.png", sha256=hash_of_a, status=Status.FAILED, reason=Reason("not_decodable"))
    assert wrong(good, tmp_path) == ""
    for fault in (
        {"seconds": 60.0},
        {"sha256": "0" * 64},
        {"reason": Reason("vanished")},
        {"reason": None},
        {"status": Status.REFUSED},
        {"probability": 0.5},
        {"status": Status.SCORED, "reason": None, "probability": float("nan"), "prediction": "x"},
    ):
        assert wrong(replace(good, **fault), tmp_path), fault


def test_processes_in_sequence_do_not_count_as_concurrent(monkeypatch):
    lists = iter(([1, 4, 5, 6], [1, 4, 6]))
    monkeypatch.setattr("fuzz.watch.session", lambda _leader: next(lists))
    assert together(1) == (4, 6)


def growing(step: int) -> Night:
    """A run whose memory grows by `step` bytes at each of 400 samples."""
    times = (datetime.fromtimestamp(at, UTC).isoformat() for at in (0, 400))
    rows = [Row(film="", status=Status.SCORED, screened_at=at) for at in times]
    watch = Watch(0)
    watch.looks += [Look(at, (1 << 20) + at * step, ()) for at in range(401)]
    return Night(rows, {}, [], watch, 0)


def test_memory_growth_during_a_run_is_detected():
    assert list(costs(growing(0), flat=True)) == []
    assert list(costs(growing(1 << 20), flat=True)) == ["memory grew by 200 MiB"]
    assert list(costs(growing(8 << 20), flat=False)) == ["memory peaked at 3201 MiB"]


def test_small_memory_growth_in_every_run_is_detected(tmp_path):
    campaign = Campaign(tmp_path)
    campaign.nights += [growing(0), growing(0), growing(0), growing(1 << 19)]
    assert campaign.complaints == []
    campaign.nights += [growing(1 << 18)] * 5
    assert len(campaign.complaints) == 1


def test_mutant_is_reproducible_from_seed_and_number():
    numbers = (3, 40, 41, 1230)
    first = list(Mutants(7).some(range(60)))
    again = {number: Mutants(7).one(number) for number in numbers}
    assert again[40] == first[40]
    assert again[3] == first[3]
    assert again[1230] == Mutants(7).one(1230)
    assert Mutants(8).one(41) != again[41]


def test_films_of_the_corpus_decode_if_their_format_is_supported():
    unread = [film for film in corpus() if film.codec == "other image files"]
    unread += [film for film in corpus() if "float" in film.name]
    assert len(unread) == 4
    for film in unread:
        with pytest.raises(UnreadableFilm, match="convert it"):
            open_film(film.data, film.name).decode()
    for film in corpus():
        if film not in unread:
            grey, _warnings = open_film(film.data, film.name).decode()
            assert max(grey.shape) <= 256
