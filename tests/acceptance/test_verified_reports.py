"""Test verifying, signing and comparing reports and charting drift with the installed command."""

import csv
import shutil
import statistics

import pytest

from makers import write_chest_film
from pem_keys import write_keys
from screening.results import read_rows
from tiny_model import with_threshold


@pytest.fixture(scope="module")
def place(screening, bright_bundle, tmp_path_factory):
    """Twelve labelled films, and reports of them with two thresholds."""
    place = tmp_path_factory.mktemp("verified")
    for seed in range(12):
        write_chest_film(place / "films" / f"{seed}.png", seed)
    with (place / "labels.csv").open("w", newline="") as file:
        lines = [(f"{seed}.png", seed % 2) for seed in range(12)]
        csv.writer(file).writerows([("film", "label"), *lines])
    run = ["run", place / "films", "--labels", place / "labels.csv"]
    old = ["--model", bright_bundle, "--thumbnails", "--out", place / "report"]
    screening(*run, *old)
    scores = [row.probability for row in read_rows(place / "report" / "predictions.csv")]
    bundle = with_threshold(bright_bundle, statistics.median(scores), place / "bundle")
    screening(*run, "--model", bundle, "--out", place / "other")
    return place


def test_unchanged_report_is_intact(screening, place):
    output = screening("verify", place / "report").stdout
    assert "intact: 12 rows, chain head " in output
    assert ", by worker " in output


@pytest.mark.parametrize(
    "name",
    ["predictions.csv", "summary.csv", "audit.csv", "report.html", "figures/scores.png"],
)
def test_report_with_one_changed_byte_is_not_intact(screening, place, tmp_path, name):
    shutil.copytree(place / "report", tmp_path / "report")
    content = bytearray((tmp_path / "report" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "report" / name).write_bytes(content)
    assert name in screening("verify", tmp_path / "report", code=1).stdout


def test_films_screened_again_give_the_same_results(screening, place, bright_bundle):
    again = ["--films", place / "films", "--model", bright_bundle, "--sample", "5"]
    output = screening("verify", place / "report", *again).stdout
    assert "5 of 12 films were screened again" in output
    assert "with the same results" in output


def test_replaced_film_is_reported(screening, place, bright_bundle, tmp_path):
    shutil.copytree(place / "films", tmp_path / "films")
    write_chest_film(tmp_path / "films" / "3.png", 99)
    again = ["--films", tmp_path / "films", "--model", bright_bundle, "--sample", "12"]
    output = screening("verify", place / "report", *again, code=1).stdout
    assert "3.png: film_changed" in output


def test_signature_detects_a_rewritten_report(screening, place, tmp_path):
    private, public = write_keys(tmp_path, "site")
    shutil.copytree(place / "report", tmp_path / "report")
    screening("verify", tmp_path / "report", "--public-key", public, code=1)
    screening("sign", tmp_path / "report", "--key", private)
    screening("verify", tmp_path / "report", "--public-key", public)
    shutil.copytree(place / "other", tmp_path / "anew")
    shutil.copyfile(tmp_path / "report" / "audit.sig", tmp_path / "anew" / "audit.sig")
    screening("verify", tmp_path / "anew")
    assert "forged" in screening("verify", tmp_path / "anew", "--public-key", public, code=1).stdout


def test_two_reports_of_the_same_films_are_compared(screening, place, tmp_path):
    given = ["--labels", place / "labels.csv", "--out", tmp_path / "comparison"]
    output = screening("compare", place / "report", place / "other", *given).stdout
    assert "They differ in: model_sha256, threshold." in output
    with (tmp_path / "comparison" / "comparison.csv").open(newline="") as file:
        metrics = {line["metric"]: line for line in csv.DictReader(file)}
    assert metrics["sensitivity"]["n"] == "6"
    before, after = (
        {row.film: row.prediction for row in read_rows(place / name / "predictions.csv")}
        for name in ("report", "other")
    )
    changed = {film for film, prediction in after.items() if before[film] != prediction}
    assert changed, "another threshold must change something"
    with (tmp_path / "comparison" / "changed.csv").open(newline="") as file:
        assert {line["film"] for line in csv.DictReader(file)} == changed


def test_drift_charts_several_nights_of_one_model(screening, place, tmp_path):
    shutil.copytree(place / "report", tmp_path / "second")
    nights = [place / "report", tmp_path / "second"]
    output = screening("drift", *nights, "--out", tmp_path / "drift").stdout
    assert "second" in output
    two_models = screening("drift", *nights[:1], place / "other", code=1)
    assert "give reports of one model only" in two_models.stderr
    assert (tmp_path / "drift" / "drift.html").stat().st_size > 10_000


def test_page_lists_each_positive_film(place):
    page = (place / "report" / "report.html").read_text(encoding="utf-8")
    called = [
        row.film
        for row in read_rows(place / "report" / "predictions.csv")
        if row.prediction == "PNEUMONIA"
    ]
    assert called, "some films of this test must be called"
    assert all(film in page for film in called)
    assert "not a medical device" in page.lower()
