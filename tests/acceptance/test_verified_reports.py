"""A report can be checked, signed, compared and set beside others, by the installed command."""

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


def test_a_report_that_is_as_it_was_written_is_intact(screening, place):
    said = screening("verify", place / "report").stdout
    assert "intact: 12 rows, chain head " in said
    assert ", by worker " in said


@pytest.mark.parametrize(
    "name",
    ["predictions.csv", "summary.csv", "audit.csv", "report.html", "figures/scores.png"],
)
def test_a_report_with_one_other_byte_is_not(screening, place, tmp_path, name):
    shutil.copytree(place / "report", tmp_path / "report")
    content = bytearray((tmp_path / "report" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "report" / name).write_bytes(content)
    assert name in screening("verify", tmp_path / "report", code=1).stdout


def test_films_are_screened_once_more_and_say_the_same(screening, place, bright_bundle):
    again = ["--films", place / "films", "--model", bright_bundle, "--sample", "5"]
    said = screening("verify", place / "report", *again).stdout
    assert "5 of 12 films were screened once more" in said
    assert "all as reported" in said


def test_a_film_that_is_another_one_by_now_is_named(screening, place, bright_bundle, tmp_path):
    shutil.copytree(place / "films", tmp_path / "films")
    write_chest_film(tmp_path / "films" / "3.png", 99)
    again = ["--films", tmp_path / "films", "--model", bright_bundle, "--sample", "12"]
    said = screening("verify", place / "report", *again, code=1).stdout
    assert "3.png: film_changed" in said


def test_a_report_that_was_written_anew_is_found_by_its_signature(screening, place, tmp_path):
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
    said = screening("compare", place / "report", place / "other", *given).stdout
    assert "They differ in: model_sha256, threshold." in said
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


def test_nights_are_drawn_side_by_side(screening, place, tmp_path):
    shutil.copytree(place / "report", tmp_path / "second")
    nights = [place / "report", tmp_path / "second"]
    said = screening("drift", *nights, "--out", tmp_path / "drift").stdout
    assert "second" in said
    two_models = screening("drift", *nights[:1], place / "other", code=1)
    assert "two models" in two_models.stderr
    assert (tmp_path / "drift" / "drift.html").stat().st_size > 10_000


def test_the_page_names_each_film_that_was_called(place):
    page = (place / "report" / "report.html").read_text(encoding="utf-8")
    called = [
        row.film
        for row in read_rows(place / "report" / "predictions.csv")
        if row.prediction == "PNEUMONIA"
    ]
    assert called, "some films of this test must be called"
    assert all(film in page for film in called)
    assert "not a medical device" in page.lower()
