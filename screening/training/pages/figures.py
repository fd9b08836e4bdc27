"""Pictures of how well a model tells films apart, for its card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from screening.findings import CLASSES
from screening.report.intervals import share
from screening.report.metrics import calibration_error, confusion
from screening.training.measure.evaluation import TEST, TRAINING, VALIDATION, Evaluated, number
from screening.training.pages.bands import Curve, Sweep
from screening.training.pages.drawing import BLUE, GREEN, GREY, ORANGE, VERMILION, drawn, printable

# Dashes and markers tell apart what colours do not on paper.
_SIDES: Final[dict[str, dict[str, Any]]] = {
    TRAINING: {"color": GREY, "linestyle": ":"},
    VALIDATION: {"color": BLUE, "linestyle": "-"},
    TEST: {"color": VERMILION, "linestyle": "--"},
}
_FINDINGS: Final[tuple[dict[str, Any], ...]] = (
    {"facecolor": BLUE, "edgecolor": "white"},
    {"facecolor": ORANGE, "edgecolor": "white", "hatch": "////"},
)
_BINS: Final = 10
# Fewer films make no bin of their own.
_BIN_FILMS: Final = 10
# From this area on a curve sticks to its corner, and the corner is drawn once more, larger.
_CORNER: Final = 0.95

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
    sweeps = {side.name: Sweep(side.scored()) for side in sides}
    with drawn(folder / "roc.png", 4.6, 4.6) as figure:
        _roc(figure.subplots(), sweeps, metrics)
    with drawn(folder / "precision_recall.png", 4.6, 4.6) as figure:
        _precision_recall(figure.subplots(), sweeps, metrics)
    for side in sides:
        with drawn(folder / f"confusion_{side.name}.png", 4.6, 3.6) as figure:
            _confusion(figure.subplots(), side, threshold)
        with drawn(folder / f"reliability_{side.name}.png", 4.6, 5.2) as figure:
            _reliability(figure, side)
        with drawn(folder / f"scores_{side.name}.png", 4.6, 3.6) as figure:
            _scores(figure.subplots(), side, threshold)
        with drawn(folder / f"thresholds_{side.name}.png", 4.6, 3.6) as figure:
            _thresholds(figure.subplots(), side.name, sweeps[side.name], threshold)


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


def _roc(axes: Axes, sweeps: Mapping[str, Sweep], metrics: Mapping[str, Any]) -> None:
    curves = {name: sweep.roc() for name, sweep in sweeps.items()}
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.8, linestyle=":")

    def draw(axes: Axes) -> None:
        for name, curve in curves.items():
            own = metrics[name]
            _curve(axes, curve, f"{name}, AUROC {_written(own['auroc'])}", _SIDES[name])
            _cross(axes, _complement(own["specificity"]), own["recall"], _SIDES[name]["color"])

    draw(axes)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", aspect="equal")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
    if min(number(own["auroc"]) or 0 for own in metrics.values()) >= _CORNER:
        corner = _enlarged(axes, (0.36, 0.36, 0.6, 0.5))
        draw(corner)
        corner.set(xlim=(-0.005, 0.2), ylim=(0.8, 1.005))


def _precision_recall(axes: Axes, sweeps: Mapping[str, Sweep], metrics: Mapping[str, Any]) -> None:
    curves = {name: sweep.precision_recall() for name, sweep in sweeps.items()}
    counts = {name: metrics[name]["confusion"] for name in sweeps}

    def draw(axes: Axes) -> None:
        for name, curve in curves.items():
            own, color = metrics[name], _SIDES[name]["color"]
            _curve(axes, curve, f"{name}, AP {_written(own['average_precision'])}", _SIDES[name])
            _cross(axes, own["recall"], own["precision"], color)
            # A model that guesses has the share of pneumonia as its precision.
            guess = (counts[name]["TP"] + counts[name]["FN"]) / sum(counts[name].values())
            axes.axhline(guess, color=color, linewidth=0.8, linestyle=":")

    draw(axes)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision", title="Precision and recall")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower left")
    if min(number(own["average_precision"]) or 0 for own in metrics.values()) >= _CORNER:
        corner = _enlarged(axes, (0.16, 0.22, 0.6, 0.4))
        draw(corner)
        corner.set(xlim=(0.8, 1.005), ylim=(0.9, 1.0025))


def _enlarged(axes: Axes, bounds: tuple[float, float, float, float]) -> Axes:
    corner = axes.inset_axes(bounds)
    corner.tick_params(labelsize="x-small")
    corner.set_title("the corner, enlarged", fontsize="x-small", fontweight="normal")
    return corner


def _confusion(axes: Axes, side: Evaluated, threshold: float) -> None:
    count = confusion(side.scored())
    table = np.array(((count["TN"], count["FP"]), (count["FN"], count["TP"])))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for (row, column), films in np.ndenumerate(table):
        part = shares[row, column]
        color = "white" if part > 0.7 else "black"
        style: dict[str, Any] = {"ha": "center", "color": color}
        axes.text(column, row - 0.04, f"{films:,}", va="bottom", fontsize=17, **style)
        axes.text(
            column, row + 0.08, f"{part:.1%} of {CLASSES[row]}", va="top", fontsize=9, **style
        )
    axes.set_xticks((0, 1), CLASSES)
    axes.set_yticks((0, 1), CLASSES, rotation=90, va="center")
    axes.set(
        xlabel="called", ylabel="label", title=f"{_title(side.name)}, threshold {threshold:.3g}"
    )
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _reliability(figure: Figure, side: Evaluated) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot((0, 1), (0, 1), color=GREY, linewidth=0.8, linestyle=":", label="perfect")
    order = np.argsort(side.probabilities, kind="stable")
    bins = np.array_split(order, max(1, min(_BINS, len(order) // _BIN_FILMS)))
    means = [float(side.probabilities[own].mean()) for own in bins]
    scored = side.scored()
    shares = [share(scored.positive[own], scored.patient[own]) for own in bins]
    values = np.array([(s.value, s.ci_low, s.ci_high) for s in shares], np.float64)
    errors = np.abs(values[:, 1:] - values[:, :1]).T
    upper.errorbar(
        means, values[:, 0], errors, fmt="o", color=_SIDES[side.name]["color"], capsize=3,
        linewidth=1.2, clip_on=False, label=f"{len(bins)} groups of films, 95 % intervals",
    )  # fmt: skip
    error = calibration_error(scored.positive, scored.probability)
    upper.set(ylabel="share with pneumonia", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    upper.set(title=f"{_title(side.name)}: calibration error {error:.3f}")
    upper.legend(loc="lower right")
    lower.hist(side.probabilities, np.linspace(0, 1, 41).tolist(), color=GREY)
    lower.set(xlabel="calibrated P(pneumonia)", ylabel="films")


def _scores(axes: Axes, side: Evaluated, threshold: float) -> None:
    bins = np.linspace(0, 1, 31)
    counts = [
        np.histogram(side.probabilities[side.labels == label], bins)[0]
        for label in range(len(CLASSES))
    ]
    middles, width = (bins[1:] + bins[:-1]) / 2, np.diff(bins)[0] / 2
    for label, name in enumerate(CLASSES):
        x = middles + (label - 0.5) * width
        axes.bar(x, counts[label], width, label=name, **_FINDINGS[label])
    _mark(axes, threshold)
    # Below one there is no film; the lowest bar still needs a height.
    axes.set(yscale="log", ylim=(0.7, None), title=_title(side.name))
    axes.set(xlabel="calibrated P(pneumonia)", ylabel="films (log scale)")
    axes.legend(loc="upper center")


def _thresholds(axes: Axes, name: str, sweep: Sweep, threshold: float) -> None:
    _curve(axes, sweep.sensitivity(), "sensitivity", {"color": VERMILION, "linestyle": "-"})
    _curve(axes, sweep.specificity(), "specificity", {"color": BLUE, "linestyle": "--"})
    _mark(axes, threshold)
    axes.set(xlabel="threshold", ylabel="share", title=_title(name), ylim=(-0.02, 1.02))
    axes.legend(loc="lower center")


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


def _curve(axes: Axes, curve: Curve, label: str, style: Mapping[str, Any]) -> None:
    axes.plot(curve.x, curve.y, label=label, **style)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(
            curve.grid, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0
        )


def _cross(axes: Axes, x: Mapping[str, Any], y: Mapping[str, Any], color: str) -> None:
    """The operating point with the intervals of both its coordinates."""
    if x["value"] is None or y["value"] is None:
        return
    across, along = (
        np.array([[f["value"] - f["ci_low"]], [f["ci_high"] - f["value"]]]) for f in (x, y)
    )
    axes.errorbar(
        x["value"], y["value"], along, across, fmt="D", color=color, markeredgecolor="black",
        ecolor="black", markersize=6, elinewidth=1, capsize=2.5, zorder=4,
    )  # fmt: skip


def _complement(figure: Mapping[str, Any]) -> dict[str, Any]:
    """1 - a share, with its interval."""
    value, low, high = (
        None if figure[end] is None else 1 - figure[end] for end in ("value", "ci_low", "ci_high")
    )
    return {"value": value, "ci_low": high, "ci_high": low}


def _written(figure: Mapping[str, Any]) -> str:
    """Value and interval, as short as a legend wants it."""
    if figure["value"] is None:
        return "undefined"
    if figure["ci_low"] is None:
        return f"{figure['value']:.4f}"
    return f"{figure['value']:.4f} ({figure['ci_low']:.4f} to {figure['ci_high']:.4f})"


def _mark(axes: Axes, threshold: float) -> None:
    axes.axvline(threshold, color="black", linewidth=1.2, linestyle="-.", label="threshold")


def _title(name: str) -> str:
    return f"{name.capitalize()} films"
