"""Tests of the program in a bundle."""

import csv
import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from exports.bundle import SHIPPED, seal
from exports.documents import PROGRAM, write_documents
from exports.edge import program as edge
from exports.runtimes import load as load_module
from exports.runtimes.load import load
from exports.targets import LITERT, ONNX, TARGETS
from gate_makers import make_recogniser
from makers import make_card, write_film
from screening.files import discover
from screening.imaging.readers import open_film
from screening.inference.pipeline import Seen
from screening.report.verification import verify
from screening.results import Status, read_rows
from tiny_model import WITH_MAP, brightness_gate, write_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def screen(bundle, tmp_path, monkeypatch):
    """A function that runs the program of `bundle` and returns its exit code or message."""

    def called(*words):
        program = str(bundle.path / PROGRAM)
        key = ["--key", str(tmp_path / "patient.key")]
        monkeypatch.setattr(sys, "argv", [program, *map(str, words), *key])
        try:
            edge.main()
        except SystemExit as end:
            return end.code
        return None

    return called


@pytest.fixture
def films(folder):
    """Ten films, which are more than one batch."""
    for number in range(10):
        write_film(folder / f"{number}.png", seed=number, brightness=0.25 + number / 20)
    return folder


def test_selftest_checks_hashes_and_answers(screen, capsys):
    assert screen("selftest") is None
    out = capsys.readouterr().out
    assert "brightness 00000000: all files are unchanged" in out
    assert "onnx: correct, largest difference" in out


def test_selftest_of_an_altered_bundle_fails(screen, bundle):
    with (bundle.path / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert "model.onnx does not have the hash" in screen("selftest")


def test_selftest_of_a_model_with_wrong_answers_fails(screen, tmp_path):
    wrong = write_bundle(tmp_path / "wrong", shift=0.01)
    assert "differs by 0.01" in screen("selftest", "--bundle", wrong.path)


def test_selftest_names_targets_it_could_not_test(screen, bundle, capsys, monkeypatch):
    (bundle.path / TARGETS["tflite-float16"].file).touch()
    seal(bundle.path)
    modules = {ONNX: "onnxruntime", LITERT: "no_such_module"}
    monkeypatch.setattr(load_module, "_MODULES", modules)
    assert screen("selftest") is None
    assert "tflite-float16: not tested, litert is not installed" in capsys.readouterr().out


def test_selftest_fails_if_no_runtime_is_installed(screen, monkeypatch):
    modules = dict.fromkeys((ONNX, LITERT), "no_such_module")
    monkeypatch.setattr(load_module, "_MODULES", modules)
    assert "pip install -r requirements.txt" in screen("selftest")


def test_every_file_of_the_folder_has_one_row(screen, films, tmp_path, capsys):
    (films / "notes.txt").write_text("not a film")
    (films / "z.png").write_bytes((films / "0.png").read_bytes())
    assert screen(films, "--out", tmp_path / "report", "--runtime", "onnx") == 0
    rows = read_rows(tmp_path / "report" / "predictions.csv")
    assert [row.film for row in rows] == [found.film for found in discover(films)]
    statuses = [row.status for row in rows]
    assert statuses == [Status.SCORED] * 10 + [Status.REFUSED, Status.DUPLICATE]
    assert "12 files, 0 failed" in capsys.readouterr().out


def test_edge_and_screener_give_the_same_answers(screen, films, screener, tmp_path):
    screen(films, "--out", tmp_path / "report", "--runtime", "onnx")
    expected = screener.screen(discover(films), Seen())
    given = read_rows(tmp_path / "report" / "predictions.csv")
    for row, other in zip(given, expected, strict=True):
        assert row.probability == pytest.approx(other.probability, abs=2e-6)
        assert (row.prediction, row.threshold) == (other.prediction, other.threshold)
        assert row.tensor_sha256 == other.tensor_sha256
    assert len({row.prediction for row in given}) == 2


def test_gate_of_the_card_refuses_images_on_the_edge(screen, films, tmp_path):
    gate = brightness_gate()
    gated = write_bundle(tmp_path / "gated", gate=gate)
    words = ["--bundle", gated.path, "--out", tmp_path / "report", "--runtime", "onnx"]
    assert screen(films, *words) == 0
    rows = read_rows(tmp_path / "report" / "predictions.csv")
    predictor = load(gated.path, ONNX)
    for row in rows:
        grey, _warnings = open_film((films / row.film).read_bytes(), row.film).decode()
        tensor = gated.card.preprocessing.tensor(grey)[np.newaxis]
        (expected,) = gate.check_film(predictor.predict(tensor).embeddings)
        assert row.frontal == pytest.approx(expected.frontal, abs=1e-3)
        assert row.domain_distance == pytest.approx(expected.distance, abs=1e-3)
        assert row.reason_code == (expected.refusal.code if expected.refusal else "")
        refused = row.status == Status.REFUSED
        assert refused == (row.frontal < 0.75) == (row.probability is None)
        assert ("out_of_domain" in row.warning_codes) == (row.domain_distance > 1 and not refused)
    assert {row.status for row in rows} == {Status.REFUSED, Status.SCORED}
    assert {bool(row.warnings) for row in rows} == {True, False}


def with_gate_of_another_model(bundle):
    """Give `bundle` a gate that does not match its model, and seal it again; return its folder."""
    replace(bundle.card, gate=make_recogniser(features=6)).write(bundle.path)
    seal(bundle.path)
    return bundle.path


def test_gate_of_another_model_is_an_error_without_report(screen, films, tmp_path):
    other = with_gate_of_another_model(write_bundle(tmp_path / "other"))
    message = screen(films, "--bundle", other, "--out", tmp_path / "report")
    assert "the gate needs 6 features, but the model gives 32" in message
    assert not (tmp_path / "report").exists()


def test_without_a_gate_no_image_is_refused(screen, films, tmp_path):
    assert screen(films, "--out", tmp_path / "report", "--runtime", "onnx") == 0
    for row in read_rows(tmp_path / "report" / "predictions.csv"):
        assert (row.frontal, row.domain_distance, row.warnings) == (None, None, ())


def test_failed_film_gives_exit_code_3_and_a_row(screen, films, tmp_path):
    (films / "empty.png").touch()
    assert screen(films, "--out", tmp_path / "report", "--runtime", "onnx") == 3
    last = read_rows(tmp_path / "report" / "predictions.csv")[-1]
    assert (last.film, last.status) == ("empty.png", Status.FAILED)


def test_audit_is_chained_and_names_the_bundle(screen, films, bundle, tmp_path):
    screen(films, "--out", tmp_path / "report", "--runtime", "onnx")
    audit = tmp_path / "report" / "audit.csv"
    assert verify(audit.parent) == []
    with audit.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["sha256"] == bundle.sha256
    assert [line["event"] for line in lines] == ["started", "keyed", *["scored"] * 10, "written"]


def test_single_film_prints_its_row_as_json(screen, films, tmp_path, capsys):
    screen(films, "--out", tmp_path / "report", "--runtime", "onnx")
    expected = read_rows(tmp_path / "report" / "predictions.csv")[7]
    capsys.readouterr()
    assert screen(films / expected.film, "--runtime", "onnx") == 0
    row = json.loads(capsys.readouterr().out)
    times = {"screened_at": "", "seconds": 0.0}
    assert row | times == expected.as_columns() | times


def test_json_of_a_film_is_ascii_for_any_name(screen, films, capsys):
    name = "größe \udcff 名.png"
    (films / "0.png").rename(films / name)
    assert screen(films / name, "--runtime", "onnx") == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out)["status"] == "scored"


def test_unreadable_single_film_gives_exit_code_3_and_a_row(screen, folder, capsys):
    (folder / "empty.png").touch()
    assert screen(folder / "empty.png", "--runtime", "onnx") == 3
    assert json.loads(capsys.readouterr().out)["status"] == "failed"


def test_single_film_may_be_a_link_to_another_folder(screen, films, tmp_path, capsys):
    (tmp_path / "newest.png").symlink_to(films / "3.png")
    assert screen(tmp_path / "newest.png", "--runtime", "onnx") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "scored"


def test_target_is_chosen_by_name(screen, films, tmp_path):
    assert screen(films, "--out", tmp_path / "report", "--target", "onnx") == 0
    rows = read_rows(tmp_path / "report" / "predictions.csv")
    assert {row.runtime.partition("/")[0] for row in rows} == {"onnx"}


def test_missing_target_error_lists_the_available_targets(screen, films, tmp_path):
    message = screen(films, "--out", tmp_path / "report", "--target", "tflite-int8")
    assert "has no tflite-int8; its models: onnx" in message


def test_empty_folder_gives_an_empty_report(screen, folder, tmp_path):
    assert screen(folder, "--out", tmp_path / "report", "--runtime", "onnx") == 0
    assert read_rows(tmp_path / "report" / "predictions.csv") == []


@pytest.mark.parametrize("inside", [".", "report", "a/../report"])
def test_report_inside_the_folder_is_refused(screen, films, inside):
    before = discover(films)
    assert "would be inside the screened folder" in screen(films, "--out", films / inside)
    assert discover(films) == before


def test_missing_folder_is_named(screen, tmp_path):
    assert screen(tmp_path / "nowhere") == f"Error: {tmp_path / 'nowhere'} is not a folder"


def test_existing_report_is_kept(screen, films, tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    (report / "predictions.csv").write_text("from yesterday")
    assert screen(films, "--out", report, "--runtime", "onnx") not in (0, 3, None)
    assert [path.name for path in report.iterdir()] == ["predictions.csv"]
    assert (report / "predictions.csv").read_text() == "from yesterday"


def test_altered_bundle_screens_nothing(screen, films, bundle, tmp_path):
    make_card(threshold=0.9).write(bundle.path)
    assert "card.json does not have the hash" in screen(films, "--out", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_runtime_without_a_model_is_named(screen, films, tmp_path):
    message = screen(films, "--out", tmp_path / "report", "--runtime", "litert")
    assert "no model for the runtime litert" in message


@pytest.mark.skipif(not load_module.is_installed(LITERT), reason="LiteRT is not installed")
def test_default_runtime_has_a_model_in_the_bundle(screen, films, tmp_path):
    assert screen(films, "--out", tmp_path / "report") == 0


@pytest.mark.parametrize("words", [[], ["a", "b"], ["a", "--runtime", "abacus"]])
def test_wrong_usage_gives_exit_code_2(screen, words, capsys):
    assert screen(*words) == 2
    assert "usage: screen.pyz" in capsys.readouterr().err


def test_packed_program_runs_outside_the_checkout(bundle, films, tmp_path):
    write_documents(bundle.path, bundle.card, [TARGETS["onnx"]])
    seal(bundle.path)
    report = tmp_path / "report"
    words = [films, "--out", report, "--runtime", "onnx", "--key", tmp_path / "key"]
    done = subprocess.run(
        [sys.executable, str(bundle.path / PROGRAM), *map(str, words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_rows(report / "predictions.csv")) == 10


def test_packed_program_contains_no_training_and_no_model(bundle):
    write_documents(bundle.path, bundle.card, [TARGETS["onnx"]])
    with zipfile.ZipFile(bundle.path / PROGRAM) as program:
        names = program.namelist()
    assert "exports/edge/program.py" in names
    for part in (
        "training/",
        "report/",
        "convert/",
        "shipped/",
        "export.py",
        "samples.py",
        "jobs/",
    ):
        assert not [name for name in names if f"/{part}" in f"/{name}"]


@pytest.mark.parametrize(
    ("targets", "runtime"),
    [
        (["onnx"], "onnxruntime"),
        (["tflite-float16"], "ai-edge-litert"),
        (["onnx", "tflite-float32"], "ai-edge-litert"),
    ],
)
def test_requirements_name_the_smallest_runtime(bundle, targets, runtime):
    write_documents(bundle.path, bundle.card, [TARGETS[name] for name in targets])
    text = (bundle.path / "requirements.txt").read_text()
    assert [line for line in text.splitlines() if line.startswith(runtime)]
    assert ("onnxruntime" in text) != ("ai-edge-litert" in text)
    readme = (bundle.path / "README.md").read_text()
    for name in targets:
        assert TARGETS[name].file in readme
    assert "not a medical device" in readme


def test_shipped_program_passes_its_selftest():
    done = subprocess.run(
        [sys.executable, str(SHIPPED / PROGRAM), "selftest"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "onnx: correct" in done.stdout


@pytest.fixture
def mapping(tmp_path):
    """A bundle with a model that gives maps."""
    return write_bundle(tmp_path / "mapping", outputs=WITH_MAP).path


def test_heatmaps_are_drawn_on_the_edge(screen, films, mapping, tmp_path):
    (films / "notes.txt").write_text("not a film")
    report = tmp_path / "report"
    words = ["--bundle", mapping, "--out", report, "--runtime", "onnx", "--heatmaps"]
    assert screen(films, *words) == 0
    rows = read_rows(report / "predictions.csv")
    places = [row.heatmap for row in rows if row.status is Status.SCORED]
    assert len(set(places)) == 10
    assert {f"heatmaps/{path.name}" for path in (report / "heatmaps").iterdir()} == set(places)
    assert rows[-1].heatmap == ""
    assert verify(report) == []
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"bundle", "films", "mapping", "patient.key", "report"}


def test_heatmaps_are_not_drawn_without_the_option(screen, films, mapping, tmp_path):
    words = ["--bundle", mapping, "--out", tmp_path / "report", "--runtime", "onnx"]
    assert screen(films, *words) == 0
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "audit.csv",
        "predictions.csv",
    }


def test_heatmaps_of_a_model_without_a_map_are_an_error(screen, films, bundle, tmp_path):
    words = ["--out", tmp_path / "report", "--runtime", "onnx", "--heatmaps"]
    assert f"{bundle.path} has no class activation map" in screen(films, *words)
    assert not (tmp_path / "report").exists()


def test_failed_run_leaves_no_images(screen, films, tmp_path):
    other = with_gate_of_another_model(write_bundle(tmp_path / "other", outputs=WITH_MAP))
    words = ["--bundle", other, "--out", tmp_path / "report", "--runtime", "onnx"]
    assert "the gate needs 6 features" in screen(films, *words, "--heatmaps")
    assert {path.name for path in tmp_path.iterdir()} == {
        "bundle",
        "films",
        "other",
        "patient.key",
    }
