"""Where a training stands: written after each epoch, so that an interrupt costs one epoch."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import keras

from screening.errors import TrainingDataError
from screening.training.optimiser import LayerwiseAdamW
from screening.training.recipe import Recipe

FOLDER: Final = "checkpoint"
_NETWORK: Final = "network.keras"
_STATE: Final = "state.json"

History = list[dict[str, float]]


def save_checkpoint(
    model: Path, network: keras.Model, recipe: Recipe, data: str, history: History
) -> None:
    """Replace the checkpoint in `model` by the state after ``len(history)`` epochs."""
    aside = model / f".{FOLDER}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    network.save(aside / _NETWORK)
    state = {"recipe": asdict(recipe), "data": data, "history": history}
    (aside / _STATE).write_text(json.dumps(state), encoding="utf-8")
    shutil.rmtree(model / FOLDER, ignore_errors=True)
    aside.rename(model / FOLDER)


def load_checkpoint(model: Path, recipe: Recipe, data: str) -> tuple[keras.Model, History] | None:
    """The network and history to go on from, or None if there is no checkpoint.

    Raises:
        TrainingDataError: if the checkpoint belongs to other films or settings.
    """
    folder = model / FOLDER
    if not folder.is_dir():
        return None
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


def remove_checkpoint(model: Path) -> None:
    """The training is finished; only the model stays."""
    shutil.rmtree(model / FOLDER, ignore_errors=True)
