"""A short version of ``benchmarks/interval_coverage.py``: few cells, a few hundred rounds."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.interval_coverage import MODELS, Cell, Held, averages, held, truth
from screening.report import metrics
from screening.report.intervals import Figure, Floats
from screening.report.metrics import performance

CELLS = [
    Cell(200, prevalence, most, *model)
    for prevalence, most, model in zip((0.1, 0.5, 0.8), (3, 10, 1), MODELS, strict=True)
]


def mean_of(results: list[Held]) -> dict[str, float]:
    return {name: float(np.mean([one.held[name] for one in results])) for name in results[0].held}


def test_intervals_cover_the_truth_in_95_percent_of_rounds() -> None:
    mean = mean_of([held(cell, rounds=150, seed=2) for cell in CELLS])
    assert len(mean) == 11
    # None of the eleven shares of 450 rounds is off by more than 3.5 standard errors.
    assert {name: share for name, share in mean.items() if not 0.915 <= share <= 0.985} == {}


def test_percentile_intervals_would_undercover(monkeypatch: pytest.MonkeyPatch) -> None:
    def percentiles(value: float, drawn: Floats, _patients: int, n: int) -> Figure:
        return Figure(value, *np.nanpercentile(drawn, (2.5, 97.5)), n)

    def of_sums(gaps: Floats, drawn: Floats, patients: int, n: int) -> Figure:
        return percentiles(np.abs(gaps).sum(), np.abs(drawn).sum(axis=1), patients, n)

    monkeypatch.setattr(metrics, "studentised", percentiles)
    monkeypatch.setattr(metrics, "sum_of_gaps", of_sums)
    mean = mean_of([held(cell, rounds=40, seed=1) for cell in CELLS])
    assert mean["auroc"] < 0.93
    assert mean["calibration_error"] < 0.6


@pytest.mark.parametrize("cell", CELLS)
def test_truth_matches_figures_of_very_many_films(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screening.report.intervals._RESAMPLES", 2)
    figures = performance(replace(cell, films=200_000).draw(np.random.default_rng(2)))
    shown = {name: figure.value for name, figure in figures.items()}
    assert truth(cell) == pytest.approx(shown, abs=0.006)


def test_averages_leave_out_rare_cells_and_missing_values() -> None:
    rare, some = replace(CELLS[0], prevalence=0.01), CELLS[0]
    results = [Held(rare, 1, {"auroc": 0.2}), Held(some, 1, {"auroc": 0.9})]
    others = [
        Held(replace(some, prevalence=p), 1, {"auroc": h}) for p, h in ((0.5, 1.0), (0.9, None))
    ]
    assert averages(results + others) == {(200, 3): {"auroc": pytest.approx(0.95)}}
