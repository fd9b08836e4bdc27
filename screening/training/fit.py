"""Fit a network: one pass of augmented films after another, with averaged weights at the end."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import keras
import numpy as np
import numpy.typing as npt
from sklearn.metrics import log_loss, roc_auc_score

from screening.findings import CLASSES, POSITIVE
from screening.preprocess import Preprocessing
from screening.training.checkpoint import History, load_checkpoint, save_checkpoint
from screening.training.films import Bytes, Labels, augmented_batches, class_weights
from screening.training.imagenet import load_imagenet_weights
from screening.training.networks import DEFAULT, build
from screening.training.optimiser import LayerwiseAdamW
from screening.training.recipe import Recipe

Pixels = TypeVar("Pixels", Bytes, npt.NDArray[np.float32])


@dataclass(frozen=True, eq=False)
class FilmSet(Generic[Pixels]):
    """Films at the model's size, shape (n, rows, columns), with their class indices.

    Attributes:
        greys: 0..255 for training, where they are changed anyway; for validation 0..1 in float32,
            exactly what a night would show the network.
    """

    greys: Pixels
    labels: Labels


class Progress(Protocol):
    """Told how far the training is."""

    def say(self, line: str) -> None:
        """Something worth a line."""

    def batch(self, epoch: int, batches: int, done: int, loss: float) -> None:
        """A batch is done."""

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is done; `row` is its line of the history."""


def fit(
    recipe: Recipe,
    preprocessing: Preprocessing,
    training: FilmSet[Bytes],
    validation: FilmSet[npt.NDArray[np.float32]],
    model: Path,
    data: str,
    pool: Executor,
    progress: Progress,
) -> tuple[keras.Model, History]:
    """Train, or go on with a training that was interrupted.

    Args:
        model: folder for the checkpoint.
        data: fingerprint of the films; a checkpoint of other films is refused.
        pool: where films are augmented, while the network is busy.

    Returns:
        The network with averaged weights, and one row for each epoch.
    """
    steps = -(-len(training.labels) // recipe.batch)
    resumed = load_checkpoint(model, recipe, data)
    network, history = resumed or (_new_network(recipe, preprocessing, steps), [])
    for epoch in range(len(history), recipe.epochs):
        report = partial(progress.batch, epoch, steps)
        loss = _train_epoch(network, recipe, preprocessing, training, epoch, pool, report)
        figures = _evaluate_averaged(network, preprocessing, validation)
        history.append({"epoch": epoch + 1, "loss": loss, **figures})
        progress.epoch(history[-1])
        save_checkpoint(model, network, recipe, data, history)
    network.optimizer.finalize_variable_values(network.trainable_variables)
    return network, history


def predict(
    network: keras.Model,
    preprocessing: Preprocessing,
    greys: npt.NDArray[np.float32],
    output: str,
) -> npt.NDArray[np.float32]:
    """One output, shape (n, k), for films at the model's size, without holding all tensors at once.

    Args:
        output: ``score`` or ``embedding``.
    """
    parts = [
        network.predict_on_batch(preprocessing.normalise(greys[start : start + 64]))[output]
        for start in range(0, len(greys), 64)
    ]
    return np.concatenate(parts)


def _new_network(recipe: Recipe, preprocessing: Preprocessing, steps: int) -> keras.Model:
    keras.utils.set_random_seed(recipe.seed)
    network = build(recipe.architecture, preprocessing.shape)
    if recipe.pretrained and recipe.architecture == DEFAULT:
        load_imagenet_weights(network)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / 20,
        decay_steps=max(1, steps * (recipe.epochs - 1)),
        warmup_target=recipe.learning_rate,
        warmup_steps=steps,
    )
    optimizer = LayerwiseAdamW(
        recipe.multipliers,
        learning_rate=schedule,
        weight_decay=recipe.weight_decay,
        use_ema=True,
        # A short training averages over its last tenth, not over its random beginning.
        ema_momentum=min(recipe.averaging, max(0.0, 1 - 10 / (steps * recipe.epochs))),
        ema_overwrite_frequency=None,
    )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    # TensorFlow's XLA on a CPU is eleven times slower here than its ordinary kernels.
    jit = keras.backend.backend() == "jax"
    network.compile(optimizer, loss={"score": loss, "embedding": None}, jit_compile=jit)
    return network


def _train_epoch(
    network: Any,
    recipe: Recipe,
    preprocessing: Preprocessing,
    training: FilmSet[Bytes],
    epoch: int,
    pool: Executor,
    report: Callable[[int, float], None],
) -> float:
    weights = class_weights(training.labels)
    one_hot = np.eye(len(CLASSES), dtype=np.float32)
    losses = []
    batches = augmented_batches(
        training.greys, preprocessing, recipe.batch, (recipe.seed, epoch), pool
    )
    for done, (indices, tensors) in enumerate(batches, start=1):
        own = training.labels[indices]
        network.reset_metrics()
        loss = network.train_on_batch(tensors, {"score": one_hot[own]}, {"score": weights[own]})
        losses.append(float(np.ravel(loss)[0]))
        report(done, float(np.mean(losses)))
    return float(np.mean(losses))


def _evaluate_averaged(
    network: Any, preprocessing: Preprocessing, validation: FilmSet[npt.NDArray[np.float32]]
) -> dict[str, float]:
    """Validation figures of the averaged weights; the weights in training stay as they are."""
    raw = [variable.numpy() for variable in network.trainable_variables]
    network.optimizer.finalize_variable_values(network.trainable_variables)
    scores = predict(network, preprocessing, validation.greys, "score")
    for variable, value in zip(network.trainable_variables, raw, strict=True):
        variable.assign(value)
    p = scores[:, POSITIVE].astype(np.float64)
    return {
        "val_loss": float(log_loss(validation.labels, p, labels=[0, 1])),
        "val_accuracy": float(np.mean((p >= 0.5) == validation.labels)),
        "val_auroc": float(roc_auc_score(validation.labels, p)),
    }
