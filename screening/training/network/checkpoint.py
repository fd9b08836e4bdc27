"""Where a training stands: written after each epoch, so that an interrupt costs one epoch."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import keras

from screening.errors import TrainingDataError
from screening.training.network.optimiser import LayerwiseAdamW
from screening.training.network.recipe import Recipe
from screening.whole import whole

_PREFIX: Final = "checkpoint-"
_NETWORK: Final = "network.keras"
_STATE: Final = "state.json"

History = list[dict[str, float]]


def save_checkpoint(
    model: Path, network: keras.Model, recipe: Recipe, data: str, history: History
) -> None:
    """Write the state after ``len(history)`` epochs; only then remove the one before."""
    older = _checkpoints(model)
    with whole(model / f"{_PREFIX}{len(history):04}") as folder:
        network.save(folder / _NETWORK)
        state = {"recipe": asdict(recipe), "data": data, "history": history}
        (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")
    for folder in older:
        shutil.rmtree(folder)


def load_checkpoint(model: Path, recipe: Recipe, data: str) -> tuple[keras.Model, History] | None:
    """The network and history to go on from, or None if there is no checkpoint.

    Raises:
        TrainingDataError: if the checkpoint belongs to other films or settings.
    """
    if not (checkpoints := _checkpoints(model)):
        return None
    folder = checkpoints[-1]
    state: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    if state["recipe"] != asdict(recipe) or state["data"] != data:
        raise TrainingDataError(
            f"{folder} was made with other films or settings; "
            "use the same ones to go on, or another --out to start anew"
        )
    network = keras.saving.load_model(
        folder / _NETWORK, custom_objects={"LayerwiseAdamW": LayerwiseAdamW}
    )
    return network, state["history"]


def remove_checkpoints(model: Path) -> None:
    """The training is finished; only the model stays."""
    for folder in _checkpoints(model):
        shutil.rmtree(folder)


def _checkpoints(model: Path) -> list[Path]:
    """Whole ones, oldest first."""
    return sorted(model.glob(f"{_PREFIX}*"))
