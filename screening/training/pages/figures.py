"""Pictures of how a model was fitted and how well it tells films apart, for its card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from screening.findings import CLASSES
from screening.report.intervals import Figure
from screening.report.pages.drawing import BLUE, GREEN, GREY, ORANGE, VERMILION, drawn, printable
from screening.report.pages.performance import (
    Side,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_thresholds,
)
from screening.training.measure.evaluation import TEST, TRAINING, VALIDATION, Evaluated, number

# Dashes and markers tell apart what colours do not on paper.
_SIDES: Final[dict[str, dict[str, Any]]] = {
    TRAINING: {"color": GREY, "linestyle": ":"},
    VALIDATION: {"color": BLUE, "linestyle": "-"},
    TEST: {"color": VERMILION, "linestyle": "--"},
}

_ELSEWHERE: Final = (
    ("balanced_accuracy", "balanced accuracy", "s", ORANGE),
    ("auroc_normals", "AUROC, its normals among pneumonias from here", "^", GREEN),
    ("auroc", "AUROC", "o", BLUE),
)
_LOSSES: Final = {
    "loss": ("training (augmented films)", _SIDES[TRAINING]),
    "val_loss": ("validation", _SIDES[VALIDATION]),
}
_SHARES: Final = {
    "accuracy": ("accuracy, training (augmented films)", _SIDES[TRAINING]),
    "val_accuracy": ("accuracy, validation", _SIDES[VALIDATION]),
    "val_auroc": ("AUROC, validation", {"color": GREEN, "linestyle": "-."}),
}


def draw_learning(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """``learning_loss.png`` and ``learning_accuracy.png``: the history by epoch.

    Args:
        history: a row for each epoch, with ``epoch``. What no row has is left out; a gap stays one.
    """
    for name, lines, ylabel in (("loss", _LOSSES, "cross-entropy"), ("accuracy", _SHARES, "share")):
        with drawn(folder / f"learning_{name}.png", 4.6, 3.6) as figure:
            _learning(figure.subplots(), history, lines, ylabel)


def draw_performance(
    folder: Path, sides: Sequence[Evaluated], threshold: float, metrics: Mapping[str, Any]
) -> None:
    """Curves over all thresholds, and what happens at the chosen one.

    Writes ``roc.png`` and ``precision_recall.png``, which show all sides, and for each side
    ``confusion_SIDE.png``, ``reliability_SIDE.png``, ``scores_SIDE.png``, ``thresholds_SIDE.png``.

    Args:
        sides: validation, and test where there is one; each with films of both classes.
        threshold: from which calibrated probability on a film is called pneumonia.
        metrics: by name of the side what :meth:`Evaluated.metrics` gives.
    """
    drawn_sides = [_side(side, metrics[side.name]) for side in sides]
    draw_roc(folder / "roc.png", drawn_sides)
    draw_precision_recall(folder / "precision_recall.png", drawn_sides)
    for side in drawn_sides:
        draw_confusion(folder / f"confusion_{side.name}.png", side, threshold)
        draw_reliability(folder / f"reliability_{side.name}.png", side)
        probability, positive = side.films.probability, side.films.positive
        by_class = dict(zip(CLASSES, (probability[~positive], probability[positive]), strict=True))
        draw_scores(folder / f"scores_{side.name}.png", by_class, threshold, side.title)
        draw_thresholds(folder / f"thresholds_{side.name}.png", side, threshold)


def draw_elsewhere(folder: Path, elsewhere: Mapping[str, Mapping[str, Any]]) -> None:
    """``elsewhere.png``: AUROCs and balanced accuracy at each simulated hospital, worst on top.

    Nothing is drawn without a hospital that has an AUROC.

    Args:
        elsewhere: metrics by name of the hospital; each a number or ``{value, …}``.
    """
    aurocs = {name: number(row.get("auroc")) for name, row in elsewhere.items()}
    known = {name: auroc for name, auroc in aurocs.items() if auroc is not None}
    names = sorted(known, key=lambda name: known[name])
    if names:
        with drawn(folder / "elsewhere.png", 6.2, 1.6 + 0.3 * len(names)) as figure:
            _elsewhere(figure.subplots(), names[::-1], elsewhere)
            figure.legend(loc="outside lower center", ncols=2)


def _side(side: Evaluated, metrics: Mapping[str, Any]) -> Side:
    figures = {name: Figure(**value) for name, value in metrics.items() if "ci_low" in value}
    return Side(side.name, side.scored(), figures, _SIDES[side.name])


def _learning(
    axes: Axes,
    history: Sequence[Mapping[str, float]],
    lines: dict[str, tuple[str, dict[str, Any]]],
    ylabel: str,
) -> None:
    epochs = [row["epoch"] for row in history]
    for column, (label, style) in lines.items():
        values = np.array([row.get(column, np.nan) for row in history], np.float64)
        if np.isfinite(values).any():
            axes.plot(epochs, values, marker=".", label=label, **style)
            axes.legend()
    axes.set(xlabel="epoch", ylabel=ylabel, title="Loss" if lines is _LOSSES else "Accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _elsewhere(axes: Axes, names: list[str], elsewhere: Mapping[str, Mapping[str, Any]]) -> None:
    for metric, label, marker, color in _ELSEWHERE:
        values = np.array([number(elsewhere[n].get(metric)) for n in names], np.float64)
        if not np.isfinite(values).any():
            continue
        rows = np.arange(len(names))
        axes.plot(values, rows, marker, color=color, markersize=7, label=label)
        worst = int(np.nanargmin(values))
        axes.plot(values[worst], worst, "o", markersize=14, markerfacecolor="none", color="black")
        axes.annotate(
            f"{values[worst]:.3f}", (values[worst], worst), (-12, 0), fontsize="small",
            textcoords="offset points", ha="right", va="center",
        )  # fmt: skip
    axes.plot([], [], "o", markersize=11, markerfacecolor="none", color="black", label="worst")
    axes.set_yticks(range(len(names)), [printable(n) for n in names], parse_math=False)
    # Room for the worst value on the left; nothing is above 1.
    low = axes.dataLim.x0
    axes.set(xlim=(low - 0.2 * (1.01 - low), 1 + 0.03 * (1.01 - low)))
    axes.set(xlabel="films as each hospital would have delivered them", title="Simulated hospitals")
