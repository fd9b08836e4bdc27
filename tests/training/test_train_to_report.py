"""Test the workflow of a data scientist: train, interrupt, continue, export, queue, screen."""

import csv
import hashlib
import json
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest

import screening as package
from exports.bundle import Bundle
from makers import COMMAND, write_film
from screening.model.card import Card
from screening.results import read_rows

PICTURES = Path(package.__file__).parent / "training" / "gate_pictures"


# Number of features that the gate of each architecture uses.
FEATURES = {"small": 9 * 64 + 96 + 128, "efficientnet-lite0": 9 * 80 + 112 + 192 + 320}


@pytest.fixture(scope="module")
def architecture(request):
    """The default architecture takes minutes longer; it is trained with --long."""
    return "efficientnet-lite0" if request.config.getoption("--long") else "small"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """240 films of 80 patients; bright ones are labelled as pneumonia."""
    place = tmp_path_factory.mktemp("site")
    for seed in range(240):
        finding = ("NORMAL", "PNEUMONIA")[seed % 2]
        name = f"person{seed // 3}_{seed}.png"
        write_film(place / "films" / finding / name, seed, brightness=0.3 + 0.3 * (seed % 2))
    return place


@pytest.fixture(scope="module")
def elsewhere(place):
    """A folder of nine frontal films from another place, with a list of them."""
    for seed in range(9):
        write_film(place / "elsewhere" / f"site {seed % 2}" / f"{seed}.jpg", 500 + seed)
    (place / "elsewhere" / "films.csv").write_text("film,source")
    return place / "elsewhere"


@pytest.fixture(scope="module")
def train(place, elsewhere, architecture):
    """The command line of a training, without the MODEL after --out."""
    command = [COMMAND, "train", place / "films", "--epochs", "2", "--frontal", elsewhere]
    command += ["--architecture", architecture]
    command += ["--validation-share", "0.3", "--prevalence", "0.1", "--out"]
    return [str(word) for word in command]


@pytest.fixture(scope="module")
def uninterrupted(train, place, environment, request):
    """The same training without an interruption, run concurrently so that both are equally slow.

    It runs only with --long, because it takes as long as everything else. Another test checks that the
    networks are the same.
    """
    if not request.config.getoption("--long"):
        yield None
        return
    process = subprocess.Popen(
        [*train, str(place / "undisturbed")], env=environment, stderr=subprocess.DEVNULL
    )
    yield process
    process.kill()


@pytest.fixture(scope="module")
def model(train, place, installed, environment, uninterrupted):
    """A MODEL whose training was interrupted after its first epoch and then continued."""
    first = subprocess.Popen(
        [*train, str(place / "model")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in first.stderr:
        if line.startswith("epoch 1/2"):
            first.send_signal(signal.SIGINT)
            break
    _stdout, rest = first.communicate()
    assert first.returncode == 130
    assert "to continue after the last complete epoch" in rest
    assert not (place / "model" / "model.keras").exists()
    resumed = installed(*train[1:], place / "model")
    # TensorFlow must not be used before its operations are made deterministic.
    assert "TensorFlow is already in use" not in resumed.stderr
    return place / "model"


@pytest.fixture(scope="module")
def bundle(model, place, installed):
    """The bundle of the model; two epochs are too few for the tolerance of float16."""
    targets = ["--target", "onnx", "--target", "tflite-float32"]
    installed("export", model, "--out", place / "bundle", *targets)
    return place / "bundle"


def test_continued_training_has_one_history_line_per_epoch(model):
    assert list(pd.read_csv(model / "history.csv").epoch) == [1, 2]
    assert not list(model.glob("*checkpoint*"))


def test_uninterrupted_training_gives_the_same_model(model, uninterrupted, place):
    if uninterrupted is None:
        pytest.skip("trains once more, with --long")
    assert uninterrupted.wait() == 0
    once, again = Card.read(model), Card.read(place / "undisturbed")
    assert once.weights_sha256 == again.weights_sha256
    assert (once.test, once.operating_point) == (again.test, again.operating_point)


def test_model_contains_a_copy_of_the_package_lung_network(model):
    shipped = Path(package.__file__).parent / "training" / "lungs.keras"
    copy = (model / "lungs.keras").read_bytes()
    assert copy == shipped.read_bytes()
    assert Card.read(model).lungs.sha256 == hashlib.sha256(copy).hexdigest()


def test_no_patient_is_in_two_splits(model, place):
    held_out = [pd.read_csv(model / f"{side}.csv") for side in ("validation", "test")]
    films = {path.relative_to(place / "films").as_posix() for path in place.glob("films/*/*.png")}
    training = films - {film for side in held_out for film in side.film}
    patients = {film.partition("/")[2].partition("_")[0] for film in training}
    assert len(training) == 240 - sum(map(len, held_out)) > 100
    assert not patients & {patient for side in held_out for patient in side.patient}
    assert not {*held_out[0].patient} & {*held_out[1].patient}


def test_threshold_reaches_its_target_and_card_has_the_rule(model):
    card = Card.read(model)
    validation = pd.read_csv(model / "validation.csv")
    positives = validation[validation.label == "PNEUMONIA"]
    called = positives.probability >= card.operating_point.threshold
    assert called.mean() >= 0.95
    assert "0.95" in card.operating_point.rule
    assert card.training["class_weights"]["NORMAL"] == pytest.approx(1, abs=0.2)
    assert card.training["films"]["validation"]["films"] == len(validation)


def test_data_report_is_written(model, place):
    data_report = json.loads((model / "data.json").read_text())
    assert sum(side["films"] for side in data_report["sides"]["training"].values()) > 0
    page = (model / "data.html").read_text()
    assert "Data report" in page
    assert (model / "figures" / "data_films.png").exists()
    assert (model / "figures" / "data_classes.png").exists()


def test_test_films_are_split_by_patient_and_measured(model):
    card = Card.read(model)
    test = pd.read_csv(model / "test.csv")
    validation = pd.read_csv(model / "validation.csv")
    assert not {*test.patient} & {*validation.patient}
    assert card.test["set"] == "test"
    assert card.test["auroc"]["n"] == len(test) == card.training["films"]["test"]["films"]
    called = test.probability >= card.operating_point.threshold
    assert list(test.prediction == "PNEUMONIA") == list(called)


def test_card_has_the_results_of_the_model(model):
    card = Card.read(model)
    assert {*card.results} == {"training", "validation", "test"}
    for side in card.results.values():
        assert {*side["classes"]} == {"NORMAL", "PNEUMONIA"}
        assert side["loss"] > 0
    assert len(card.elsewhere) >= 15
    assert any("chosen" in point["marks"] for point in card.operating_points)
    assert card.operating_points[0]["projected"]["prevalence"] == 0.1
    assert card.reference is not None
    assert card.reference.n == card.training["films"]["validation"]["films"]


def test_history_has_the_figures_of_each_epoch(model):
    history = pd.read_csv(model / "history.csv")
    columns = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_auroc", "seconds"}
    assert columns <= {*history.columns}
    assert history.notna().all(axis=None)


def test_card_page_contains_all_figures(model):
    page = (model / "card.html").read_text()
    assert "not a medical device" in page.lower()
    for name in ("roc", "precision_recall", "confusion_test", "reliability_test", "elsewhere"):
        assert (model / "figures" / f"{name}.png").exists()
    assert page.count("data:image/png") >= 10


def test_card_has_a_gate_fitted_on_all_given_films(model, architecture):
    card = Card.read(model)
    assert card.gate is not None
    about = card.gate.fitted_on
    assert about["own_films"] == card.training["films"]["training"]["films"]
    assert about["other_films"] == 9
    with (PICTURES / "SOURCES.csv").open(newline="", encoding="utf-8") as file:
        kinds = [line["kind"] for line in csv.DictReader(file)]
    assert about["negatives"] == len(kinds) - kinds.count("frontal_chest")
    assert "--frontal elsewhere" in card.training["command"]
    assert card.architecture == architecture
    assert len(card.gate.mean) == FEATURES[architecture]


def test_bundle_has_the_gate_of_its_model(bundle, model):
    gates = [Card.read(place).gate for place in (bundle, model)]
    assert gates[0].as_dict() == gates[1].as_dict()


def test_patient_in_two_splits_is_rejected_before_training(place, tmp_path, installed):
    lines = ["film,label,patient,split"]
    for seed in range(40):
        finding = ("NORMAL", "PNEUMONIA")[seed % 2]
        film = place / "films" / finding / f"person{seed // 3}_{seed}.png"
        split = ("train", "val", "test")[seed % 3] if seed < 6 else "train"
        lines.append(f"{film},{finding},child {seed // 3},{split}")
    (tmp_path / "films.csv").write_text("\n".join(lines))
    for protocol in ("given", "patient"):
        command = ["train", tmp_path / "films.csv", "--out", tmp_path / "model", "--epochs", "1"]
        result = installed(*command, "--protocol", protocol, code=1)
        assert "child 0" in result.stderr
        assert "--protocol film" in result.stderr
    assert not (tmp_path / "model" / "model.keras").exists()


def test_two_threshold_rules_are_a_usage_error(place, tmp_path, installed):
    command = ["train", place / "films", "--out", tmp_path / "model", "--youden"]
    result = installed(*command, "--target-sensitivity", "0.9", code=2)
    assert "choose only one of --target-sensitivity" in result.stderr


def test_frontal_folder_without_films_is_an_error(place, tmp_path, installed):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").write_text("no film")
    command = ["train", place / "films", "--out", tmp_path / "model", "--epochs", "1"]
    result = installed(*command, "--frontal", tmp_path / "none", code=1)
    assert f"{tmp_path / 'none'} has no films" in result.stderr
    assert not (tmp_path / "model" / "model.keras").exists()


def test_unreadable_film_in_frontal_folder_is_a_named_error(place, tmp_path, installed):
    write_film(tmp_path / "other" / "good.png", 1)
    (tmp_path / "other" / "bad.png").write_bytes(
        (tmp_path / "other" / "good.png").read_bytes()[:99]
    )
    command = ["train", place / "films", "--out", tmp_path / "model", "--epochs", "1"]
    result = installed(*command, "--frontal", tmp_path / "other", code=1)
    assert "bad.png cannot be used for training: truncated" in result.stderr
    assert not (tmp_path / "model" / "model.keras").exists()


@pytest.mark.parametrize("frontal", ["nowhere", "file"])
def test_frontal_must_be_an_existing_folder(place, tmp_path, installed, frontal):
    (tmp_path / "file").touch()
    command = ["train", place / "films", "--out", tmp_path / "model"]
    result = installed(*command, "--frontal", tmp_path / frontal, code=2)
    assert "--frontal" in result.stderr


def test_bundle_has_its_files_and_no_path_of_the_machine(bundle, place):
    names = {path.name for path in bundle.iterdir()}
    assert names == {
        "README.md",
        "SHA256SUMS",
        "card.json",
        "lungs.onnx",
        "lungs.tflite",
        "model-float32.tflite",
        "model.onnx",
        "parity.csv",
        "requirements.txt",
        "screen.pyz",
        "selftest",
    }
    assert str(place) not in (bundle / "card.json").read_text()
    parity = pd.read_csv(bundle / "parity.csv")
    assert parity.groupby("target").size().to_dict() == {"onnx": 200, "tflite-float32": 200}
    assert parity.difference.max() <= 1e-4
    assert not parity.flip.any()


def test_run_gives_the_probabilities_of_the_validation(bundle, model, place, installed):
    queue, report = place / "queue.sqlite", place / "report"
    installed("submit", place / "films", "--model", bundle, "--queue", queue, "--out", report)
    installed("worker", "--drain", "--queue", queue)
    rows = {row.film: row for row in read_rows(report / "predictions.csv")}
    validation = pd.read_csv(model / "validation.csv")
    assert len(rows) == 240
    # The gate was trained on these blobs, so it accepts all but a few as films.
    scored = {film for film, row in rows.items() if row.status == "scored"}
    assert len(scored) > 200
    assert all(rows[film].reason.code == "not_frontal_chest" for film in {*rows} - scored)
    for film in validation[validation.film.isin(scored)].itertuples():
        assert rows[film.film].probability == pytest.approx(film.probability, abs=1e-4)


def test_program_of_the_bundle_gives_the_same_rows_as_a_run(bundle, place, environment):
    import sys

    program = [sys.executable, bundle / "screen.pyz"]
    films = place / "films" / "NORMAL"
    selftest = subprocess.run(
        [*program, "selftest"], env=environment, capture_output=True, text=True, check=True
    )
    assert selftest.stdout.count("correct, largest difference") == 2
    subprocess.run(
        [*program, films, "--out", place / "edge"], env=environment, capture_output=True, check=True
    )
    rows = read_rows(place / "edge" / "predictions.csv")
    night = {row.film: row for row in read_rows(place / "report" / "predictions.csv")}
    assert len(rows) == 120
    for row in rows:
        twin = night[f"NORMAL/{row.film}"]
        assert (row.status, row.sha256, row.tensor_sha256) == (
            twin.status,
            twin.sha256,
            twin.tensor_sha256,
        )
        assert row.probability == pytest.approx(twin.probability, abs=1e-4)
    Bundle.open(bundle)


def test_too_few_films_for_export_are_an_error_without_bundle(model, tmp_path, installed):
    for seed in range(5):
        write_film(tmp_path / "few" / f"{seed}.png", seed)
    command = ["export", model, "--out", tmp_path / "bundle", "--films", tmp_path / "few"]
    result = installed(*command, code=1)
    assert "at least 200 are needed" in result.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "few"]


def test_export_compares_the_films_of_a_manifest(model, place, installed):
    lines = ["film,label", "films/NORMAL/person0_0.png,0", "films/PNEUMONIA/person0_1.png,1"]
    (place / "two.csv").write_text("\n".join(lines))
    command = ["export", model, "--out", place / "none", "--films", place / "two.csv"]
    assert "two.csv has 2 readable films" in installed(*command, code=1).stderr


def test_altered_model_is_not_exported(model, tmp_path, installed, place):
    (tmp_path / "model").mkdir()
    for name in ("card.json", "model.keras"):
        (tmp_path / "model" / name).write_bytes((model / name).read_bytes())
    with (tmp_path / "model" / "model.keras").open("ab") as file:
        file.write(b"x")
    command = ["export", tmp_path / "model", "--out", tmp_path / "bundle"]
    result = installed(*command, "--films", place / "films", code=1)
    assert "its hash is not the one in the card" in result.stderr
    assert not (tmp_path / "bundle").exists()
