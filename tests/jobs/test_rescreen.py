"""Some films of a report are screened once more."""

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
    """Of six films, a copy of one, and a file that is none."""
    for number in range(6):
        write_film(folder / "ward" / f"{number}.png", number, 0.3 + number / 20)
    (folder / "copy.png").write_bytes((folder / "ward/0.png").read_bytes())
    (folder / "notes.txt").write_text("not a film")
    reader = IsolatedReader(folder, bundle.card.preprocessing)
    with closing(Screener(reader, bundle.card, bundle.sha256, load(bundle.path), key)) as screener:
        return screener.screen(discover(folder), Seen())


def told(again):
    return [(problem.file, problem.what, problem.sentence) for problem in again.problems]


def test_an_honest_report_is_reproduced(rows, folder, bundle):
    again = rescreen(rows, folder, bundle, 100, 0)
    # All but the copy: scored and refused ones.
    assert again.films == 7
    assert told(again) == []


def test_no_more_than_the_sample_are_screened_and_the_seed_chooses_them(rows, folder, bundle):
    wrong = [replace(row, tensor_sha256="0" * 64) for row in rows]

    def named(seed):
        again = rescreen(wrong, folder, bundle, 2, seed)
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
def test_an_answer_that_is_another_one_is_named_with_its_film(
    rows, folder, bundle, changes, sentence
):
    changed = [replace(row, **changes) if row.film == "ward/5.png" else row for row in rows]
    (problem,) = rescreen(changed, folder, bundle, 100, 0).problems
    assert (problem.file, problem.what) == ("ward/5.png", "not_reproduced")
    assert sentence in problem.sentence


def test_probabilities_may_differ_as_much_as_runtimes_do(rows, folder, bundle):
    moved = [
        replace(row, probability=row.probability + TOLERANCE / 2) if row.probability else row
        for row in rows
    ]
    assert told(rescreen(moved, folder, bundle, 100, 0)) == []


def test_a_film_at_the_very_threshold_may_fall_to_either_side(rows, folder, bundle):
    def at_threshold(row, distance):
        point = replace(bundle.card.operating_point, threshold=row.probability + distance)
        card = replace(bundle.card, operating_point=point)
        reported = replace(row, threshold=point.threshold, prediction="the other side")
        return rescreen([reported], folder, replace(bundle, card=card), 1, 0)

    row = next(row for row in rows if row.status is Status.SCORED)
    assert told(at_threshold(row, TOLERANCE / 2)) == []
    assert len(told(at_threshold(row, 2 * TOLERANCE))) == 1


def test_a_film_that_is_gone_or_another_one_is_named(rows, folder, bundle):
    (folder / "ward/1.png").unlink()
    write_film(folder / "ward/2.png", 77)
    again = rescreen(rows, folder, bundle, 100, 0)
    assert [(film, what) for film, what, _why in sorted(told(again))] == [
        ("ward/1.png", "film_missing"),
        ("ward/2.png", "film_changed"),
    ]


def test_films_that_are_named_by_hashes_are_found_with_the_key(rows, folder, bundle, key):
    hashed = [replace(row, film=key.film(row.film)) for row in rows]
    assert told(rescreen(hashed, folder, bundle, 100, 0, key)) == []
    without = rescreen(hashed, folder, bundle, 100, 0)
    assert {what for _film, what, _why in told(without)} == {"film_missing"}


def test_rows_of_another_bundle_are_not_compared_with_this_one(rows, folder, bundle):
    others = [replace(row, model_sha256="0" * 64) for row in rows]
    again = rescreen(others, folder, bundle, 100, 0)
    assert again.films == 0
    ((file, what, why),) = told(again)
    assert (file, what) == ("predictions.csv", "other_model")
    assert why.startswith("7 films were screened with another bundle")


def test_a_runtime_that_nobody_knows_is_named(rows, folder, bundle):
    strange = [replace(row, runtime="abacus/1") for row in rows]
    ((file, what, why),) = told(rescreen(strange, folder, bundle, 100, 0))
    assert (file, what) == ("predictions.csv", "other_model")
    assert "'abacus/1', which is unknown" in why
