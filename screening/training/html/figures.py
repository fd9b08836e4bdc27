"""Draw the figures of a model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from screening.report.html.components import BLUE, GREEN, GREY, ORANGE, VERMILION, drawable, drawn
from screening.report.html.performance_figures import (
    Side,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_thresholds,
)
from screening.report.intervals import Figure
from screening.results import CLASSES
from screening.training.html.card_sections import TESTS
from screening.training.scored_split import TEST, TRAINING, VALIDATION, ScoredSplit, number

# Dashes and markers separate the sides in black-and-white print.
_SIDES: Final[dict[str, dict[str, Any]]] = {
    TRAINING: {"color": GREY, "linestyle": ":"},
    VALIDATION: {"color": BLUE, "linestyle": "-"},
    TEST: {"color": VERMILION, "linestyle": "--"},
}

_ELSEWHERE: Final = (
    ("balanced_accuracy", "balanced accuracy", "s", ORANGE),
    ("auroc_normals", "AUROC of its normal films against unchanged pneumonia films", "^", GREEN),
    ("auroc", "AUROC", "o", BLUE),
)
_DRAWN_TESTS: Final = (
    "original",
    "outside_exchanged",
    "lungs_hidden",
    "markers_pasted",
    "markers_removed",
)
# Colour and marker of films of each class.
_LABELS: Final = ((BLUE, "o"), (VERMILION, "^"))
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
    """Draw ``learning_loss.png`` and ``learning_accuracy.png``: the history by epoch.

    Args:
        history: a row for each epoch, with ``epoch``. Columns without values are omitted; missing
            values leave a gap.
    """
    for name, lines, ylabel in (("loss", _LOSSES, "cross-entropy"), ("accuracy", _SHARES, "share")):
        with drawn(folder / f"learning_{name}.png", 4.6, 3.6) as figure:
            _learning(figure.subplots(), history, lines, ylabel)


def draw_performance(
    folder: Path, sides: Sequence[ScoredSplit], threshold: float, metrics: Mapping[str, Any]
) -> None:
    """Draw curves over all thresholds, and the results at the chosen one.

    Writes ``roc.png`` and ``precision_recall.png``, which show all sides, and for each side
    ``confusion_SIDE.png``, ``reliability_SIDE.png``, ``scores_SIDE.png``, ``thresholds_SIDE.png``.

    Args:
        sides: validation, and test if there is one; each with films of both classes.
        threshold: calibrated probability from which a film is called pneumonia.
        metrics: results of :meth:`ScoredSplit.metrics` by name of the side.
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
    """Draw ``elsewhere.png``: AUROCs and balanced accuracy by simulated hospital, worst on top.

    Nothing is drawn if no hospital has an AUROC.

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


def draw_reasons(folder: Path, reasons: Mapping[str, Any]) -> None:
    """Draw ``reasons.png``: the AUROC on unchanged and on changed films.

    Nothing is drawn without such tests.

    Args:
        reasons: results of one side, from :func:`screening.training.robustness.measure_reasons`.
    """
    figures = {
        TESTS[name][0]: reasons["tests"][name]["auroc"]
        for name in _DRAWN_TESTS
        if number(reasons.get("tests", {}).get(name, {}).get("auroc")) is not None
    }
    if figures:
        with drawn(folder / "reasons.png", 6.2, 1.2 + 0.3 * len(figures)) as figure:
            own = figure.subplots()
            for row, each in enumerate(reversed(figures.values())):
                _with_interval(own, each, row, BLUE, "o")
            own.set_yticks(range(len(figures)), [*reversed(figures)])
            own.axvline(0.5, color=GREY, linestyle=":", linewidth=1.2)
            own.set(xlim=(-0.02, 1.02), xlabel="AUROC", title="Changed films")


def draw_share_called(folder: Path, groups: Mapping[str, Any]) -> None:
    """Draw ``share_called.png``: the share of films called, by source, view and label.

    Nothing is drawn for a single group.

    Args:
        groups: results of one side, from :func:`screening.training.subgroups.subgroups`.
    """
    views = groups.get("source_view", [])
    with_views = {row["source"] for row in views}
    rows = [row for row in groups.get("source", []) if row["source"] not in with_views] + views
    if len(rows) < 2:
        return
    with drawn(folder / "share_called.png", 6.2, 1.4 + 0.36 * len(rows)) as figure:
        own = figure.subplots()
        for place, row in enumerate(rows[::-1]):
            for label, shift in ((0, 0.12), (1, -0.12)):
                share = _share_called(row, label)
                if share is not None:
                    _with_interval(own, share, place + shift, *_LABELS[label], hollow=row["weak"])
        for name, (color, marker) in zip(CLASSES, _LABELS, strict=True):
            own.plot([], [], marker, color=color, label=f"labelled {name}")
        names = [", ".join(filter(None, (row["source"], row.get("view")))) for row in rows[::-1]]
        own.set_yticks(
            range(len(rows)), [drawable(name or "no source given") for name in names],
            parse_math=False,
        )  # fmt: skip
        own.set(xlim=(-0.02, 1.02), xlabel="share flagged as pneumonia", title="By source and view")
        figure.legend(loc="outside lower center", ncols=2)


def _share_called(row: Mapping[str, Any], label: int) -> Mapping[str, Any] | None:
    """The share called of the films with this label, as a figure; None if there are none."""
    if row["positives"] == (row["n"] if label else 0):
        return dict(row["share_called"])
    if label:
        return row.get("sensitivity")
    specificity = row.get("specificity")
    if specificity is None:
        return None
    ends = {"value": "value", "ci_low": "ci_high", "ci_high": "ci_low"}
    known = {name: specificity[end] for name, end in ends.items()}
    return {name: None if end is None else 1 - end for name, end in known.items()}


def _with_interval(
    axes: Axes,
    figure: Mapping[str, Any],
    row: float,
    color: str,
    marker: str,
    hollow: bool = False,
) -> None:
    """Draw a figure as a marker with its interval as a line."""
    face = "none" if hollow else color
    axes.plot(figure["value"], row, marker, color=color, markersize=7, markerfacecolor=face)
    if figure["ci_low"] is not None:
        axes.plot([figure["ci_low"], figure["ci_high"]], [row, row], color=color, zorder=1)


def _side(side: ScoredSplit, metrics: Mapping[str, Any]) -> Side:
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
    axes.set_yticks(range(len(names)), [drawable(n) for n in names], parse_math=False)
    # Leave room for the worst value on the left; nothing is above 1.
    low = axes.dataLim.x0
    axes.set(xlim=(low - 0.2 * (1.01 - low), 1 + 0.03 * (1.01 - low)))
    axes.set(xlabel="films as each hospital would deliver them", title="Simulated hospitals")


_EACH: Final = 4
_TITLES: Final = ("Pneumonia, not flagged", "Normal, flagged as pneumonia")
# Number of images in a row, and the length of the caption below each.
_IMAGES: Final = 4
_NAME: Final = 26
# Inches.
_WIDTH: Final = 7.6
_ROW: Final = 2.3
_HEADING: Final = 0.3


@dataclass(frozen=True)
class Mistakes:
    """Indices into a side's films, the most confident mistake first.

    Attributes:
        missed: pneumonia called normal.
        false_alarms: normal called pneumonia.
    """

    missed: tuple[int, ...]
    false_alarms: tuple[int, ...]

    @property
    def indices(self) -> tuple[int, ...]:
        """All indices, missed films first; the order in which images are passed."""
        return self.missed + self.false_alarms


def worst_mistakes(side: ScoredSplit, each: int = _EACH) -> Mistakes:
    """At most `each` mistakes of both kinds; ties are ordered by film."""
    missed = np.flatnonzero(side.positive & ~side.called)
    alarms = np.flatnonzero(~side.positive & side.called)
    p = side.probabilities
    return Mistakes(
        tuple(missed[np.argsort(p[missed], kind="stable")][:each].tolist()),
        tuple(alarms[np.argsort(-p[alarms], kind="stable")][:each].tolist()),
    )


def draw_mistakes(
    folder: Path,
    side: ScoredSplit,
    mistakes: Mistakes,
    greys: Sequence[npt.ArrayLike],
    overlays: Sequence[npt.ArrayLike] | None = None,
) -> None:
    """Draw ``mistakes_SIDE.png``: each film with its probability and name below.

    Nothing is drawn without mistakes.

    Args:
        greys: the films in the order of ``mistakes.indices``, shape (rows, columns): 0..1 in
            floating point, or 0..255 in uint8.
        overlays: evidence for pneumonia, drawn next to each film: arrays of shape
            (rows, columns, 3) in the same ranges, or Pillow images; of any size.
    """
    if not mistakes.indices:
        return
    films = dict(zip(mistakes.indices, greys, strict=True))
    overlay_of = {} if overlays is None else dict(zip(mistakes.indices, overlays, strict=True))
    kinds = [
        (title, chosen)
        for title, chosen in zip(_TITLES, (mistakes.missed, mistakes.false_alarms), strict=True)
        if chosen
    ]
    across = _IMAGES // 2 if overlay_of else _IMAGES
    rows = [-(-len(chosen) // across) for _title, chosen in kinds]
    height = sum(rows) * _ROW + len(rows) * _HEADING
    with drawn(folder / f"mistakes_{side.name}.png", _WIDTH, height) as figure:
        parts = figure.subfigures(
            len(kinds), 1, squeeze=False, height_ratios=[n * _ROW + _HEADING for n in rows]
        )
        for part, (title, chosen), number in zip(parts[:, 0], kinds, rows, strict=True):
            part.suptitle(title, fontsize="medium", fontweight="bold")
            cells = iter(part.subplots(number, _IMAGES, squeeze=False).flat)
            for index in chosen:
                _show(next(cells), films[index], _caption(side, index))
                if overlay_of:
                    _show(next(cells), overlay_of[index], "evidence for pneumonia")
            for empty in cells:
                empty.set_axis_off()


def _caption(side: ScoredSplit, index: int) -> str:
    name = side.films[index].name.rpartition("/")[2]
    return f"P = {side.probabilities[index]:.3f}\n{drawable(name, _NAME)}"


def _show(axes: Axes, picture: npt.ArrayLike, caption: str) -> None:
    values = np.asarray(picture)
    highest = 255 if values.dtype == np.uint8 else 1
    axes.imshow(values, cmap="gray", vmin=0, vmax=highest)
    axes.set_anchor("N")
    axes.set_xlabel(caption, fontsize="small", parse_math=False)
    axes.set_xticks(())
    axes.set_yticks(())
    axes.spines[:].set_visible(False)
