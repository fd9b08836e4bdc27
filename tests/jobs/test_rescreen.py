"""Screening a sample of a report again."""

from contextlib import closing
from dataclasses import replace

import pytest

from exports.runtimes.load import load
from jobs.rescreen import TOLERANCE, rescreen
from makers import write_film
from screening.files import discover
from screening.inference.pipeline import Screener, Seen
from screening.inference.sandbox import IsolatedReader
from screening.results import Status
from tiny_model import write_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def rows(folder, bundle, key):
    """Rows of six films, a copy of one, and a file that is not a film."""
    for number in range(6):
        write_film(folder / "ward" / f"{number}.png", number, 0.3 + number / 20)
    (folder / "copy.png").write_bytes((folder / "ward/0.png").read_bytes())
    (folder / "notes.txt").write_text("not a film")
    reader = IsolatedReader(folder, bundle.card.preprocessing)
    with closing(Screener(reader, bundle.card, bundle.sha256, load(bundle.path), key)) as screener:
        return screener.screen(discover(folder), Seen())


def told(again):
    return [(problem.file, problem.what, problem.sentence) for problem in again.problems]


def test_correct_report_is_reproduced(rows, folder, bundle):
    again = rescreen(rows, "onnx", folder, bundle, 100, 0)
    # All scored and refused films, without the copy.
    assert again.films == 7
    assert told(again) == []


def test_sample_has_given_size_and_depends_on_seed(rows, folder, bundle):
    wrong = [replace(row, tensor_sha256="0" * 64) for row in rows]

    def named(seed):
        again = rescreen(wrong, "onnx", folder, bundle, 2, seed)
        assert again.films == 2
        return [problem.file for problem in again.problems]

    assert named(1) == named(1)
    assert len({tuple(named(seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"probability": 0.999999}, "probability is 0."),
        ({"prediction": "neither"}, "the report says neither"),
        ({"tensor_sha256": "0" * 64}, f"the report says {'0' * 64}"),
        ({"threshold": 0.25}, "threshold is 0.5, the report says 0.25"),
        (
            {"status": Status.REFUSED, "probability": None},
            "status is scored, the report says refused",
        ),
    ],
)
def test_different_result_is_named_with_its_film(rows, folder, bundle, changes, sentence):
    changed = [replace(row, **changes) if row.film == "ward/5.png" else row for row in rows]
    (problem,) = rescreen(changed, "onnx", folder, bundle, 100, 0).problems
    assert (problem.file, problem.what) == ("ward/5.png", "not_reproduced")
    assert sentence in problem.sentence


def test_probabilities_may_differ_within_tolerance(rows, folder, bundle):
    moved = [
        replace(row, probability=row.probability + TOLERANCE / 2) if row.probability else row
        for row in rows
    ]
    assert told(rescreen(moved, "onnx", folder, bundle, 100, 0)) == []


def test_film_close_to_threshold_may_change_prediction(rows, folder, bundle):
    def at_threshold(row, distance):
        point = replace(bundle.card.operating_point, threshold=row.probability + distance)
        card = replace(bundle.card, operating_point=point)
        reported = replace(row, threshold=point.threshold, prediction="the other side")
        return rescreen([reported], "onnx", folder, replace(bundle, card=card), 1, 0)

    row = next(row for row in rows if row.status is Status.SCORED)
    assert told(at_threshold(row, TOLERANCE / 2)) == []
    assert len(told(at_threshold(row, 2 * TOLERANCE))) == 1


def test_missing_and_changed_films_are_named(rows, folder, bundle):
    (folder / "ward/1.png").unlink()
    write_film(folder / "ward/2.png", 77)
    again = rescreen(rows, "onnx", folder, bundle, 100, 0)
    assert [(film, what) for film, what, _why in sorted(told(again))] == [
        ("ward/1.png", "film_missing"),
        ("ward/2.png", "film_changed"),
    ]


def test_films_named_by_hashes_are_found_with_key(rows, folder, bundle, key):
    hashed = [replace(row, film=key.film(row.film)) for row in rows]
    assert told(rescreen(hashed, "onnx", folder, bundle, 100, 0, key=key)) == []
    without = rescreen(hashed, "onnx", folder, bundle, 100, 0)
    assert {what for _film, what, _why in told(without)} == {"film_missing"}


def test_rows_of_other_bundle_are_not_compared(rows, folder, bundle):
    others = [replace(row, model_sha256="0" * 64) for row in rows]
    again = rescreen(others, "onnx", folder, bundle, 100, 0)
    assert again.films == 0
    ((file, what, why),) = told(again)
    assert (file, what) == ("predictions.csv", "other_model")
    assert why.startswith("7 films were not screened with the bundle")


@pytest.mark.parametrize("target", ["", "abacus"])
def test_unknown_target_is_named(rows, folder, bundle, target):
    ((file, what, why),) = told(rescreen(rows, target, folder, bundle, 100, 0))
    assert (file, what) == ("predictions.csv", "other_model")
    assert f"the target {target!r}, which is unknown" in why
