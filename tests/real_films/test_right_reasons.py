"""Test that the shipped model reads the lungs of real films; CONTRIBUTING: SCREENING_FILMS."""

import numpy as np
import pytest
from PIL import Image

from exports.bundle import SHIPPED, Bundle
from exports.runtimes.load import load

FILMS = 100


@pytest.fixture(scope="module")
def reasons(real_films):
    from screening.training.data.dataset import read_grey
    from screening.training.data.manifest import read_manifest
    from screening.training.robustness import ModelUnderTest, measure_reasons
    from screening.training.scored_split import ScoredSplit

    bundle = Bundle.open(SHIPPED)
    card, predictor = bundle.card, load(SHIPPED)
    if not card.reasons:
        pytest.skip("the shipped model is older than the tests of its reasons")
    masks = {path.stem: path for path in (real_films.parent / "lung_masks").glob("*.png")}
    known = [film for film in read_manifest(real_films) if film.path.stem in masks]
    by_class = [[film for film in known if film.label == label] for label in (0, 1)]
    films = [film for own in by_class for film in own[:: max(1, len(own) // FILMS)][:FILMS]]
    if not films:
        pytest.skip("there is no folder lung_masks next to SCREENING_FILMS")
    greys = np.stack([read_grey(film.path, card.preprocessing) for film in films])

    def scores(greys):
        tensors = card.preprocessing.normalise(greys)
        parts = [predictor.predict(tensors[k : k + 32]).scores for k in range(0, len(greys), 32)]
        return np.concatenate(parts)

    def lungs(film):
        with Image.open(masks[film.path.stem]) as image:
            size = (card.preprocessing.columns, card.preprocessing.rows)
            return np.asarray(image.convert("L").resize(size)) > 127

    side = ScoredSplit.of("test", films, scores(greys), card.calibration, card.operating_point)
    model = ModelUnderTest(scores, card.calibration, card.operating_point)
    return measure_reasons(side, greys, np.stack([lungs(film) for film in films]), model)["tests"]


def test_exchanging_the_outside_changes_few_decisions(reasons):
    assert reasons["outside_exchanged"]["auroc"]["value"] >= 0.85
    assert reasons["outside_exchanged"]["flipped"]["value"] <= 0.2


def test_exchanging_the_lungs_changes_the_result(reasons):
    assert reasons["lungs_exchanged"]["auroc"]["value"] < 0.5


def test_changing_markers_changes_few_decisions(reasons):
    for test in ("markers_pasted", "markers_removed"):
        assert reasons[test]["flipped"]["value"] <= 0.1
