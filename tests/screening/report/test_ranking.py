import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from screening.report.metrics import Ranking

QUICKLY = settings(deadline=None, database=None, max_examples=150)


@st.composite
def drawn_films(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Draw labels, probabilities with ties, and how often each film was drawn."""
    n = draw(st.integers(1, 40))

    def some(each: st.SearchStrategy) -> np.ndarray:
        return np.array(draw(st.lists(each, min_size=n, max_size=n)))

    steps = draw(st.sampled_from([1, 3, 10, 10**6]))
    probability = some(st.integers(0, steps)) / steps
    return some(st.booleans()), np.sort(probability)[::-1], some(st.integers(0, 4))


@QUICKLY
@given(drawn_films())
def test_areas_match_scikit_learn_with_sample_weights(films: tuple[np.ndarray, ...]) -> None:
    positive, probability, times = films
    ranking = Ranking(positive, probability, np.arange(len(times)))
    (auroc,), (precision,) = ranking.areas(times[None].astype(float))
    drawn = times > 0
    both = len(set(positive[drawn])) == 2
    if both:
        reference = roc_auc_score(positive[drawn], probability[drawn], sample_weight=times[drawn])
        assert auroc == pytest.approx(reference, abs=1e-12)
    assert np.isnan(auroc) == (not both)
    if positive[drawn].any():
        reference = average_precision_score(
            positive[drawn], probability[drawn], sample_weight=times[drawn]
        )
        assert precision == pytest.approx(reference, abs=1e-12)
    assert np.isnan(precision) == (not positive[drawn].any())


def test_each_draw_gets_its_own_areas() -> None:
    ranking = Ranking(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]), np.array([1, 0, 1]))
    aurocs, precisions = ranking.areas(np.array([[1.0, 1.0], [2.0, 0.0], [1.0, 3.0]]))
    # Patient 1 has both films with pneumonia; if it is not drawn, both areas are undefined.
    assert aurocs == pytest.approx([0.5, np.nan, 0.5], nan_ok=True)
    assert precisions == pytest.approx([(1 + 2 / 3) / 2, np.nan, (1 + 6 / 7) / 2], nan_ok=True)


def test_areas_without_films_are_nan() -> None:
    nothing = Ranking(np.zeros(0, bool), np.zeros(0), np.zeros(0, int))
    assert np.isnan(nothing.areas(np.ones((1, 0)))).all()
