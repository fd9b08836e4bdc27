"""Promise: with `--heatmaps`, every scored film gets a heat map of the evidence; all or none."""

import csv
import hashlib
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from exports.bundle import seal
from exports.documents import write_documents
from exports.targets import TARGETS
from makers import COMMAND, dicom_bytes, dicom_film, encoded, grey_film, write_film
from screening.report.verification import verify
from screening.results import Status, read_rows
from tiny_model import WITH_MAP, write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle with its program, whose model returns class activation maps."""
    bundle = write_bundle(tmp_path_factory.mktemp("mapping") / "bundle", outputs=WITH_MAP)
    write_documents(bundle.path, bundle.card, [TARGETS["onnx"]])
    seal(bundle.path)
    return bundle.path


@pytest.fixture
def films(tmp_path):
    """Films of every kind: bright, dark, DICOM, a copy, burned-in text, and files to reject."""
    folder = tmp_path / "films"
    write_film(folder / "bright.png", 1, 0.9)
    write_film(folder / "copy.png", 1, 0.9)
    write_film(folder / "dark.jpg", 2, 0.2)
    window = {"WindowCenter": 128, "WindowWidth": 256}
    wide = grey_film(3, side=200)[:100]
    (folder / "wide.dcm").write_bytes(dicom_bytes(dicom_film(wide, **window)))
    named = dicom_film(grey_film(4), BurnedInAnnotation="YES", **window)
    (folder / "named.dcm").write_bytes(dicom_bytes(named))
    (folder / "notes.txt").write_text("no film")
    (folder / "damaged.png").write_bytes(encoded(grey_film(5))[:500])
    return folder


def tinted(path):
    """Return the share of coloured pixels of a heat map, without its scale."""
    with Image.open(path) as picture:
        channels = np.asarray(picture.convert("RGB")).astype(int)[:-26]
    return float((channels.max(axis=2) > channels.min(axis=2)).mean())


def audited(report):
    with (report / "audit.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_every_scored_film_has_a_heat_map(films, bundle, tmp_path, screening):
    report = tmp_path / "report"
    queue = tmp_path / "queue.sqlite"
    words = ["--model", bundle, "--out", report, "--queue", queue, "--heatmaps"]
    screening("run", films, *words, code=3)
    rows = {row.film: row for row in read_rows(report / "predictions.csv")}
    assert {name: row.status for name, row in rows.items() if row.status is not Status.SCORED} == {
        "copy.png": Status.DUPLICATE,
        "notes.txt": Status.REFUSED,
        "damaged.png": Status.FAILED,
    }
    drawn = {name: report / row.heatmap for name, row in rows.items() if row.heatmap}
    # One film has no heat map because its pixels contain text that can identify a person.
    assert set(drawn) == {"bright.png", "dark.jpg", "wide.dcm"}
    for name, path in drawn.items():
        sha256 = hashlib.sha256((films / name).read_bytes()).hexdigest()
        assert path == report / "heatmaps" / f"{sha256[:16]}.png"
    assert sorted(drawn.values()) == sorted((report / "heatmaps").iterdir())
    assert tinted(drawn["bright.png"]) > 0.9
    assert tinted(drawn["dark.jpg"]) == 0
    with Image.open(drawn["wide.dcm"]) as picture:
        assert picture.info == {}
        assert picture.size == (384, 192 + 26)
    assert hidden(tmp_path) == []


def test_audit_has_the_hash_of_every_heat_map(films, bundle, tmp_path, screening):
    report = tmp_path / "report"
    words = ["--model", bundle, "--out", report, "--queue", tmp_path / "queue.sqlite"]
    screening("run", films, *words, "--heatmaps", code=3)
    assert verify(report) == []
    drawn = [line for line in audited(report) if line["event"] == "drawn"]
    lines = {line["subject"]: line for line in drawn if line["subject"].startswith("heatmaps/")}
    assert len(lines) == 3
    for subject, line in lines.items():
        assert line["sha256"] == hashlib.sha256((report / subject).read_bytes()).hexdigest()


def test_no_heat_maps_without_the_option(films, bundle, tmp_path, screening):
    report = tmp_path / "report"
    screening(
        "run", films, "--model", bundle, "--out", report, "--queue", tmp_path / "q.sqlite", code=3
    )
    assert {path.name for path in report.iterdir()} == {
        "audit.csv",
        "drift.csv",
        "figures",
        "predictions.csv",
        "profile.json",
        "report.html",
        "summary.csv",
    }
    assert {row.heatmap for row in read_rows(report / "predictions.csv")} == {""}


@pytest.mark.parametrize("command", ["run", "submit"])
def test_model_without_activation_map_is_an_immediate_error(
    films, bright_bundle, tmp_path, screening, command
):
    queue = tmp_path / "queue.sqlite"
    words = [films, "--model", bright_bundle, "--out", tmp_path / "report", "--queue", queue]
    result = screening(command, *words, "--heatmaps", code=1)
    message = f"the bundle {bright_bundle} has no class activation map; run without --heatmaps"
    assert result.stderr == f"Error: {message}\n"
    assert "is empty" in screening("jobs", "list", "--queue", queue).stderr
    assert not (tmp_path / "report").exists()


def test_unwritable_heat_maps_fail_the_job(films, bundle, tmp_path, screening):
    queue, report = tmp_path / "queue.sqlite", tmp_path / "report"
    words = [films, "--model", bundle, "--out", report, "--queue", queue, "--heatmaps"]
    name = screening("submit", *words, "--retries", "0").stdout.strip()
    (tmp_path / f".report.{name}.pictures").write_text("in the way")
    result = screening("worker", "--drain", "--queue", queue, code=1)
    assert "pictures cannot be written" in result.stderr
    assert not report.exists()


def committed(queue):
    connection = sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute("SELECT count(row) FROM films").fetchone()[0]
    finally:
        connection.close()


def test_killed_worker_loses_no_heat_map(bundle, tmp_path, screening, environment):
    films, report, queue = (tmp_path / name for name in ("films", "report", "queue.sqlite"))
    for seed in range(200):
        write_film(films / f"{seed:03}.png", seed, 0.3 + 0.4 * (seed % 2))
    words = ["--out", report, "--queue", queue, "--batch", "1", "--heatmaps"]
    screening("submit", films, "--model", bundle, *words)
    worker = subprocess.Popen(
        [COMMAND, "worker", "--drain", "--queue", queue],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    while committed(queue) < 40 and worker.poll() is None:
        time.sleep(0.02)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    assert 0 < committed(queue) < 200
    assert not report.exists()
    assert len(hidden(tmp_path)) == 1

    screening("worker", "--drain", "--queue", queue)

    rows = read_rows(report / "predictions.csv")
    assert len({row.heatmap for row in rows}) == 200
    for row in rows:
        with Image.open(report / row.heatmap) as picture:
            picture.load()
    assert verify(report) == []
    assert hidden(tmp_path) == []


def test_heat_maps_respect_hash_names(films, bundle, tmp_path, screening):
    report = tmp_path / "report"
    words = ["--model", bundle, "--out", report, "--queue", tmp_path / "q.sqlite"]
    screening("run", films, *words, "--heatmaps", "--hash-names", code=3)
    rows = read_rows(report / "predictions.csv")
    assert sum(bool(row.heatmap) for row in rows) == 3
    names = [path.relative_to(report).as_posix() for path in report.rglob("*")]
    assert not [name for name in names for film in films.iterdir() if film.stem in name]


def test_edge_draws_the_same_heat_maps(films, bundle, tmp_path, screening, environment):
    night, edge = tmp_path / "night", tmp_path / "edge"
    words = ["--model", bundle, "--out", night, "--queue", tmp_path / "queue.sqlite"]
    screening("run", films, *words, "--heatmaps", code=3)
    done = subprocess.run(
        [sys.executable, bundle / "screen.pyz", films, "--out", edge, "--heatmaps"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    drawn = {path.name: path.read_bytes() for path in (edge / "heatmaps").iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (night / "heatmaps").iterdir()}
    assert len(drawn) == 3
