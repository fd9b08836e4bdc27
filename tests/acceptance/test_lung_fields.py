"""Promise: films with abnormal lung fields get a warning or are refused, on the edge too."""

import csv
import json
import subprocess
import sys

import pytest

from exports.bundle import seal
from exports.documents import write_documents
from exports.targets import TARGETS
from lung_makers import ellipse, lung_film, two_lungs
from makers import encoded
from screening.report.verification import verify
from screening.results import Status, read_rows
from tiny_model import WITH_MAP, write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle with a lung network and its program."""
    place = tmp_path_factory.mktemp("lungs") / "bundle"
    made = write_bundle(place, outputs=WITH_MAP, lungs=-1)
    write_documents(made.path, made.card, [TARGETS["onnx"]])
    seal(made.path)
    return made.path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A good film, one with small lungs, one with a single lung, and one without lungs."""
    folder = tmp_path_factory.mktemp("site") / "films"
    folder.mkdir()
    for name, mask in {
        "good": two_lungs(),
        "small": two_lungs(width=0.1, height=0.2),
        "one": ellipse(0.28, 0.5, 0.2, 0.35),
        "none": ellipse(0.5, 0.5, 0.05, 0.05),
    }.items():
        (folder / f"{name}.png").write_bytes(encoded(lung_film(mask)))
    return folder


def rows_of(report):
    return {row.film: row for row in read_rows(report / "predictions.csv")}


def codes(row):
    return row.warning_codes


def test_run_warns_of_abnormal_lung_fields(screening, bundle, films, tmp_path):
    report = tmp_path / "report"
    words = ["--model", bundle, "--out", report, "--heatmaps", "--profile"]
    done = screening("run", films, *words)
    assert "\nlungs  " in done.stderr + done.stdout
    rows = rows_of(report)
    assert {row.status for row in rows.values()} == {Status.SCORED}
    assert codes(rows["good.png"]) == {"low_lung_evidence"}
    assert codes(rows["small.png"]) == {"lungs_small", "low_lung_evidence"}
    assert codes(rows["one.png"]) == {"lungs_asymmetric", "low_lung_evidence"}
    assert codes(rows["none.png"]) == {"lungs_not_found", "low_lung_evidence"}
    with (report / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file))[-2:] == ["lung_evidence", "lung_area"]
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "A second network looked for the lungs on 4 films." in page
    assert verify(report) == []
    screening("verify", report, "--films", films, "--model", bundle)


def test_refuse_option_refuses_flaws_and_verify_repeats_it(screening, bundle, films, tmp_path):
    report = tmp_path / "report"
    refuse = ["--refuse", "lungs_small", "--refuse", "lungs_not_found"]
    screening("run", films, "--model", bundle, "--out", report, *refuse)
    rows = rows_of(report)
    refused = {name for name, row in rows.items() if row.status is Status.REFUSED}
    assert refused == {"small.png", "none.png"}
    assert rows["none.png"].reason.code == "lungs_not_found"
    screening("verify", report, "--films", films, "--model", bundle)


def test_refuse_option_is_stored_with_the_job(screening, bundle, films, tmp_path):
    report = tmp_path / "report"
    queue = ["--queue", tmp_path / "queue.sqlite"]
    config = tmp_path / "night.toml"
    config.write_text('[submit]\nrefuse = ["lungs_small", "lungs_asymmetric"]\n')
    submitted = screening(
        "--config", config, "submit", films, "--model", bundle, "--out", report, *queue
    )
    shown = json.loads(screening("jobs", "show", submitted.stdout.strip(), "--json", *queue).stdout)
    assert shown["options"]["refuse"] == ["lungs_asymmetric", "lungs_small"]
    screening("worker", "--drain", *queue)
    refused = {name for name, row in rows_of(report).items() if row.status is Status.REFUSED}
    assert refused == {"small.png", "one.png"}


def test_schedule_accepts_the_refuse_option(screening, bundle, films, tmp_path):
    words = ["--cron", "30 2 * * *", "--tz", "UTC", "--model", bundle, "--refuse", "lungs_small"]
    queue = ["--queue", tmp_path / "queue.sqlite"]
    screening("schedule", "add", films, *words, "--name", "night", *queue)


def test_unknown_code_is_a_usage_error(screening, bundle, films):
    screening("run", films, "--model", bundle, "--refuse", "out_of_domain", code=2)


def test_refuse_option_needs_a_lung_network(screening, bright_bundle, films, tmp_path):
    words = ["--model", bright_bundle, "--out", tmp_path / "report"]
    done = screening("run", films, *words, "--refuse", "lungs_small", code=1)
    assert "has no lung network" in done.stderr
    screening("run", films, *words)
    rows = rows_of(tmp_path / "report").values()
    assert {(row.lung_area, row.lung_evidence, row.warnings) for row in rows} == {(None, None, ())}


@pytest.mark.parametrize("refuse", [[], ["--refuse", "lungs_small"]], ids=["warn", "refuse"])
def test_edge_gives_the_same_lung_results(screening, bundle, films, tmp_path, refuse):
    screening("run", films, "--model", bundle, "--out", tmp_path / "night", *refuse)
    program = [sys.executable, str(bundle / "screen.pyz")]
    words = [str(films), "--out", str(tmp_path / "edge"), "--key", str(tmp_path / "key")]
    subprocess.run([*program, *words, *refuse], check=True, capture_output=True, timeout=120)
    night, edge = rows_of(tmp_path / "night"), rows_of(tmp_path / "edge")
    for name, row in night.items():
        other = edge[name]
        assert (row.status, row.reason, row.warnings) == (
            other.status,
            other.reason,
            other.warnings,
        )
        assert (row.lung_area, row.lung_evidence) == (other.lung_area, other.lung_evidence)
    assert len({row.status for row in edge.values()}) == 1 + bool(refuse)


def test_selftest_of_a_bundle_covers_lungs(bundle, tmp_path):
    answers = json.loads((bundle / "selftest" / "answers.json").read_text())["onnx"]
    assert {"lung_area", "lung_evidence"} <= answers.keys()
    program = [sys.executable, str(bundle / "screen.pyz"), "selftest"]
    done = subprocess.run(program, check=True, capture_output=True, text=True, timeout=120)
    assert "onnx: correct" in done.stdout
