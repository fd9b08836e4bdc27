"""Write a model folder: card, weights, history, predictions for each film, figures and page."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from screening.inference.heatmap import overlay
from screening.model.card import LUNG_WEIGHTS, WEIGHTS, Card, sha256_of
from screening.training.data.manifest import reliable
from screening.training.fit import History, remove_checkpoints
from screening.training.gradcam import activation
from screening.training.html.card_page import FIGURES, write_page
from screening.training.html.card_sections import last_side
from screening.training.html.figures import (
    draw_elsewhere,
    draw_learning,
    draw_mistakes,
    draw_performance,
    draw_reasons,
    draw_share_called,
    worst_mistakes,
)
from screening.training.scored_split import TEST, TRAINING, VALIDATION, ScoredSplit
from screening.training.serialise import save_network

HISTORY: Final = "history.csv"

Greys = npt.NDArray[np.float32]


def write_model(
    model: Path,
    network: keras.Model,
    card: Card,
    history: History,
    sides: Sequence[ScoredSplit],
    *,
    greys: Greys,
    lungs: Path,
) -> Card:
    """Write the folder; the weights get their final name last, so they mark it as complete.

    Args:
        sides: training, validation and, if there is one, test. Figures show films with reliable
            labels, as the card does; the CSV files list all films, so that each can be found.
        greys: films of the last side, shape (n, rows, columns), 0..1.
        lungs: file of the lung network; it is copied into the folder.

    Returns:
        The card with the hash of the weights.
    """
    temporary = model / f".{WEIGHTS.removesuffix('.keras')}.aside.keras"
    save_network(network, temporary)
    card = card.with_weights(sha256_of(temporary))
    copy_lungs(lungs, model)
    card.write(model)
    pd.DataFrame(history).to_csv(model / HISTORY, index=False)
    held_out = [side for side in sides if side.name != TRAINING]
    for side in held_out:
        pd.DataFrame(side.columns()).to_csv(model / f"{side.name}.csv", index=False)
    figures = model / FIGURES
    figures.mkdir(exist_ok=True)
    draw_learning(figures, history)
    metrics = {VALIDATION: card.metrics, TEST: card.test}
    measured = [side.at(reliable(side.films)) for side in held_out if metrics[side.name]]
    draw_performance(figures, measured, card.operating_point.threshold, metrics)
    draw_elsewhere(figures, card.elsewhere)
    draw_reasons(figures, last_side(card.reasons)[1])
    draw_share_called(figures, last_side(card.subgroups)[1])
    sure = reliable(sides[-1].films)
    _draw_mistakes(figures, network, card, sides[-1].at(sure), greys[sure])
    write_page(model, card)
    temporary.rename(model / WEIGHTS)
    remove_checkpoints(model)
    return card


def copy_lungs(lungs: Path, model: Path) -> None:
    """Copy the lung network into the model folder, unless it is already there."""
    target = model / LUNG_WEIGHTS
    if not target.exists() or not lungs.samefile(target):
        shutil.copyfile(lungs, target)


def _draw_mistakes(
    figures: Path,
    network: keras.Model,
    card: Card,
    side: ScoredSplit,
    greys: Greys,
) -> None:
    mistakes = worst_mistakes(side)
    if not mistakes.indices:
        return
    films = greys[list(mistakes.indices)]
    maps = activation(network, card.preprocessing.normalise(films))
    overlays = None
    if maps is not None:
        odds = card.beyond_threshold(maps)
        overlays = [np.asarray(overlay(*pair)) for pair in zip(films, odds, strict=True)]
    draw_mistakes(figures, side, mistakes, list(films), overlays)
