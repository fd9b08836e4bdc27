"""The robustness tests separate a model that reads the lungs from one that does not."""

from dataclasses import replace

import numpy as np
import pytest

from lung_films import SIDE, as_scores, described, inside_only, lung_mask, made_films, outside_only
from screening.model.calibration import Calibration, OperatingPoint
from screening.model.lungs import coverage
from screening.training.robustness import (
    TESTS,
    ModelUnderTest,
    _donors,
    measure_reasons,
    spread,
    view_of_normals,
)
from screening.training.scored_split import ScoredSplit

POINT = OperatingPoint(0.5, "half")
LABELS = [0, 1, 1, 0, 1] * 12


def side_of(films, scores):
    return ScoredSplit.of("validation", films, scores, Calibration(), POINT)


def reasons_of(scores, labels=LABELS, films=None, masks=None, evidence=None):
    greys, known = made_films(labels)
    films = films or described(labels)
    side = side_of(films, scores(greys))
    model = ModelUnderTest(scores, Calibration(), POINT, evidence)
    return measure_reasons(side, greys, known if masks is None else masks, model)


def value(reasons, test, figure="auroc"):
    return reasons["tests"][test][figure]["value"]


@pytest.fixture(scope="module")
def of_lungs():
    return reasons_of(inside_only)


@pytest.fixture(scope="module")
def of_outside():
    return reasons_of(outside_only)


def test_both_models_are_perfect_on_unchanged_films(of_lungs, of_outside):
    assert value(of_lungs, "original") == value(of_outside, "original") == 1
    assert value(of_lungs, "original", "flipped") == 0
    assert [*of_lungs["tests"]] == ["original", *TESTS]


def test_model_of_the_lungs_passes_every_test(of_lungs):
    assert value(of_lungs, "outside_exchanged") == 1
    assert value(of_lungs, "outside_exchanged", "flipped") == 0
    assert value(of_lungs, "lungs_exchanged") == 0
    assert value(of_lungs, "lungs_hidden") == pytest.approx(0.5, abs=0.05)
    assert value(of_lungs, "outside_hidden") == 1
    assert value(of_lungs, "markers_pasted") > 0.99
    assert value(of_lungs, "markers_removed", "flipped") == 0


def test_model_of_the_outside_fails_every_test(of_outside):
    assert value(of_outside, "outside_exchanged") == 0
    assert value(of_outside, "outside_exchanged", "flipped") == 1
    assert value(of_outside, "lungs_exchanged") == 1
    assert value(of_outside, "lungs_hidden") == 1
    assert value(of_outside, "outside_hidden") == pytest.approx(0.5, abs=0.05)


def letters(films):
    """A model that looks for bright pixels outside the lungs."""
    bright = ((films > 0.55) & ~lung_mask()).sum(axis=(1, 2))
    return as_scores(bright - 5.0)


def measured(greys, masks, scores):
    side = side_of(described(LABELS), scores(greys))
    return measure_reasons(side, greys, masks, ModelUnderTest(scores, Calibration(), POINT))


def test_pasted_markers_flip_a_model_that_looks_for_letters():
    greys, masks = made_films(LABELS)
    greys[:, :10] = 0.3  # the films' own markers
    reasons = measured(greys, masks, letters)
    assert value(reasons, "markers_pasted", "flipped") > 0.5
    assert value(reasons, "markers_removed", "flipped") == 0
    assert reasons["occlusion"] == {}


def test_removed_markers_leave_no_evidence_for_a_model_of_letters():
    greys, masks = made_films(LABELS)
    greys[np.array(LABELS) == 0, :10] = 0.3
    reasons = measured(greys, masks, letters)
    assert value(reasons, "original") == 1
    assert value(reasons, "markers_removed") == pytest.approx(0.5, abs=0.1)
    assert reasons["tests"]["markers_removed"]["sources"][""]["share_called"]["PNEUMONIA"][
        "value"
    ] == pytest.approx(0)


def test_occlusion_shows_what_called_films_depend_on(of_lungs, of_outside):
    lungs, outside = of_lungs["occlusion"], of_outside["occlusion"]
    assert lungs["lungs_hidden"]["value"] > 5
    assert abs(lungs["outside_hidden"]["value"]) < 1
    assert outside["outside_hidden"]["value"] > 5
    assert abs(outside["lungs_hidden"]["value"]) < 1
    assert lungs["lungs_count_more"]["value"] == 1
    assert outside["lungs_count_more"]["value"] == 0
    assert lungs["lungs_hidden"]["n"] == LABELS.count(1)


def test_reasons_are_the_same_every_time(of_lungs):
    assert reasons_of(inside_only) == of_lungs


def test_every_figure_has_an_interval_and_a_number_of_films(of_lungs):
    figure = of_lungs["tests"]["outside_exchanged"]["flipped"]
    assert figure["n"] == len(LABELS)
    assert figure["ci_low"] == 0 < figure["ci_high"] < 0.1


def test_films_without_lungs_are_counted_and_left_out():
    _greys, masks = made_films(LABELS)
    masks[:7] = False
    reasons = reasons_of(inside_only, masks=masks)
    assert reasons["without_lungs"] == 7
    assert reasons["n"] == len(LABELS) - 7


def test_no_reasons_without_masks():
    greys, _masks = made_films(LABELS)
    side = side_of(described(LABELS), inside_only(greys))
    model = ModelUnderTest(inside_only, Calibration(), POINT)
    assert measure_reasons(side, greys, None, model) == {}
    assert measure_reasons(side, greys, np.zeros_like(greys, bool), model) == {}
    with pytest.raises(ValueError, match="masks of the shape"):
        measure_reasons(side, greys, np.ones((1, 2, 2), bool), model)


def test_one_class_source_has_flips_and_share_called_but_no_auroc():
    labels = [0, 1] * 20 + [0] * 10
    films = [
        replace(film, source="children" if k < 40 else "adults")
        for k, film in enumerate(described(labels))
    ]
    tests = reasons_of(outside_only, labels, films)["tests"]["outside_exchanged"]
    assert tests["auroc"]["n"] == tests["flipped"]["n"] == 40
    adults = tests["sources"]["adults"]
    assert {*adults} == {"n", "weak", "flipped", "share_called"}
    # With the outside of a child's pneumonia film, this model calls every normal adult.
    assert adults["share_called"]["NORMAL"]["value"] == 1
    assert "auroc" in tests["sources"]["children"]


def test_donor_is_of_the_same_source_or_an_adult_for_an_adult():
    films = [
        *described([0, 1], source="children"),
        *described([0], source="adults", age=50.0),
        *described([1, 1], source="reports", age=60.0, confidence=0.8),
    ]
    side = side_of(films, as_scores([0, 0, 0, 0, 0]))
    donors = _donors(side)
    assert [*donors[:2]] == [1, 0]
    assert donors[2] in {3, 4}
    assert [*donors[3:]] == [2, 2]
    assert _donors(side.at(np.array([0, 2]))) is None


def test_weak_labels_are_marked_and_not_in_the_auroc():
    labels = [0, 1] * 30
    films = [
        replace(film, source="reports", confidence=0.8) if k >= 40 else film
        for k, film in enumerate(described(labels))
    ]
    tests = reasons_of(inside_only, labels, films)["tests"]["lungs_hidden"]
    assert tests["auroc"]["n"] == 40
    assert tests["sources"]["reports"]["weak"]
    assert not tests["sources"][""]["weak"]


def test_at_most_six_hundred_films_are_tested():
    shown = set()

    def counted(films):
        shown.add(len(films))
        return inside_only(films)

    labels = [0, 1] * 350
    greys, masks = made_films(labels, side=16)
    side = side_of(described(labels), inside_only(greys))
    reasons = measure_reasons(side, greys, masks, ModelUnderTest(counted, Calibration(), POINT))
    assert shown == {reasons["n"]} == {600}


def test_view_among_normal_adults_is_measured_by_source():
    rng = np.random.default_rng(0)
    ap = described([0] * 40, source="a", view="AP", age=50.0)
    pa = described([0] * 40, source="a", view="PA", age=50.0)
    blind = [replace(film, source="b", confidence=0.9) for film in ap + pa]
    children = described([0] * 9, source="c", view="AP", age=3.0)
    pneumonias = described([1] * 9, source="a", view="AP", age=50.0)
    films = ap + pa + blind + children + pneumonias
    odds = np.concatenate(
        [np.full(40, 3), np.full(40, -3), rng.normal(0, 1, 80), np.zeros(9), np.full(9, -9)]
    )
    views = view_of_normals(side_of(films, as_scores(odds)))
    assert {*views} == {"a", "b"}
    assert views["a"]["auroc"]["value"] == 1
    assert views["a"]["ap"] == views["a"]["pa"] == 40
    assert not views["a"]["weak"]
    assert views["b"]["weak"]
    assert 0.3 < views["b"]["auroc"]["value"] < 0.7


def test_lung_evidence_is_given_for_called_films_by_source_and_label():
    inside = coverage(lung_mask(), 8, 8) > 0.5
    reasons = reasons_of(
        inside_only, evidence=lambda films: np.repeat(inside[np.newaxis] * 4.0 - 1, len(films), 0)
    )
    rows = reasons["lung_evidence"]
    assert [(row["source"], row["label"]) for row in rows] == [("", ""), ("", "PNEUMONIA")]
    assert rows[0]["n"] == LABELS.count(1)
    assert 0.6 < rows[0]["q1"] == rows[0]["value"] == rows[0]["q3"] <= 1
    assert reasons_of(inside_only)["lung_evidence"] == []


def test_median_has_quartiles_and_an_interval_by_patient():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 1, 400)
    one = spread(values, side_of(described([1] * 400), as_scores(values)))
    assert one["value"] == np.median(values)
    assert (one["q1"], one["q3"]) == tuple(np.quantile(values, [0.25, 0.75]))
    # The standard error of the median of normal values is 1.253 / sqrt(n).
    assert one["ci_high"] - one["ci_low"] == pytest.approx(2 * 1.96 * 1.253 / 20, rel=0.25)
    # The same values, with four identical films a patient, carry less information.
    four = spread(np.repeat(values[:100], 4), side_of(described([1] * 400, 4), as_scores(values)))
    assert four["ci_high"] - four["ci_low"] > 1.4 * (one["ci_high"] - one["ci_low"])


def test_made_lungs_cover_enough_of_the_film():
    assert 0.15 < lung_mask(SIDE).mean() < 0.4
