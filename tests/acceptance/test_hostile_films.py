"""Promise: a bad film never stops the run, whatever it does to its decoder."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from makers import COMMAND, dicom_bytes, dicom_film, grey_film
from sabotage import jpeg_ls_film, saboteur
from screening.results import Status, read_rows

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def decoders(mark: str) -> list[int]:
    """Return processes, including decoders, whose environment contains `mark`; see proc(5)."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def write_good_films(folder: Path, number: int) -> None:
    """Write good films, half of them raw, half in JPEG-LS."""
    folder.mkdir(parents=True)
    for seed in range(number):
        film = grey_film(seed, 0.4, side=256)
        data = jpeg_ls_film(film) if seed % 2 else dicom_bytes(dicom_film(film))
        (folder / f"good {seed:02}.dcm").write_bytes(data)


MALICIOUS = {
    "good 07 hangs.dcm": ("hang", "decode_timeout"),
    "good 21 aborts.dcm": ("abort", "decoder_crashed"),
    "good 33 eats.dcm": ("memory", "out_of_memory"),
}


@pytest.fixture(scope="module")
def night(installed, bright_bundle, tmp_path_factory):
    """50 good films and three whose decoders misbehave."""
    place = tmp_path_factory.mktemp("hostile")
    write_good_films(place / "films", 50)
    for seed, (name, (what, _code)) in enumerate(MALICIOUS.items(), start=100):
        (place / "films" / name).write_bytes(jpeg_ls_film(grey_film(seed), what))
    result = installed(
        *("run", place / "films", "--model", bright_bundle, "--out", place / "report"),
        *("--decode-timeout", "3"),
        code=3,
        PYTHONPATH=saboteur(place / "sabotage"),
    )
    return place, result


def test_three_films_that_sabotage_decoders_fail_only_themselves(night):
    place, result = night
    rows = {row.film: row for row in read_rows(place / "report" / "predictions.csv")}
    assert len(rows) == 53
    failed = {name: row.reason_code for name, row in rows.items() if row.status is Status.FAILED}
    assert failed == {name: code for name, (_what, code) in MALICIOUS.items()}
    assert sum(row.status is Status.SCORED for row in rows.values()) == 50
    assert "53 files: 50 scored, 0 refused, 3 failed" in result.stderr


def test_failed_film_still_has_its_hash(night):
    place, _result = night
    for row in read_rows(place / "report" / "predictions.csv"):
        assert row.sha256 == hashlib.sha256((place / "films" / row.film).read_bytes()).hexdigest()


def test_no_decoder_outlives_its_command(night):
    place, _result = night
    assert decoders(str(place / "sabotage")) == []


def test_second_ctrl_c_does_not_wait_for_a_hanging_decoder(bright_bundle, environment, tmp_path):
    write_good_films(tmp_path / "films", 4)
    (tmp_path / "films" / "a.dcm").write_bytes(jpeg_ls_film(grey_film(9), "hang"))
    sabotage = saboteur(tmp_path / "sabotage")
    process = subprocess.Popen(
        [
            *(COMMAND, "run", tmp_path / "films", "--model", bright_bundle),
            *("--out", tmp_path / "report", "--decode-timeout", "3600"),
        ],
        env=environment | {"PYTHONPATH": sabotage},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not (tmp_path / "sabotage" / "began hang").exists() and process.poll() is None:
            time.sleep(0.02)
        # The first one lets the films in progress finish.
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _stdout, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Interrupted." in stderr
    assert "Traceback" not in stderr
    assert decoders(sabotage) == []


def test_decoders_that_cannot_start_fail_the_job(installed, bright_bundle, tmp_path):
    write_good_films(tmp_path / "films", 2)
    result = installed(
        *("run", tmp_path / "films", "--model", bright_bundle, "--out", tmp_path / "report"),
        code=1,
        PYTHONPATH=saboteur(tmp_path / "sabotage", start="never"),
    )
    assert "no decoder process can be started" in result.stderr
    assert not (tmp_path / "report").exists()


def test_job_is_given_up_with_a_reason_if_most_films_fail(installed, bright_bundle, tmp_path):
    write_good_films(tmp_path / "films", 20)
    for number in range(30):
        (tmp_path / "films" / f"bad {number:02}.png").write_bytes(b"no picture %d" % number)
    given = ["--model", bright_bundle, "--out", tmp_path / "report"]
    result = installed("run", tmp_path / "films", *given, code=4)
    assert "films failed (not_decodable 24), more than the allowed share of 0.2" in result.stderr
    rows = read_rows(tmp_path / "report" / "predictions.csv")
    assert len(rows) == 50
    assert sum(row.reason_code == "not_screened" for row in rows) == 26
