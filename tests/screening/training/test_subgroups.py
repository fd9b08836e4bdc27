"""Figures by group compared with manual counts, and the sensitivity from weak labels."""

from dataclasses import replace

import numpy as np
import pytest

from lung_films import described
from screening.training.scored_split import ScoredSplit
from screening.training.subgroups import (
    NIH_PNEUMONIA,
    Mixture,
    adult_sensitivity,
    age_band,
    percentiles,
    subgroups,
)


def side_of(*groups):
    """A side of groups of (films, their probabilities); each film is its own patient."""
    films = [film for group, _p in groups for film in group]
    films = [replace(film, name=f"{k}.png", patient=f"patient {k}") for k, film in enumerate(films)]
    p = np.concatenate([np.asarray(p, np.float64) for _group, p in groups])
    return ScoredSplit("validation", films, p, p >= 0.5)


@pytest.fixture(scope="module")
def side():
    return side_of(
        # Four of five positives are called, and one of three negatives.
        (described([1] * 5, source="children"), [0.9, 0.8, 0.7, 0.6, 0.1]),
        (described([0] * 3, source="children", age=3.0), [0.65, 0.2, 0.3]),
        (described([0] * 4, source="adults", view="AP", age=70.0), [0.9, 0.8, 0.1, 0.1]),
        (described([0] * 8, source="adults", view="PA", age=30.0), [0.9] + [0.1] * 7),
        (described([1] * 2, source="reports", view="AP", age=90.0, confidence=0.6), [0.9, 0.1]),
        (described([0] * 2, source="reports", view="AP", age=90.0, confidence=0.97), [0.2, 0.3]),
    )


def rows_of(side, table):
    return {tuple(row.values())[: 1 + (table != "source")]: row for row in subgroups(side)[table]}


def test_source_with_both_classes_has_all_figures(side):
    row = rows_of(side, "source")["children",]
    assert (row["n"], row["positives"], row["weak"]) == (8, 5, False)
    assert row["sensitivity"]["value"] == pytest.approx(4 / 5)
    assert row["specificity"]["value"] == pytest.approx(2 / 3)
    assert row["share_called"]["value"] == pytest.approx(5 / 8)
    # Of 15 pairs, the normal film at 0.65 is above two positives, the other two above one each.
    assert row["auroc"]["value"] == pytest.approx((15 - 4) / 15)
    assert row["auroc"]["ci_low"] < 11 / 15 < row["auroc"]["ci_high"]


def test_source_with_one_class_has_only_the_share_called(side):
    row = rows_of(side, "source")["adults",]
    assert {*row} == {"source", "n", "positives", "weak", "share_called"}
    assert row["share_called"]["value"] == pytest.approx(3 / 12)
    assert row["share_called"]["n"] == 12


def test_groups_by_view_and_age_add_up_to_the_source(side):
    views = rows_of(side, "source_view")
    assert views["adults", "AP"]["share_called"]["value"] == 0.5
    assert views["adults", "PA"]["share_called"]["value"] == pytest.approx(1 / 8)
    ages = rows_of(side, "source_age")
    assert [key for key in ages if key[0] == "adults"] == [("adults", "18-39"), ("adults", "65-79")]
    assert ages["children", ""]["n"] == 5
    assert ages["children", "0-4"]["n"] == 3


def test_source_without_any_view_has_no_rows_by_view(side):
    assert "children" not in {source for source, _view in rows_of(side, "source_view")}


def test_group_with_a_weak_label_is_marked(side):
    assert rows_of(side, "source")["reports",]["weak"]
    assert not rows_of(side, "source")["adults",]["weak"]


def test_no_films_have_no_subgroups():
    assert subgroups(ScoredSplit("left out", [], np.zeros(0), np.zeros(0, bool))) == {}


@pytest.mark.parametrize(
    ("age", "band"),
    [(0, "0-4"), (4.9, "0-4"), (5, "5-17"), (17.9, "5-17"), (18, "18-39"), (64.5, "40-64"),
     (79, "65-79"), (80, "80+"), (101, "80+"), (None, ""), (-1, ""), (414, "")],
)  # fmt: skip
def test_age_bands(age, band):
    assert age_band(age) == band


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_mixture_refuses_impossible_shares(shares):
    with pytest.raises(ValueError, match="not a mixture"):
        Mixture(*shares, films=10, origin="made up")


def simulated(rng, n, view, s, f, o, mixture=NIH_PNEUMONIA):
    """Weak positives that follow the mixture, and as many reliable normals."""
    shares = (mixture.opacity, mixture.normal, mixture.other)
    called = rng.random(n) < rng.choice([s, f, o], n, p=shares)
    normals = rng.random(n) < f
    weak = described([1] * n, source="reports", view=view, age=50.0, confidence=0.8)
    good = described([0] * n, source="adults", view=view, age=50.0)
    return (weak, called * 0.9), (good, normals * 0.9)


def test_estimate_recovers_the_sensitivity_of_a_simulation():
    rng = np.random.default_rng(0)
    (row,) = adult_sensitivity(side_of(*simulated(rng, 20000, "AP", 0.7, 0.1, 0.4)), NIH_PNEUMONIA)
    assert row["view"] == "AP"
    assert row["n"] == row["normals"] == 20000
    assert row["sensitivity"]["value"] == pytest.approx(0.7, abs=0.02)
    assert row["if_other_as_opacity"] < 0.7 < row["if_other_as_normal"]


@pytest.mark.parametrize(
    ("o", "bound"), [(0.7, "if_other_as_opacity"), (0.1, "if_other_as_normal")]
)
def test_bounds_hold_for_extreme_other_findings(o, bound):
    side = side_of(*simulated(np.random.default_rng(1), 20000, "PA", 0.7, 0.1, o))
    (row,) = adult_sensitivity(side, NIH_PNEUMONIA)
    assert row[bound] == pytest.approx(0.7, abs=0.02)


def test_views_are_compared_with_their_own_normals():
    rng = np.random.default_rng(2)
    ap = simulated(rng, 8000, "AP", 0.8, 0.3, 0.55)
    pa = simulated(rng, 8000, "PA", 0.5, 0.1, 0.3)
    rows = {row["view"]: row for row in adult_sensitivity(side_of(*ap, *pa), NIH_PNEUMONIA)}
    assert [*rows] == ["AP", "PA", "all"]
    assert rows["AP"]["sensitivity"]["value"] == pytest.approx(0.8, abs=0.03)
    assert rows["PA"]["sensitivity"]["value"] == pytest.approx(0.5, abs=0.03)
    assert rows["all"]["sensitivity"]["value"] == pytest.approx(0.65, abs=0.03)
    assert rows["all"]["n"] == 16000


def test_interval_has_about_its_nominal_coverage():
    rng = np.random.default_rng(3)
    covered, rounds = 0, 100
    for _ in range(rounds):
        # The mixture's own shares are as uncertain as those of the 143 films.
        shares = rng.multinomial(143, (0.43, 0.25, 0.32)) / 143
        counted = Mixture(*shares, films=143, origin="simulated")
        side = side_of(*simulated(rng, 150, "AP", 0.7, 0.1, 0.4))
        (row,) = adult_sensitivity(side, counted)
        covered += row["sensitivity"]["ci_low"] <= 0.7 <= row["sensitivity"]["ci_high"]
    assert covered >= 88


def test_children_and_reliable_labels_have_no_estimate():
    children = described([1] * 9, view="AP", age=3.0, confidence=0.8)
    reliable = described([1] * 9, view="AP", age=50.0)
    lateral = described([1] * 9, view="", age=50.0, confidence=0.8)
    normals = described([0] * 9, view="AP", age=50.0)
    for films in (children, reliable, lateral):
        side = side_of((films, [0.9] * 9), (normals, [0.1] * 9))
        assert adult_sensitivity(side, NIH_PNEUMONIA) == []


def test_estimate_is_marked_if_films_cannot_be_such_a_mixture():
    weak = described([1] * 40, source="reports", view="AP", age=50.0, confidence=0.8)
    normals = described([0] * 40, source="adults", view="AP", age=50.0)
    (row,) = adult_sensitivity(side_of((weak, [0.9] * 40), (normals, [0.1] * 40)), NIH_PNEUMONIA)
    assert row["sensitivity"]["value"] == row["if_other_as_normal"] == 1
    assert not row["consistent"]
    (row,) = adult_sensitivity(
        side_of((weak, [0.9] * 20 + [0.1] * 20), (normals, [0.1] * 40)), NIH_PNEUMONIA
    )
    # c = 0.5 and f = 0, so s = 0.5 / (0.43 + 0.16).
    assert row["sensitivity"]["value"] == pytest.approx(0.5 / 0.59)
    assert row["consistent"]


def test_one_patient_has_no_interval():
    assert percentiles(0.5, np.array([0.5]), 1, 3).ci_low is None
    assert percentiles(0.5, np.array([np.nan]), 9, 3).note == "one_patient"
