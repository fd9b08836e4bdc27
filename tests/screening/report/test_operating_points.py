import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.report.metrics import Scored, confusion, performance
from screening.report.operating_points import (
    CHOSEN,
    STEP,
    STEPS,
    YOUDEN,
    operating_points,
    project,
    threshold_for_sensitivity,
    threshold_for_specificity,
    write_points,
    youden_threshold,
)

QUICK = settings(deadline=None, max_examples=150, database=None)

Films = tuple[np.ndarray, np.ndarray]


def films_of(micros: st.SearchStrategy[int]) -> st.SearchStrategy[Films]:
    """Return probabilities with six decimals, and labels of both classes."""
    film = st.tuples(micros, st.booleans())
    both = st.lists(film, min_size=2, max_size=40).filter(lambda f: len({y for _p, y in f}) == 2)
    return both.map(
        lambda f: (np.round(np.array([p for p, _y in f]) / 1e6, 6), np.array([y for _p, y in f]))
    )


#: Probabilities spread out, tied, adjacent, and at the end.
FILMS = st.one_of(
    films_of(st.integers(0, 10**6)),
    films_of(st.integers(0, 4)),
    films_of(st.integers(499_998, 500_003)),
    films_of(st.integers(999_997, 10**6)),
)
TARGETS = st.one_of(st.floats(0.01, 1), st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 1.0]))


def sensitivity(p: np.ndarray, y: np.ndarray, threshold: float) -> float:
    return float((p[y] >= threshold).mean())


def specificity(p: np.ndarray, y: np.ndarray, threshold: float) -> float:
    return float((p[~y] < threshold).mean())


def thresholds(p: np.ndarray) -> np.ndarray:
    """Return one threshold, up to 1, for every way to classify these films."""
    return np.array([0.0, *np.unique(p), *np.round(np.unique(p) + 1e-6, 6)]).clip(0, 1)


@QUICK
@given(FILMS, TARGETS)
def test_sensitivity_threshold_is_the_highest_that_reaches_target(
    films: Films, target: float
) -> None:
    p, y = films
    found = threshold_for_sensitivity(p, y, target)
    assert found is not None
    assert sensitivity(p, y, found) >= target - 1e-9
    higher = [t for t in thresholds(p) if (p >= t).sum() < (p >= found).sum()]
    assert all(
        sensitivity(p, y, t) < target or (p[y] >= t).sum() == (p[y] >= found).sum() for t in higher
    )
    # Of the thresholds with the same sensitivity it has the best specificity.
    same = [t for t in thresholds(p) if (p[y] >= t).sum() == (p[y] >= found).sum()]
    assert specificity(p, y, found) == max(specificity(p, y, t) for t in same)


@QUICK
@given(FILMS, TARGETS)
def test_specificity_threshold_is_the_lowest_that_reaches_target(
    films: Films, target: float
) -> None:
    p, y = films
    found = threshold_for_specificity(p, y, target)
    reaching = [t for t in thresholds(p) if specificity(p, y, t) >= target - 1e-9]
    if found is None:
        assert not reaching
        return
    assert specificity(p, y, found) >= target - 1e-9
    assert sensitivity(p, y, found) == max(sensitivity(p, y, t) for t in reaching)


@QUICK
@given(FILMS)
def test_youden_threshold_has_the_largest_index(films: Films) -> None:
    p, y = films
    found = youden_threshold(p, y)
    assert found is not None
    index = {t: sensitivity(p, y, t) + specificity(p, y, t) for t in thresholds(p)}
    best = sensitivity(p, y, found) + specificity(p, y, found)
    # Calling no film has the index 1 here, the same as calling all films.
    assert best >= max(index.values()) - 1e-9
    equal = [t for t, value in index.items() if value > best - 1e-9]
    assert sensitivity(p, y, found) == max(sensitivity(p, y, t) for t in equal)


@QUICK
@given(
    FILMS,
    st.sampled_from(
        [
            lambda p, y: threshold_for_sensitivity(p, y, 0.8),
            lambda p, y: threshold_for_specificity(p, y, 0.8),
            youden_threshold,
        ]
    ),
)
def test_threshold_is_half_way_between_two_films(
    films: Films, rule: Callable[[np.ndarray, np.ndarray], float | None]
) -> None:
    p, y = films
    found = rule(p, y)
    if found is None:
        return
    micros = round(found * 1e6)
    assert found == micros / 1e6
    assert 0 <= micros <= 10**6
    # 0 and 1 are the ends if there is no film on that side.
    below = max((round(v * 1e6) for v in p if v < found), default=0)
    above = min((round(v * 1e6) for v in p if v >= found), default=10**6)
    assert abs((micros - below) - (above - micros)) <= 1
    # Films more than two millionths apart may each move by one without changing the decisions.
    if above - below > 2:
        moved = np.round(np.where(p >= found, p - 1e-6, p + 1e-6), 6)
        assert ((moved >= found) == (p >= found)).all()


def test_decimal_target_is_not_affected_by_binary_rounding() -> None:
    # 0.55 * 100 is 55.00000000000001 in binary.
    p = np.arange(1, 101) / 100
    assert sensitivity(p, np.ones(100, bool), 0.46) == 0.55
    assert threshold_for_sensitivity(p, np.ones(100, bool), 0.55) == 0.455
    assert threshold_for_specificity(p, np.zeros(100, bool), 0.55) == 0.555


def test_films_with_equal_probability_are_called_together() -> None:
    p, y = np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, True, True, True])
    assert threshold_for_sensitivity(p, y, 0.5) == 0.3
    assert threshold_for_specificity(p, ~y, 0.5) == 0.75


@pytest.mark.parametrize(
    ("probability", "threshold"), [(0.0, 0.0), (0.000001, 0.000001), (0.5, 0.25), (1.0, 0.5)]
)
def test_sensitivity_threshold_exists_when_all_films_are_called(
    probability: float, threshold: float
) -> None:
    p, y = np.full(3, probability), np.array([True, True, False])
    assert threshold_for_sensitivity(p, y, 0.95) == threshold


@pytest.mark.parametrize(
    ("probability", "threshold"), [(0.0, 0.5), (0.5, 0.75), (0.999999, 1.0), (1.0, None)]
)
def test_specificity_threshold_when_no_film_is_called(
    probability: float, threshold: float | None
) -> None:
    p, y = np.full(3, probability), np.array([True, False, False])
    assert threshold_for_specificity(p, y, 0.95) == threshold


def test_threshold_is_none_without_films_of_its_class() -> None:
    p = np.array([0.2, 0.6])
    positive, negative = np.ones(2, bool), np.zeros(2, bool)
    assert threshold_for_sensitivity(p, negative, 0.9) is None
    assert threshold_for_specificity(p, positive, 0.9) is None
    assert youden_threshold(p, positive) is youden_threshold(p, negative) is None


def some(n: int = 200, *, patients: int = 100) -> Scored:
    rng = np.random.default_rng(2)
    p = rng.random(n).round(6)
    positive = rng.random(n) < p
    return Scored(positive, p, p >= 0.3, rng.integers(0, patients, n))


def test_each_row_matches_metrics_at_its_threshold() -> None:
    films = some()
    for row in operating_points(films, 0.3):
        called = films.probability >= row.threshold
        decided = Scored(films.positive, films.probability, called, films.patient)
        count, figures = confusion(decided), performance_of(decided)
        assert {"TP": row.tp, "FP": row.fp, "TN": row.tn, "FN": row.fn} == count
        assert (row.sensitivity, row.specificity) == (figures["recall"], figures["specificity"])
        assert (row.ppv, row.npv) == (figures["precision"], figures["npv"])
        assert row.referrals == pytest.approx(100 * called.mean())
        assert row.projected is None


def performance_of(films: Scored) -> dict:
    names = ("precision", "recall", "specificity", "npv")
    return {name: figure for name, figure in performance(films).items() if name in names}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screening.report.intervals._RESAMPLES", 2)


def test_rows_ascend_and_keep_all_marks() -> None:
    rows = operating_points(some(), 0.3)
    values = [row.threshold for row in rows]
    assert values == sorted(set(values))
    marks = [mark for row in rows for mark in row.marks]
    assert marks.count(STEP) == len(STEPS) == 19
    assert marks.count(YOUDEN) == marks.count(CHOSEN) == 1
    assert [m for m in marks if m.startswith("sens")] == [
        f"sensitivity {target}" for target in (0.99, 0.98, 0.95, 0.9, 0.85, 0.8)
    ]
    assert [m for m in marks if m.startswith("spec")] == [
        f"specificity {target}" for target in (0.9, 0.95, 0.98, 0.99)
    ]


def test_threshold_with_several_marks_is_one_row() -> None:
    (row,) = (row for row in operating_points(some(), 0.3) if CHOSEN in row.marks)
    assert row.threshold == 0.3
    assert row.marks == (STEP, CHOSEN)


def test_marked_row_reaches_its_target() -> None:
    for row in operating_points(some(), 0.3):
        for mark in row.marks:
            name, _space, target = mark.partition(" ")
            if target:
                assert getattr(row, name).value >= float(target) - 1e-9


def test_undefined_targets_have_no_row_and_undefined_values_are_none() -> None:
    p = np.array([0.2, 0.4])
    rows = operating_points(Scored(np.zeros(2, bool), p, p >= 0.3, np.arange(2)), 0.3, 0.1)
    marks = {mark for row in rows for mark in row.marks}
    assert not any(mark.startswith("sensitivity") for mark in marks)
    assert YOUDEN not in marks
    assert {row.sensitivity.value for row in rows} == {None}
    assert {row.projected and row.projected.ppv for row in rows} == {None}
    assert rows[-1].ppv.value is None
    assert rows[-1].npv.value == 1


def test_without_films_only_steps_and_chosen_threshold_remain() -> None:
    nothing = np.zeros(0)
    films = Scored(nothing.astype(bool), nothing, nothing.astype(bool), nothing.astype(int))
    rows = operating_points(films, 0.5)
    assert len(rows) == len(STEPS)
    assert {row.referrals for row in rows} == {None}


# Worked example with 1,000 films: 100 ill, 90 found; 900 well, 180 called. PPV 90 / 270, NPV 720 /
# 730.
def test_projection_matches_a_worked_example_of_bayes_theorem() -> None:
    found = project(0.9, 0.8, 0.1)
    assert found.ppv == pytest.approx(90 / 270)
    assert found.npv == pytest.approx(720 / 730)
    assert found.referrals == pytest.approx(27)


def test_projection_to_the_films_own_prevalence_changes_nothing() -> None:
    films = some()
    for row in operating_points(films, 0.3, float(films.positive.mean())):
        assert row.projected is not None
        assert row.projected.ppv == pytest.approx(row.ppv.value)
        assert row.projected.npv == pytest.approx(row.npv.value)
        assert row.projected.referrals == pytest.approx(row.referrals)


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "prevalence", "ppv", "npv"),
    [
        (0, 1, 0.5, None, 0.5),  # no film is called
        (1, 0, 0.5, 0.5, None),  # all films are called
        (0.9, 1, 0.0, None, 1),  # no film is ill and none is called
        (1, 0.5, 1.0, 1, None),  # all films are ill and all are called
        (0.9, 0.9, 0.0, 0, 1),
        (0.9, 0.9, 1.0, 1, 0),
        (None, 0.9, 0.5, None, None),
        (0.9, None, 0.5, None, None),
    ],
)
def test_undefined_projections_are_none(
    sensitivity: float | None,
    specificity: float | None,
    prevalence: float,
    ppv: float | None,
    npv: float | None,
) -> None:
    found = project(sensitivity, specificity, prevalence)
    assert (found.ppv, found.npv) == (ppv, npv)
    assert (found.referrals is None) == (sensitivity is None or specificity is None)


@pytest.mark.parametrize("prevalence", [-0.01, 1.01, float("nan")])
def test_prevalence_outside_0_to_1_is_an_error(prevalence: float) -> None:
    with pytest.raises(ValueError, match="prevalence"):
        operating_points(some(), 0.3, prevalence)


def test_row_converts_to_json_values() -> None:
    row = operating_points(some(), 0.3, 0.2)[3]
    values = json.loads(json.dumps(row.as_dict(), allow_nan=False))
    assert values == row.as_dict()
    assert values["marks"] == list(row.marks)
    assert values["sensitivity"]["ci_low"] == row.sensitivity.ci_low
    assert values["projected"]["prevalence"] == 0.2


def test_points_csv_has_empty_cells_for_undefined_values(tmp_path: Path) -> None:
    films = Scored(
        positive=np.array([True, True, False, False]),
        probability=np.array([0.9, 0.4, 0.6, 0.1]),
        called=np.zeros(4, bool),
        patient=np.arange(4),
    )
    points = operating_points(films, chosen=0.5, prevalence=0.25)
    write_points(tmp_path / "points.csv", points)
    with (tmp_path / "points.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["threshold"]) for line in lines] == [point.threshold for point in points]
    (chosen,) = [line for line in lines if "chosen" in line["marks"]]
    assert chosen["marks"] == "step; chosen"
    assert [chosen[name] for name in ("tp", "fp", "tn", "fn")] == ["1", "1", "1", "1"]
    assert (chosen["sensitivity"], chosen["ppv_projected"]) == ("0.5", "0.25")
    assert float(chosen["sensitivity_ci_low"]) < 0.5 < float(chosen["sensitivity_ci_high"])
    assert (chosen["referrals_of_100"], chosen["referrals_of_100_projected"]) == ("50", "50")
    # At 0.95 no film is called, so PPV is undefined.
    assert (lines[-1]["tp"], lines[-1]["fp"], lines[-1]["ppv"]) == ("0", "0", "")


def test_nothing_is_projected_without_a_prevalence(tmp_path: Path) -> None:
    films = Scored(np.ones(1, bool), np.array([0.9]), np.ones(1, bool), np.zeros(1, int))
    write_points(tmp_path / "points.csv", operating_points(films, chosen=0.5))
    with (tmp_path / "points.csv").open(newline="", encoding="utf-8") as file:
        line = next(csv.DictReader(file))
    assert (line["prevalence"], line["ppv_projected"], line["specificity"]) == ("", "", "")
