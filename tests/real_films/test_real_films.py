"""Test the shipped model on real films; see CONTRIBUTING for SCREENING_FILMS."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from exports.bundle import SHIPPED
from screening.model.card import Card


@pytest.fixture(scope="module")
def fold(real_films, tmp_path_factory):
    """A folder with the test films of the shipped model, and their labels."""
    from screening.training.data.manifest import fingerprint, read_manifest
    from screening.training.data.split import split

    card = Card.read(SHIPPED)
    films = read_manifest(real_films, card.training["patient_pattern"])
    if fingerprint(films) != card.training["fingerprint"]:
        pytest.skip("SCREENING_FILMS is not the collection that the shipped model was trained on")
    recipe = card.training["recipe"]
    shares = recipe["validation_share"], recipe["test_share"]
    sides = split(films, recipe["protocol"], *shares, recipe["seed"])
    place = tmp_path_factory.mktemp("fold")
    with (place / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["film", "label", "patient"])
        for film in sides.test:
            (place / "films").mkdir(exist_ok=True)
            shutil.copyfile(film.path, place / "films" / film.path.name)
            writer.writerow([film.path.name, film.label, film.patient])
    return place


@pytest.fixture(scope="module")
def report(fold, installed):
    labels = ["--labels", fold / "labels.csv"]
    installed("run", fold / "films", *labels, "--out", fold / "report")
    return fold / "report"


def test_classes_of_the_test_films_are_separated(report, fold):
    rows = pd.read_csv(report / "predictions.csv", keep_default_na=False)
    summary = pd.read_csv(report / "summary.csv")
    figures = summary[summary.subset == "all"].set_index("metric")
    assert len(rows) == len(list((fold / "films").iterdir())) >= 500
    assert figures.value["auroc"] >= 0.98
    for metric in ("precision", "recall", "auroc"):
        assert figures.ci_low[metric] < figures.value[metric] <= figures.ci_high[metric]


def test_litert_agrees_with_onnx_runtime_on_every_film(report, fold, installed):
    installed("run", fold / "films", "--runtime", "litert", "--out", fold / "litert")
    columns = [
        pd.read_csv(place / "predictions.csv", index_col="film").probability.dropna()
        for place in (report, fold / "litert")
    ]
    np.testing.assert_allclose(columns[0], columns[1], rtol=0, atol=1e-4)


def test_run_reproduces_the_figures_of_the_training(report):
    card = json.loads((SHIPPED / "card.json").read_text())
    summary = pd.read_csv(report / "summary.csv")
    figures = summary[summary.subset == "all"].set_index("metric")
    for metric in ("recall", "specificity"):
        assert figures.value[metric] == pytest.approx(card["test"][metric]["value"], abs=0.005)
    assert figures.value["auroc"] == pytest.approx(card["test"]["auroc"]["value"], abs=0.001)
