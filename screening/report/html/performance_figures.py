"""Draw performance figures of labelled films, with bands from resampling patients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet

from screening.model.calibration import Floats
from screening.report.html.components import BLUE, GREY, ORANGE, VERMILION, drawn
from screening.report.intervals import LEVEL, Figure, share
from screening.report.metrics import Scored, calibration_error, confusion
from screening.results import CLASSES

_RESAMPLES: Final = 400

# Most corners of a curve that a picture can show; of more thresholds, this many are used.
_CORNERS: Final = 2000

#: Grid on which bands are drawn and thresholds are evaluated.
GRID: Final[Floats] = np.linspace(0, 1, 401)


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve with its band.

    Attributes:
        x: x coordinates of the curve's corners, shape (k,).
        y: y coordinates of the curve's corners, shape (k,).
        grid: x coordinates of the band, ascending, shape (m,).
        low: lower end of the pointwise 95 % band, shape (m,); None with too few patients.
        high: upper end of the band, shape (m,); None with too few patients.
    """

    x: Floats
    y: Floats
    grid: Floats
    low: Floats | None
    high: Floats | None


# Converts weighted true and false positives, from no film called to all called, to the curve over a
# grid; None if it is undefined for these films.
_Read = Callable[[Floats, Floats], Floats | None]


class Sweep:
    """The thresholds of a set of films, sorted and resampled once for all curves.

    With more films than a picture has pixels, thresholds are thinned evenly by rank, except those
    next to :data:`GRID`.

    Args:
        seed: the same films and seed give the same bands.
    """

    def __init__(self, films: Scored, seed: int = 0) -> None:
        self._seed = seed
        order = np.argsort(-films.probability, kind="stable")
        ordered = films.probability[order]
        # Films with equal probability share a threshold: keep only the last of them.
        ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
        ends = ends[_looked_at(ordered[ends])]
        self._thresholds = ordered[ends]
        self._cells = len(ends)
        # The index of the two thresholds between which a film lies.
        self._cell = np.searchsorted(ends, np.arange(len(order)))
        self._positive = films.positive[order]
        patients, patient = np.unique(films.patient, return_inverse=True)
        self._patients, self._patient = len(patients), patient[order]

    def roc(self) -> Curve:
        """Return sensitivity over 1 - specificity."""
        tp, fp = self._all
        return self._curve(fp / max(fp[-1], 1), tp / max(tp[-1], 1), GRID, _sensitivities)

    def precision_recall(self) -> Curve:
        """Return precision over recall, interpolated as in Davis and Goadrich (ICML 2006)."""
        tp, fp = self._all
        x, y = tp[1:] / max(tp[-1], 1), tp[1:] / (tp[1:] + fp[1:])
        return self._curve(x, y, GRID[1:], _precisions)

    def sensitivity(self) -> Curve:
        """Return sensitivity over the threshold."""
        at = self._steps()
        return self._over_thresholds(lambda tp, _fp: tp[at] / tp[-1] if tp[-1] else None)

    def specificity(self) -> Curve:
        """Return specificity over the threshold."""
        at = self._steps()
        return self._over_thresholds(lambda _tp, fp: 1 - fp[at] / fp[-1] if fp[-1] else None)

    def _over_thresholds(self, read: _Read) -> Curve:
        y = read(*self._all)
        return self._curve(GRID, np.full(len(GRID), np.nan) if y is None else y, GRID, read)

    def _steps(self) -> npt.NDArray[np.intp]:
        """Count the films' own thresholds that reach each threshold of the grid."""
        return np.searchsorted(-self._thresholds, -GRID, side="right")

    def _curve(self, x: Floats, y: Floats, grid: Floats, read: _Read) -> Curve:
        read_ones = (read(tp, fp) for tp, fp in self._resampled)
        draws = [drawn for drawn in read_ones if drawn is not None]
        if not draws:
            return Curve(x, y, grid, None, None)
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.percentile(draws, (tail, 100 - tail), axis=0)
        return Curve(x, y, grid, low, high)

    @cached_property
    def _all(self) -> tuple[Floats, Floats]:
        return self._counts(np.ones(len(self._cell)))

    @cached_property
    def _resampled(self) -> list[tuple[Floats, Floats]]:
        """The counts of each resample; empty if there is only one patient."""
        rng = np.random.default_rng(self._seed)
        resampled = []
        for _ in range(_RESAMPLES if self._patients > 1 else 0):
            chosen = rng.integers(0, self._patients, self._patients)
            times = np.bincount(chosen, minlength=self._patients).astype(np.float64)
            resampled.append(self._counts(times[self._patient]))
        return resampled

    def _counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return weighted true and false positives at each threshold; `weights` in sorted order."""
        tp, fp = (
            np.append(0.0, np.cumsum(np.bincount(self._cell, weights * which, self._cells)))
            for which in (self._positive, ~self._positive)
        )
        return tp, fp


def _looked_at(thresholds: Floats) -> npt.NDArray[np.intp]:
    """Select the thresholds, given in descending order, to draw; return ascending indices."""
    last = len(thresholds) - 1
    if last < _CORNERS:
        return np.arange(last + 1)
    even = np.rint(np.linspace(0, last, _CORNERS)).astype(np.intp)
    # The lowest threshold that reaches each threshold of the grid.
    exact = np.searchsorted(-thresholds, -GRID, side="right") - 1
    return np.unique(np.concatenate([even, exact[exact >= 0]]))


def _sensitivities(tp: Floats, fp: Floats) -> Floats | None:
    if not tp[-1] or not fp[-1]:
        return None
    # Where the curve rises vertically, the interpolation takes the upper end.
    return np.asarray(np.interp(GRID, fp / fp[-1], tp / tp[-1]))


def _precisions(tp: Floats, fp: Floats) -> Floats | None:
    if not tp[-1]:
        return None
    wanted = GRID[1:] * tp[-1]
    # In reverse, so that the fewest false positives are taken where recall is constant.
    false = np.interp(-wanted, -tp[::-1], fp[::-1])
    return np.asarray(wanted / (wanted + false))


# Hatching separates the classes when printed without colours.
_FINDINGS: Final[dict[str, dict[str, Any]]] = {
    CLASSES[0]: {"facecolor": BLUE, "edgecolor": "white"},
    CLASSES[1]: {"facecolor": ORANGE, "edgecolor": "white", "hatch": "////"},
}
_OTHERS: Final[dict[str, Any]] = {"facecolor": GREY, "edgecolor": "white"}
_BINS: Final = 10
# Fewest films in a bin.
_BIN_FILMS: Final = 10
# From this area on a curve stays close to its corner, which is then also drawn enlarged.
_CORNER: Final = 0.95


@dataclass(frozen=True, eq=False)
class Side:
    """Labelled films that are drawn together.

    Attributes:
        name: such as ``validation``, for legends.
        films: at least one film.
        figures: figures by metric; ``auroc``, ``average_precision``, ``precision``, ``recall`` and
            ``specificity`` are used.
        style: colour and dashes of its lines.
    """

    name: str
    films: Scored
    figures: Mapping[str, Figure]
    style: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The title of a picture of this side alone."""
        return f"{self.name.capitalize()} films"

    @cached_property
    def sweep(self) -> Sweep:
        """The thresholds of this side, with one resampling for all curves."""
        return Sweep(self.films)

    def figure(self, metric: str) -> Figure:
        """Return a metric; a figure without a value if it is not known."""
        return self.figures.get(metric, Figure(None, None, None, 0))


def draw_roc(path: Path, sides: Sequence[Side]) -> None:
    """Draw sensitivity over 1 - specificity, with bands and operating points."""
    with drawn(path, 4.6, 4.6) as sheet:
        _roc(sheet.subplots(), sides)


def draw_precision_recall(path: Path, sides: Sequence[Side]) -> None:
    """Draw precision over recall, with bands and operating points."""
    with drawn(path, 4.6, 4.6) as sheet:
        _precision_recall(sheet.subplots(), sides)


def draw_confusion(path: Path, side: Side, threshold: float) -> None:
    """Draw the numbers of films by label and prediction."""
    with drawn(path, 4.6, 3.6) as sheet:
        _confusion(sheet.subplots(), side, threshold)


def draw_reliability(path: Path, side: Side) -> None:
    """Draw the share with pneumonia over the probability, and a histogram of probabilities."""
    with drawn(path, 4.6, 5.2) as sheet:
        _reliability(sheet, side)


def draw_scores(
    path: Path, groups: Mapping[str, Floats], threshold: float | None, title: str
) -> None:
    """Draw a histogram of the probabilities.

    Args:
        groups: probabilities by class name, or by any other name of a group.
        threshold: the threshold to mark; None for no mark.
    """
    with drawn(path, 4.6, 3.6) as sheet:
        _scores(sheet.subplots(), groups, threshold, title)


def draw_thresholds(path: Path, side: Side, threshold: float) -> None:
    """Draw sensitivity and specificity over the threshold, with bands."""
    with drawn(path, 4.6, 3.6) as sheet:
        _thresholds(sheet.subplots(), side, threshold)


def _roc(axes: Axes, sides: Sequence[Side]) -> None:
    curves = [(side, side.sweep.roc()) for side in sides]
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.8, linestyle=":")

    def draw(axes: Axes) -> None:
        for side, curve in curves:
            _curve(axes, curve, f"{side.name}, AUROC {_written(side.figure('auroc'))}", side.style)
            across = _complement(side.figure("specificity"))
            _cross(axes, across, side.figure("recall"), side.style["color"])

    draw(axes)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", aspect="equal")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
    if _all_reach(sides, "auroc"):
        corner = _enlarged(axes, (0.36, 0.36, 0.6, 0.5))
        draw(corner)
        corner.set(xlim=(-0.005, 0.2), ylim=(0.8, 1.005))


def _precision_recall(axes: Axes, sides: Sequence[Side]) -> None:
    curves = [(side, side.sweep.precision_recall()) for side in sides]

    def draw(axes: Axes) -> None:
        for side, curve in curves:
            color, average = side.style["color"], side.figure("average_precision")
            _curve(axes, curve, f"{side.name}, AP {_written(average)}", side.style)
            _cross(axes, side.figure("recall"), side.figure("precision"), color)
            # Guessing has the share of pneumonia as its precision.
            guess = float(side.films.positive.mean())
            axes.axhline(guess, color=color, linewidth=0.8, linestyle=":")

    draw(axes)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision", title="Precision and recall")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower left")
    if _all_reach(sides, "average_precision"):
        corner = _enlarged(axes, (0.16, 0.22, 0.6, 0.4))
        draw(corner)
        corner.set(xlim=(0.8, 1.005), ylim=(0.9, 1.0025))


def _all_reach(sides: Sequence[Side], metric: str) -> bool:
    return min(side.figure(metric).value or 0 for side in sides) >= _CORNER


def _enlarged(axes: Axes, bounds: tuple[float, float, float, float]) -> Axes:
    corner = axes.inset_axes(bounds)
    corner.tick_params(labelsize="x-small")
    corner.set_title("corner, enlarged", fontsize="x-small", fontweight="normal")
    return corner


def _confusion(axes: Axes, side: Side, threshold: float) -> None:
    count = confusion(side.films)
    table = np.array(((count["TN"], count["FP"]), (count["FN"], count["TP"])))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for (row, column), films in np.ndenumerate(table):
        part = shares[row, column]
        color = "white" if part > 0.88 else "black"
        style: dict[str, Any] = {"ha": "center", "color": color}
        axes.text(column, row - 0.04, f"{films:,}", va="bottom", fontsize=17, **style)
        axes.text(
            column, row + 0.08, f"{part:.1%} of {CLASSES[row]}", va="top", fontsize=9, **style
        )
    axes.set_xticks((0, 1), CLASSES)
    axes.set_yticks((0, 1), CLASSES, rotation=90, va="center")
    axes.set(xlabel="prediction", ylabel="label", title=f"{side.title}, threshold {threshold:.3g}")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _reliability(sheet: Sheet, side: Side) -> None:
    upper, lower = sheet.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot((0, 1), (0, 1), color=GREY, linewidth=0.8, linestyle=":", label="perfect")
    films = side.films
    order = np.argsort(films.probability, kind="stable")
    bins = np.array_split(order, max(1, min(_BINS, len(order) // _BIN_FILMS)))
    means = [float(films.probability[own].mean()) for own in bins]
    shares = [share(films.positive[own], films.patient[own]) for own in bins]
    values = np.array([(s.value, s.ci_low, s.ci_high) for s in shares], np.float64)
    errors = np.abs(values[:, 1:] - values[:, :1]).T
    upper.errorbar(
        means, values[:, 0], errors, fmt="o", color=side.style["color"], capsize=3,
        linewidth=1.2, clip_on=False, label=f"{len(bins)} groups of films, 95 % intervals",
    )  # fmt: skip
    error = calibration_error(films.positive, films.probability)
    upper.set(ylabel="share with pneumonia", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    upper.set(title=f"{side.title}: calibration error {error:.3f}")
    upper.legend(loc="lower right")
    lower.hist(films.probability, np.linspace(0, 1, 41).tolist(), color=GREY)
    lower.set(xlabel="calibrated P(pneumonia)", ylabel="films")


def _scores(axes: Axes, groups: Mapping[str, Floats], threshold: float | None, title: str) -> None:
    bins = np.linspace(0, 1, 31)
    middles, width = (bins[1:] + bins[:-1]) / 2, np.diff(bins)[0] / max(2, len(groups))
    for place, (name, probabilities) in enumerate(groups.items()):
        x = middles + (place - (len(groups) - 1) / 2) * width
        heights = np.histogram(probabilities, bins)[0]
        axes.bar(x, heights, width, label=name, **_FINDINGS.get(name, _OTHERS))
    if threshold is not None:
        _mark(axes, threshold)
    # Start below one on the log scale, so that a bar of one film has a height.
    axes.set(yscale="log", ylim=(0.7, None), title=title)
    axes.set(xlabel="calibrated P(pneumonia)", ylabel="films (log scale)")
    axes.legend(loc="upper center")


def _thresholds(axes: Axes, side: Side, threshold: float) -> None:
    sweep = side.sweep
    _curve(axes, sweep.sensitivity(), "sensitivity", {"color": VERMILION, "linestyle": "-"})
    _curve(axes, sweep.specificity(), "specificity", {"color": BLUE, "linestyle": "--"})
    _mark(axes, threshold)
    axes.set(xlabel="threshold", ylabel="share", title=side.title, ylim=(-0.02, 1.02))
    axes.legend(loc="lower center")


def _curve(axes: Axes, curve: Curve, label: str, style: Mapping[str, Any]) -> None:
    axes.plot(curve.x, curve.y, label=label, **style)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(
            curve.grid, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0
        )


def _cross(axes: Axes, x: Figure, y: Figure, color: str) -> None:
    """Draw the operating point with the intervals of both coordinates, as far as known."""
    if x.value is None or y.value is None:
        return
    across, along = (_reach(figure) for figure in (x, y))
    axes.errorbar(
        x.value, y.value, along, across, fmt="D", color=color, markeredgecolor="black",
        ecolor="black", markersize=6, elinewidth=1, capsize=2.5, zorder=4,
    )  # fmt: skip


def _reach(figure: Figure) -> Floats | None:
    """Return the distances from the value to both ends of the interval, shape (2, 1)."""
    if figure.value is None or figure.ci_low is None or figure.ci_high is None:
        return None
    return np.array([[figure.value - figure.ci_low], [figure.ci_high - figure.value]])


def _complement(figure: Figure) -> Figure:
    """Return 1 - a share, with its interval."""
    value, low, high = (
        None if end is None else 1 - end for end in (figure.value, figure.ci_low, figure.ci_high)
    )
    return Figure(value, high, low, figure.n)


def _written(figure: Figure) -> str:
    """Format a value and its interval for a legend."""
    if figure.value is None:
        return "undefined"
    if figure.ci_low is None or figure.ci_high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} ({figure.ci_low:.4f} to {figure.ci_high:.4f})"


def _mark(axes: Axes, threshold: float) -> None:
    axes.axvline(threshold, color="black", linewidth=1.2, linestyle="-.", label="threshold")
