from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest

from lung_films import made_films
from makers import grey_film
from screening.errors import TrainingDataError
from screening.model.preprocess import Preprocessing
from screening.training.fit import FilmSet, OutsideEvidence, fit, predict
from screening.training.networks import build
from screening.training.recipe import BFLOAT16, default_recipe

# Keras and NumPy 2 do not agree on an argument of __array__ yet.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PREPROCESSING = Preprocessing(48, 48, 1, 2.0, -1.0)
RECIPE = replace(default_recipe("small"), epochs=2, batch=8)


class Silent:
    """Records the progress without showing it."""

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
        return fit(
            recipe, PREPROCESSING, *films, folder, "films", pool=pool, progress=progress or Silent()
        )


def without_seconds(history):
    return [{name: row[name] for name in row if name != "seconds"} for row in history]


@pytest.fixture(scope="module")
def once(films, tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("once"), films)


def test_history_has_all_figures_of_every_epoch(once):
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


def test_figures_of_an_epoch_cover_all_its_films(films, tmp_path):
    # Sixteen films in batches of 7, 7 and 2; the last batch alone has an accuracy of 0, 0.5 or 1.
    _network, history = fitted(tmp_path, films, replace(RECIPE, batch=7, epochs=4))
    right = [row["accuracy"] * 16 for row in history]
    assert right == pytest.approx([round(number) for number in right], abs=1e-3)
    assert any(round(number) % 8 for number in right)


def test_same_seed_gives_the_same_network(films, once, tmp_path):
    network, history = fitted(tmp_path, films)
    for one, other in zip(without_seconds(history), without_seconds(once[1]), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    scores = [predict(each, PREPROCESSING, films[1].greys, "score") for each in (network, once[0])]
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_uncertain_label_is_a_soft_target(films, tmp_path):
    training, validation = films
    unsure = replace(training, confidence=np.full(24, 0.5, np.float32))
    _network, history = fitted(tmp_path, (unsure, validation), replace(RECIPE, epochs=1))
    # With targets of one half, no loss is below log(2).
    assert history[0]["loss"] >= np.log(2) - 1e-6


def test_epoch_is_drawn_from_all_strata(films, tmp_path):
    training, validation = films
    strata = np.array([0] * 4 + [1] * 4 + [0] * 15 + [1])
    recipe = replace(RECIPE, epochs=1, films_per_epoch=40)
    batches = []

    class Counting(Silent):
        def batch(self, epoch, batches_, done, loss):
            batches.append((batches_, done))

    sources = (replace(training, strata=strata), validation)
    fitted(tmp_path, sources, recipe, Counting())
    assert batches == [(2, 1), (2, 2)]


def test_another_seed_gives_another_network(films, once, tmp_path):
    network, _history = fitted(tmp_path, films, replace(RECIPE, seed=2))
    scores = [predict(each, PREPROCESSING, films[1].greys, "score") for each in (network, once[0])]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_resumed_training_ends_with_the_same_network(films, once, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, films, progress=Silent(stop_after=1))
    progress = Silent()
    network, history = fitted(tmp_path, films, progress=progress)
    assert [row["epoch"] for row in progress.rows] == [2]
    for one, other in zip(without_seconds(history), without_seconds(once[1]), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    scores = [predict(each, PREPROCESSING, films[1].greys, "score") for each in (network, once[0])]
    np.testing.assert_allclose(*scores, atol=1e-3)


def lung_films(films):
    """The films with lung fields; those of one film are empty."""
    training, validation = films
    _made, masks = made_films(training.labels, side=48)
    masks[5] = False
    return replace(training, lungs=masks.astype(np.uint8) * 255), validation


def test_resumed_training_with_exchange_ends_with_the_same_network(films, tmp_path):
    recipe = replace(RECIPE, exchange=0.5, outside_evidence=0.3, flip=0.5)
    own = lung_films(films)
    network, history = fitted(tmp_path / "once", own, recipe)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "again", own, recipe, Silent(stop_after=1))
    again, rows = fitted(tmp_path / "again", own, recipe)
    for one, other in zip(without_seconds(history), without_seconds(rows), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    scores = [predict(each, PREPROCESSING, films[1].greys, "score") for each in (network, again)]
    np.testing.assert_allclose(*scores, atol=1e-3)


@pytest.mark.parametrize("setting", ["exchange", "outside_evidence"])
def test_recipe_that_needs_lungs_is_refused_without_them(films, tmp_path, setting):
    with pytest.raises(ValueError, match="needs the lung fields"):
        fitted(tmp_path, films, replace(RECIPE, **{setting: 0.5}))


def test_default_recipes_of_other_networks_need_no_lungs():
    for architecture in ("efficientnet-lite0", "small", "reference"):
        recipe = default_recipe(architecture)
        if architecture != "efficientnet-lite0":
            assert not recipe.needs_lungs
        assert replace(recipe, exchange=0.1).needs_lungs
        assert replace(recipe, outside_evidence=0.1).needs_lungs
        assert not replace(recipe, exchange=0.0, outside_evidence=0.0).needs_lungs


def test_evidence_outside_the_lungs_costs_its_mean_times_the_weight():
    # Two films of 2 x 2 cells; the evidence is the difference of two logits, for or against.
    normal = np.array([[[1, 0], [0, 3]], [[0, 0], [0, 0]]], np.float32)
    pneumonia = np.array([[[0, 2], [4, 3]], [[0, -8], [0, 0]]], np.float32)
    coverage = np.array([[[1, 0.5], [0, 0]], [[0, 0.75], [1, 1]]], np.float32)
    cells = np.stack([normal, pneumonia], axis=-1)
    # (1 * 0 + 2 * 0.5 + 4 * 1 + 0 * 1) / 4, and (8 * 0.25) / 4.
    for weight in (1.0, 0.4):
        penalty = np.asarray(OutsideEvidence(weight).call(coverage[..., None], cells))
        np.testing.assert_allclose(penalty, [1.25 * weight, 0.5 * weight], rtol=1e-6)


def test_evidence_in_the_lungs_costs_nothing():
    mask = made_films([0], side=16)[1].astype(np.float32)[..., None]
    evidence = np.concatenate([np.zeros_like(mask), 9 * mask], axis=-1)
    assert np.asarray(OutsideEvidence(1.0).call(mask, evidence)).tolist() == [0]
    assert np.asarray(OutsideEvidence(1.0).call(np.ones_like(mask), 9 * evidence)).tolist() == [0]


def test_penalty_moves_evidence_into_the_lungs():
    # The class shows in the grey values of the lungs, and in those of a corner.
    labels = np.array([0, 1] * 4)
    (mask,) = made_films([0], side=16)[1]
    greys = np.repeat(np.where(mask, 0.5, -0.5)[np.newaxis], 8, axis=0)
    greys[labels == 1] += 0.5 * mask
    greys[:, :5, :5] = -1 - 0.5 * labels[:, np.newaxis, np.newaxis]
    films = greys[..., np.newaxis].astype(np.float32)
    covered = np.repeat(mask[np.newaxis, ..., np.newaxis], 8, axis=0).astype(np.float32)
    inside = {}
    for weight in (0.0, 0.5):
        network = network_of_pixels()
        losses = {"score": "categorical_crossentropy", "map": OutsideEvidence(weight)}
        network.compile(keras.optimizers.Adam(0.02), losses)
        for _ in range(200):
            network.train_on_batch(films, {"score": np.eye(2)[labels], "map": covered})
        given = network.predict_on_batch(films)
        assert (given["score"].argmax(axis=1) == labels).all()
        evidence = np.abs(given["map"][..., 1] - given["map"][..., 0])
        inside[weight] = float((evidence * covered[..., 0]).sum() / evidence.sum())
    assert inside[0.0] < 0.6
    assert inside[0.5] > 0.9


def network_of_pixels():
    """A network whose map has one cell for each pixel, computed from that pixel only."""
    keras.utils.set_random_seed(1)
    film = keras.layers.Input((16, 16, 1))
    hidden = keras.layers.Conv2D(32, 1, activation="relu")(film)
    cells = keras.layers.Conv2D(2, 1, name="map")(hidden)
    score = keras.layers.Softmax(name="score")(keras.layers.GlobalAveragePooling2D()(cells))
    return keras.Model(film, {"score": score, "map": cells})


def test_loss_of_a_fit_grows_with_the_weight_of_the_penalty(films, tmp_path):
    first = []

    class FirstBatch(Silent):
        def batch(self, epoch, batches, done, loss):
            first.append(loss)
            raise KeyboardInterrupt

    for weight in (0.0, 2.0):
        recipe = replace(RECIPE, outside_evidence=weight)
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path / str(weight), lung_films(films), recipe, FirstBatch())
    # Before the first step, network and films are the same.
    assert first[1] > first[0] + 1e-3


def test_checkpoint_of_another_recipe_is_refused(films, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, films, progress=Silent(stop_after=1))
    with pytest.raises(TrainingDataError, match="other films or settings"):
        fitted(tmp_path, films, replace(RECIPE, learning_rate=1e-3))


def test_network_fitted_in_bfloat16_is_float32_at_the_end(films, tmp_path):
    network, _history = fitted(tmp_path, films, replace(RECIPE, precision=BFLOAT16, epochs=1))
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    score = predict(network, PREPROCESSING, films[1].greys, "score")
    assert score.dtype == np.float32
    np.testing.assert_allclose(score.sum(axis=1), 1, atol=1e-6)


def test_layers_with_the_factor_0_are_frozen(films, tmp_path):
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


def test_bytes_and_floats_give_the_same_predictions(once, films):
    greys = films[0].greys
    of_bytes = predict(once[0], PREPROCESSING, greys, "score")
    of_greys = predict(once[0], PREPROCESSING, greys.astype(np.float32) / np.float32(255), "score")
    np.testing.assert_allclose(of_bytes, of_greys, atol=1e-6)
