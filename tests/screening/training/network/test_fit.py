from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest

from makers import grey_film
from screening.errors import TrainingDataError
from screening.preprocess import Preprocessing
from screening.training.network.fit import FilmSet, fit, predict
from screening.training.network.networks import build
from screening.training.network.recipe import BFLOAT16, default_recipe

# Keras and NumPy 2 do not agree on an argument of __array__ yet.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PREPROCESSING = Preprocessing(48, 48, 1, 2.0, -1.0)
RECIPE = replace(default_recipe("small"), epochs=2, batch=8)


class Silent:
    """Progress that is kept, not shown."""

    def __init__(self, stop_after=99):
        self.rows = []
        self.stop_after = stop_after

    def say(self, line):
        pass

    def batch(self, epoch, batches, done, loss):
        if epoch == self.stop_after:
            raise KeyboardInterrupt

    def epoch(self, row):
        self.rows.append(row)


@pytest.fixture(scope="module")
def films():
    labels = np.array([0] * 8 + [1] * 16)
    greys = np.stack([grey_film(seed, side=48) // 2 for seed in range(24)])
    greys[labels == 1] += 100
    return FilmSet(greys, labels), FilmSet(greys[4:14].astype(np.float32) / 255, labels[4:14])


def fitted(folder, films, recipe=RECIPE, progress=None):
    with ThreadPoolExecutor(2) as pool:
        return fit(recipe, PREPROCESSING, *films, folder, "films", pool, progress or Silent())


def without_seconds(history):
    return [{name: row[name] for name in row if name != "seconds"} for row in history]


@pytest.fixture(scope="module")
def once(films, tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("once"), films)


def test_every_epoch_has_its_figures(once):
    _network, history = once
    assert [row["epoch"] for row in history] == [1, 2]
    for row in history:
        assert {*row} == {
            "epoch",
            "loss",
            "accuracy",
            "val_loss",
            "val_accuracy",
            "val_auroc",
            "val_precision",
            "val_recall",
            "seconds",
        }
        assert 0 <= row["accuracy"] <= 1
        assert row["loss"] > 0


def test_the_figures_of_an_epoch_are_those_of_all_its_films(films, tmp_path):
    # Sixteen films in batches of 7, 7 and 2: of the last two alone an accuracy is 0, 0.5 or 1.
    _network, history = fitted(tmp_path, films, replace(RECIPE, batch=7, epochs=4))
    right = [row["accuracy"] * 16 for row in history]
    assert right == pytest.approx([round(number) for number in right], abs=1e-3)
    assert any(round(number) % 8 for number in right)


def test_the_same_seed_gives_the_same_network(films, once, tmp_path):
    network, history = fitted(tmp_path, films)
    for one, other in zip(without_seconds(history), without_seconds(once[1]), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    scores = [predict(each, PREPROCESSING, films[1].greys, "score") for each in (network, once[0])]
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_an_uncertain_label_is_learnt_as_uncertain(films, tmp_path):
    training, validation = films
    unsure = replace(training, confidence=np.full(24, 0.5, np.float32))
    _network, history = fitted(tmp_path, (unsure, validation), replace(RECIPE, epochs=1))
    # Nothing can be better than half and half for targets of one half.
    assert history[0]["loss"] >= np.log(2) - 1e-6


def test_an_epoch_is_drawn_from_all_strata(films, tmp_path):
    training, validation = films
    strata = np.array([0] * 4 + [1] * 4 + [0] * 15 + [1])
    recipe = replace(RECIPE, epochs=1, films_per_epoch=40)
    batches = []

    class Counting(Silent):
        def batch(self, epoch, batches_, done, loss):
            batches.append((batches_, done))

    sources = (replace(training, strata=strata), validation)
    fitted(tmp_path, sources, recipe, Counting())
    assert batches == [(5, done) for done in range(1, 6)]


def test_another_seed_gives_another_network(films, once, tmp_path):
    network, _history = fitted(tmp_path, films, replace(RECIPE, seed=2))
    scores = [predict(each, PREPROCESSING, films[1].greys, "score") for each in (network, once[0])]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_an_interrupted_training_ends_where_it_would_have_ended(films, once, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, films, progress=Silent(stop_after=1))
    progress = Silent()
    network, history = fitted(tmp_path, films, progress=progress)
    assert [row["epoch"] for row in progress.rows] == [2]
    for one, other in zip(without_seconds(history), without_seconds(once[1]), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    scores = [predict(each, PREPROCESSING, films[1].greys, "score") for each in (network, once[0])]
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_a_checkpoint_of_another_recipe_is_refused(films, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, films, progress=Silent(stop_after=1))
    with pytest.raises(TrainingDataError, match="other films or settings"):
        fitted(tmp_path, films, replace(RECIPE, learning_rate=1e-3))


def test_a_network_fitted_in_bfloat16_is_finished_in_float32(films, tmp_path):
    network, _history = fitted(tmp_path, films, replace(RECIPE, precision=BFLOAT16, epochs=1))
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    score = predict(network, PREPROCESSING, films[1].greys, "score")
    assert score.dtype == np.float32
    np.testing.assert_allclose(score.sum(axis=1), 1, atol=1e-6)


def test_layers_with_the_factor_0_stay_as_they_are(films, tmp_path):
    recipe = replace(RECIPE, multipliers={"stage1": 0.0, "stage2": 0.0}, epochs=1)
    network, _history = fitted(tmp_path, films, recipe)
    keras.utils.set_random_seed(recipe.seed)
    before = build("small", PREPROCESSING.shape)
    moved = {
        layer.name: any(
            np.abs(new - old).max() > 0
            for new, old in zip(
                layer.get_weights(), before.get_layer(layer.name).get_weights(), strict=True
            )
        )
        for layer in network.layers
        if layer.weights
    }
    frozen = {name for name in moved if name.startswith(("stage1", "stage2"))}
    assert frozen
    assert {name for name, has_moved in moved.items() if not has_moved} == frozen


def test_bytes_and_their_grey_values_are_predicted_alike(once, films):
    greys = films[0].greys
    of_bytes = predict(once[0], PREPROCESSING, greys, "score")
    of_greys = predict(once[0], PREPROCESSING, greys.astype(np.float32) / np.float32(255), "score")
    np.testing.assert_allclose(of_bytes, of_greys, atol=1e-6)
