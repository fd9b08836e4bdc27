"""Fit a network with augmented films, averaged weights and a checkpoint after each epoch."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import keras
import numpy as np
import numpy.typing as npt
from sklearn.metrics import log_loss, precision_score, recall_score, roc_auc_score

from screening.errors import TrainingDataError
from screening.files import atomic_directory
from screening.model.preprocess import Preprocessing
from screening.results import CLASSES, POSITIVE
from screening.training.batches import (
    Material,
    augmented_batches,
    batches_of_epoch,
    class_weights,
    soft_targets,
)
from screening.training.data.dataset import Bytes, Labels
from screening.training.film_edits import soft_mask
from screening.training.imagenet import load_imagenet_weights
from screening.training.networks import DEFAULT, LayerwiseAdamW, build, factor_of
from screening.training.recipe import BFLOAT16, Recipe

#: Message if :func:`compute_in_order` is too late.
TOO_LATE: Final = "TensorFlow is already in use: the same seed may give slightly different figures"


def compute_in_order() -> bool:
    """Make TensorFlow run its operations one after another, each still on all cores.

    Otherwise TensorFlow sums the gradients of a tensor in the order in which they become ready. In
    floating point the sums then differ, and the figures of the finished model vary by a hundredth.

    Returns:
        False if this process has already used TensorFlow, so that the setting has no effect.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return False
    return True


_PREFIX: Final = "checkpoint-"
_NETWORK: Final = "network.keras"
_STATE: Final = "state.json"

History = list[dict[str, float]]


def save_checkpoint(
    model: Path, network: keras.Model, recipe: Recipe, data: str, history: History
) -> None:
    """Write the state after ``len(history)`` epochs, then remove the previous checkpoint."""
    older = _checkpoints(model)
    with atomic_directory(model / f"{_PREFIX}{len(history):04}") as folder:
        network.save(folder / _NETWORK)
        state = {"recipe": asdict(recipe), "data": data, "history": history}
        (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")
    for folder in older:
        shutil.rmtree(folder)


def load_checkpoint(model: Path, recipe: Recipe, data: str) -> tuple[keras.Model, History] | None:
    """Load the network and history to resume from; None if no checkpoint exists.

    Raises:
        TrainingDataError: if the checkpoint was made with other films or settings.
    """
    if not (checkpoints := _checkpoints(model)):
        return None
    folder = checkpoints[-1]
    state: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    if state["recipe"] != asdict(recipe) or state["data"] != data:
        raise TrainingDataError(
            f"{folder} was made with other films or settings; "
            "use the same ones to continue, or another --out to start again"
        )
    network = keras.saving.load_model(
        folder / _NETWORK, custom_objects={"LayerwiseAdamW": LayerwiseAdamW}
    )
    return network, state["history"]


def remove_checkpoints(model: Path) -> None:
    """Remove all checkpoints once the training is finished."""
    for folder in _checkpoints(model):
        shutil.rmtree(folder)


def _checkpoints(model: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(model.glob(f"{_PREFIX}*"))


# Batch size for inference.
_AT_ONCE: Final = 64

Pixels = TypeVar("Pixels", Bytes, npt.NDArray[np.float32])


@dataclass(frozen=True, eq=False)
class FilmSet(Generic[Pixels]):
    """Films at the model's size, shape (n, rows, columns), with their class indices.

    Attributes:
        greys: 0..255 for training, where augmentation changes them anyway; for validation 0..1 in
            float32, exactly as a screening run passes them to the network.
        lungs: lung fields of training films, shape (n, rows, columns), 0 or 255; None if unknown.
        strata: source and view of each film, see
            :func:`screening.training.data.manifest.strata_of`; all 0 by default.
        confidence: probability that each label is right, 0.5 to 1; all 1 by default.
    """

    greys: Pixels
    labels: Labels
    lungs: Bytes | None = None
    strata: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    confidence: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def __post_init__(self) -> None:
        if not len(self.strata):
            object.__setattr__(self, "strata", np.zeros(len(self.labels), np.int64))
        if not len(self.confidence):
            object.__setattr__(self, "confidence", np.ones(len(self.labels), np.float32))

    def only(self, indices: npt.NDArray[np.int64]) -> Self:
        """The films at these indices; self if these are all films in their order."""
        if np.array_equal(indices, np.arange(len(self.labels))):
            return self
        return replace(
            self,
            greys=self.greys[indices],
            labels=self.labels[indices],
            lungs=None if self.lungs is None else self.lungs[indices],
            strata=self.strata[indices],
            confidence=self.confidence[indices],
        )


class Progress(Protocol):
    """Receives the progress of a training."""

    def say(self, line: str) -> None:
        """Report one line of text."""

    def batch(self, epoch: int, batches: int, done: int, loss: float) -> None:
        """Report a finished batch."""

    def epoch(self, row: dict[str, float]) -> None:
        """Report a finished epoch; `row` is its row of the history."""


@keras.saving.register_keras_serializable("screening")
class OutsideEvidence(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """Penalty on evidence in the map, for or against pneumonia, outside the lungs.

    A network whose score is the mean of its map then has to find its evidence in the lungs. The
    class is registered with Keras because a checkpoint contains it.

    Args:
        weight: factor on a film's mean evidence outside the lungs.
    """

    def __init__(self, weight: float, **options: Any) -> None:
        super().__init__(**options)
        self.weight = weight

    def call(self, coverage: Any, cells: Any) -> Any:
        """The penalty of each film, shape (n,).

        Args:
            coverage: share of each cell that is lung, shape (n, r, c, 1).
            cells: the map, shape (n, r, c, 2).
        """
        evidence = keras.ops.abs(cells[..., POSITIVE] - cells[..., 1 - POSITIVE])
        outside = keras.ops.cast(1 - coverage[..., 0], evidence.dtype)
        return self.weight * keras.ops.mean(evidence * outside, axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        """The arguments needed to build the same penalty."""
        return {**super().get_config(), "weight": self.weight}


def fit(
    recipe: Recipe,
    preprocessing: Preprocessing,
    training: FilmSet[Bytes],
    validation: FilmSet[npt.NDArray[np.float32]],
    model: Path,
    data: str,
    *,
    pool: Executor,
    progress: Progress,
) -> tuple[keras.Model, History]:
    """Train a network, or resume an interrupted training.

    Args:
        model: folder for the checkpoint.
        data: fingerprint of the films; a checkpoint of other films is refused.
        pool: augments films while the network trains.

    Returns:
        The network with averaged weights, and one history row for each epoch.
    """
    if not compute_in_order():
        progress.say(TOO_LATE)
    steps = len(batches_of_epoch(recipe, training.labels, training.strata, 0))
    resumed = load_checkpoint(model, recipe, data)
    network, history = resumed or (_new_network(recipe, preprocessing, steps), [])
    # The network as deployed: averaged weights, and float32 whatever the training precision.
    deployed = build(recipe.architecture, preprocessing.shape)
    material = _material(training, network, recipe, pool)
    for epoch in range(len(history), recipe.epochs):
        started = time.perf_counter()
        report = partial(progress.batch, epoch, steps)
        figures = _train_epoch(
            network, recipe, preprocessing, training, material, epoch, pool=pool, report=report
        )
        deployed.set_weights(_averaged_weights(network))
        figures |= _evaluate(deployed, preprocessing, validation)
        seconds = round(time.perf_counter() - started, 1)
        history.append({"epoch": epoch + 1, **figures, "seconds": seconds})
        progress.epoch(history[-1])
        save_checkpoint(model, network, recipe, data, history)
    deployed.set_weights(_averaged_weights(network))
    return deployed, history


def predict(
    network: keras.Model,
    preprocessing: Preprocessing,
    greys: npt.NDArray[np.float32] | Bytes,
    output: str,
) -> npt.NDArray[np.float32]:
    """Compute one output, shape (n, k), of films at the model's size, in batches to limit memory.

    Args:
        greys: at least one film, shape (n, rows, columns), 0..1 in float32 or 0..255 in bytes.
        output: ``score`` or ``embedding``.
    """
    parts = []
    for start in range(0, len(greys), _AT_ONCE):
        part = greys[start : start + _AT_ONCE].astype(np.float32)
        if greys.dtype == np.uint8:
            part /= np.float32(255)
        parts.append(network.predict_on_batch(preprocessing.normalise(part))[output])
    return np.concatenate(parts)


def _new_network(recipe: Recipe, preprocessing: Preprocessing, steps: int) -> keras.Model:
    keras.utils.set_random_seed(recipe.seed)
    with _computing_in(recipe.precision):
        network = build(recipe.architecture, preprocessing.shape)
    if recipe.pretrained and recipe.architecture == DEFAULT:
        load_imagenet_weights(network)
    for layer in network.layers:
        # Frozen layers need no gradients, and their norms keep their statistics.
        layer.trainable = factor_of(recipe.multipliers, layer.name) > 0
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
        # A short training averages over its last tenth and leaves out its random start.
        ema_momentum=min(recipe.averaging, max(0.0, 1 - 10 / (steps * recipe.epochs))),
        ema_overwrite_frequency=None,
    )
    losses = dict.fromkeys(network.output_names)
    losses["score"] = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    if recipe.outside_evidence and "map" in losses:
        losses["map"] = OutsideEvidence(recipe.outside_evidence)
    # On a CPU, TensorFlow's XLA is eleven times slower here than its ordinary kernels.
    jit = keras.backend.backend() == "jax"
    network.compile(optimizer, losses, metrics={"score": ["accuracy"]}, jit_compile=jit)
    return network


def _material(training: FilmSet[Bytes], network: Any, recipe: Recipe, pool: Executor) -> Material:
    """The training films, with the lung data that the recipe needs.

    Raises:
        ValueError: if the recipe needs lung fields and they are unknown.
    """
    if not recipe.needs_lungs:
        return Material(training.greys)
    if training.lungs is None:
        raise ValueError("the recipe needs the lung fields of the training films")
    alphas = None
    if recipe.exchange:
        softened = pool.map(lambda lungs: np.rint(255 * soft_mask(lungs > 0)), training.lungs)
        alphas = np.stack([alpha.astype(np.uint8) for alpha in softened])
    cells = None
    if recipe.outside_evidence and "map" in network.output_names:
        cells = tuple(network.get_layer("map").output.shape[1:3])
    return Material(training.greys, training.lungs, alphas, cells)


@contextmanager
def _computing_in(precision: str) -> Iterator[None]:
    """Make layers created here compute in `precision`; weights are float32 in any case."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == BFLOAT16 else before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _train_epoch(
    network: Any,
    recipe: Recipe,
    preprocessing: Preprocessing,
    training: FilmSet[Bytes],
    material: Material,
    epoch: int,
    *,
    pool: Executor,
    report: Callable[[int, float], None],
) -> dict[str, float]:
    """Train for one pass; return loss and accuracy on the augmented films."""
    weights = np.ones(len(CLASSES), np.float32)
    if not recipe.balanced:
        weights = class_weights(training.labels)
    expected = soft_targets(training.labels, training.confidence)
    seed = (recipe.seed, epoch)
    order = batches_of_epoch(recipe, training.labels, training.strata, epoch)
    batches = augmented_batches(material, preprocessing, order, recipe, epoch, pool)
    _reseed(network, seed)
    sums = np.zeros(3)
    for done, (indices, tensors, coverage) in enumerate(batches, start=1):
        own = training.labels[indices]
        # Keras expects a target and a weight for every output, also for those without a loss.
        targets = dict.fromkeys(network.output_names, weights[own])
        each = dict.fromkeys(network.output_names, weights[own])
        targets["score"] = expected[indices]
        if coverage is not None:
            targets["map"] = coverage
        answer = network.train_on_batch(tensors, targets, each, return_dict=True)
        sums += len(own) * np.array([answer["loss"], answer["score_accuracy"], 1.0])
        report(done, float(sums[0] / sums[2]))
    return {"loss": float(sums[0] / sums[2]), "accuracy": float(sums[1] / sums[2])}


def _reseed(network: Any, seed: tuple[int, int]) -> None:
    """Seed dropout from seed and epoch, because its state is not saved with a network."""
    for number, layer in enumerate(network.layers):
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign(np.array([seed[0] + number, seed[1]], np.uint32))


def _averaged_weights(network: Any) -> list[npt.NDArray[np.float32]]:
    """All weights, the trainable ones as moving averages; the network itself is not changed.

    Nothing may run between the two assignments: two variables then share one array, which JAX
    would donate.
    """
    raw = [keras.ops.convert_to_numpy(variable).copy() for variable in network.trainable_variables]
    network.optimizer.finalize_variable_values(network.trainable_variables)
    averaged = [weight.copy() for weight in network.get_weights()]
    for variable, value in zip(network.trainable_variables, raw, strict=True):
        variable.assign(value)
    return averaged


def _evaluate(
    network: keras.Model,
    preprocessing: Preprocessing,
    validation: FilmSet[npt.NDArray[np.float32]],
) -> dict[str, float]:
    scores = predict(network, preprocessing, validation.greys, "score")
    p = scores[:, POSITIVE].astype(np.float64)
    return {
        "val_loss": float(log_loss(validation.labels, p, labels=[0, 1])),
        "val_accuracy": float(np.mean((p >= 0.5) == validation.labels)),
        "val_auroc": float(roc_auc_score(validation.labels, p)),
        "val_precision": float(precision_score(validation.labels, p >= 0.5, zero_division=0)),
        "val_recall": float(recall_score(validation.labels, p >= 0.5)),
    }
