"""Test training on several sources, one with weak labels and one left out."""

import json
import shlex

import pandas as pd
import pytest

from makers import write_film
from screening.model.card import Card


def write_manifest(folder, films):
    """Write films given as label, brightness and the rest of their line."""
    lines = ["film,label,patient,view,age,sex"]
    for number, (label, brightness, rest) in enumerate(films):
        write_film(folder / f"{number:03}.png", 1000 * len(folder.name) + number, brightness)
        lines.append(f"{number:03}.png,{label},{rest}")
    (folder / "films.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Children with good labels, adults with weak ones, and normal adults of another hospital."""
    place = tmp_path_factory.mktemp("sources")
    for seed in range(80):
        finding = ("NORMAL", "PNEUMONIA")[seed % 2]
        name = f"person{seed // 2}_{seed}.png"
        write_film(place / "children" / finding / name, seed, brightness=0.3 + 0.3 * (seed % 2))
    write_manifest(
        place / "adults",
        [
            (n % 2, 0.3 + 0.3 * (n % 2), f"person{n},{('AP', 'PA')[n // 2 % 2]},{40 + n},F")
            for n in range(40)
        ],
    )
    write_manifest(place / "clinic", [(0, 0.3, f"person{n},pa,60,M") for n in range(12)])
    return place


@pytest.fixture(scope="module")
def command(place):
    places = [place / "children", place / "adults", place / "clinic" / "films.csv"]
    settings = ["--architecture", "small", "--epochs", "1", "--validation-share", "0.3"]
    weak = ["--confidence", "adults=0.93", "--confidence", "adults/PNEUMONIA=0.68"]
    return ["train", *places, *settings, *weak, "--leave-out", "clinic"]


@pytest.fixture(scope="module")
def model(command, place, installed):
    installed(*command, "--out", place / "model")
    return place / "model"


def test_card_describes_the_training_data(model, place):
    training = Card.read(model).training
    places = [place / "children", place / "adults", place / "clinic" / "films.csv"]
    assert training["data"] == [str(path.resolve()) for path in places]
    assert training["left_out"] == ["clinic"]
    assert training["films"]["left out"]["films"] == 12
    sides = [training["films"][side] for side in ("training", "validation", "test")]
    assert sum(side["films"] for side in sides) == 120
    assert training["recipe"]["most_repeats"] == 6


def test_command_in_the_card_reproduces_the_model(model, command):
    words = shlex.split(Card.read(model).training["command"])
    assert words[:7] == [
        *("screening", "train", "children", "adults", "clinic/films.csv"),
        *("--out", "MODEL"),
    ]
    assert {*words[7:]} == {*map(str, command[4:])}
    assert words.count("--confidence") == 2


def test_every_source_is_in_every_split_with_its_own_patients(model):
    for name, share in (("validation", 0.3), ("test", 0.15)):
        side = pd.read_csv(model / f"{name}.csv")
        source = side.film.str.partition("/")[0]
        assert {*source} == {"children", "adults"}
        assert (source == "adults").sum() == pytest.approx(40 * share, abs=1)
        assert list(side.patient.str.partition("/")[0]) == list(source)


def test_weak_labels_affect_no_threshold_and_no_figure(model):
    card = Card.read(model)
    for name, figures in (("validation", card.metrics), ("test", card.test)):
        side = pd.read_csv(model / f"{name}.csv")
        children = side[side.film.str.startswith("children/")]
        assert figures["auroc"]["n"] == card.results[name]["n"] == len(children) < len(side)
    side = pd.read_csv(model / "validation.csv")
    sick = side[side.film.str.startswith("children/") & (side.label == "PNEUMONIA")]
    assert (sick.probability >= card.operating_point.threshold).mean() >= 0.95


def test_left_out_source_is_evaluated_completely(model):
    card = Card.read(model)
    (row,) = card.left_out["source"]
    assert (row["source"], row["n"], row["positives"]) == ("clinic", 12, 0)
    assert row["share_called"]["n"] == 12
    assert "auroc" not in row
    rows = {row["source"]: row for row in card.subgroups["validation"]["source"]}
    assert {name: row["weak"] for name, row in rows.items()} == {"adults": True, "children": False}


def test_data_report_counts_sources_and_views(model):
    data = json.loads((model / "data.json").read_text())
    counted = {(row["source"], row["view"]): row for row in data["strata"]}
    assert {*counted} == {("adults", "AP"), ("adults", "PA"), ("children", ""), ("clinic", "PA")}
    assert counted["adults", "AP"]["weak"] == 20
    assert data["sides"]["left out"]["NORMAL"]["films"] == 12
    assert "<h2>Sources</h2>" in (model / "data.html").read_text()


def test_few_films_of_a_normal_only_source_are_positive(place, tmp_path, installed):
    # As bright as pneumonia in children.
    lines = [(0, 0.6, f"person{n},{('AP', 'PA')[n % 2]},60,M") for n in range(80)]
    ward = write_manifest(tmp_path / "ward", lines)
    settings = ["--architecture", "small", "--epochs", "1", "--validation-share", "0.3"]
    command = ["train", place / "children", ward, *settings, "--normals-called", "0.1"]
    installed(*command, "--out", tmp_path / "model")
    card = Card.read(tmp_path / "model")
    side = pd.read_csv(tmp_path / "model" / "validation.csv")
    called = side.probability >= card.operating_point.threshold
    views = pd.read_csv(ward / "films.csv").set_index("film").view
    own = side[side.film.str.startswith("ward/")]
    by_view = called[own.index].groupby(own.film.str.removeprefix("ward/").map(views).values)
    assert {*by_view.groups} == {"AP", "PA"}
    assert by_view.mean().max() <= 0.1
    raised = "raised until at most 0.1 of the NORMAL films of ward, "
    assert raised in card.operating_point.rule
    assert card.calibration.prevalence == 0.5
    page = (tmp_path / "model" / "card.html").read_text()
    assert "The probabilities are valid where a share" in page
    assert raised in page


def test_unknown_source_cannot_be_left_out(command, tmp_path, installed):
    result = installed(*command, "--leave-out", "ward", "--out", tmp_path / "model", code=1)
    assert "there is no source ward; the sources are adults, children, clinic" in result.stderr
    assert not (tmp_path / "model").exists()


def test_training_on_a_single_class_is_an_error(place, tmp_path, installed):
    result = installed("train", place / "clinic", "--out", tmp_path / "model", code=1)
    assert "clinic has no film labelled PNEUMONIA" in result.stderr


def test_weak_labels_alone_cannot_set_a_threshold(place, tmp_path, installed):
    command = ["train", place / "adults", "--out", tmp_path / "model", "--confidence", "adults=0.8"]
    result = installed(*command, code=1)
    assert "no threshold can be chosen" in result.stderr
    assert not (tmp_path / "model" / "model.keras").exists()


@pytest.mark.parametrize("value", ["adults", "adults=0.4", "=0.9", "adults=high", "adults=nan"])
def test_invalid_confidence_is_a_usage_error(place, tmp_path, installed, value):
    command = ["train", place / "adults", "--out", tmp_path / "model", "--confidence", value]
    assert "expected SOURCE=C or SOURCE/CLASS=C" in installed(*command, code=2).stderr
