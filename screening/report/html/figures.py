"""Draw the figures of a report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.ticker import MaxNLocator

from screening.report.html.components import BLUE, GREY, VERMILION, counted, drawn, number
from screening.report.html.contents import Contents
from screening.report.html.performance_figures import (
    Side,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
)
from screening.report.intervals import Figure
from screening.report.metrics import Unit, confusion
from screening.report.summary import ALL
from screening.results import CLASSES, NORMAL, PNEUMONIA, Status

FIGURES: Final = "figures"

#: Fewest films for a reliability diagram; fewer make no group with a meaningful share.
_RELIABLE: Final = 20

_STYLE: Final[dict[str, Any]] = {"color": BLUE, "linestyle": "-"}
_NO_LABEL: Final = "no label"


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes:
        alt: description for readers who cannot see it.
    """

    path: Path
    alt: str
    caption: str


def draw_figures(folder: Path, contents: Contents) -> dict[str, Picture]:
    """Write ``figures/*.png`` into a report and return them by name, with descriptions.

    ``statuses`` needs a file, ``scores`` a scored film, ``confusion`` a scored film with a label,
    ``reliability`` 20 of them, ``roc`` and ``precision_recall`` both classes.
    """
    figures = folder / FIGURES
    return {picture.path.stem: picture for picture in _drawn(figures, contents)}


def _drawn(figures: Path, contents: Contents) -> Iterator[Picture]:
    if contents.rows:
        yield _statuses(figures / "statuses.png", contents)
    if contents.answered:
        yield _scores(figures / "scores.png", contents)
    films, threshold = contents.scored, contents.threshold
    if films is None or threshold is None or not len(films.positive):
        return
    side = Side("labelled", films, _figures(contents), _STYLE)
    yield _confusion(figures / "confusion.png", side, threshold)
    if len(films.positive) >= _RELIABLE:
        yield _reliability(figures / "reliability.png", side)
    if films.positive.any() and not films.positive.all():
        yield _roc(figures / "roc.png", side)
        yield _precision_recall(figures / "precision_recall.png", side)


def _figures(contents: Contents) -> dict[str, Figure]:
    return {
        line.metric: line.figure
        for line in contents.lines
        if line.subset == ALL and line.unit is Unit.FILM
    }


def _statuses(path: Path, contents: Contents) -> Picture:
    counts = {
        f"flagged as {PNEUMONIA}": (len(contents.called), VERMILION),
        f"not flagged ({NORMAL})": (contents.called_normal, BLUE),
        **{
            status.value: (contents.statuses[status], GREY)
            for status in (Status.REFUSED, Status.FAILED, Status.DUPLICATE)
        },
    }
    numbers = [films for films, _color in counts.values()]
    with drawn(path, 6.2, 2.2) as sheet:
        axes = sheet.subplots()
        bars = axes.barh(list(counts), numbers, 0.65, color=[color for _, color in counts.values()])
        axes.bar_label(bars, [f"{films:,}" for films in numbers], padding=4, fontsize="small")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="files", xlim=(0, 1.15 * max(numbers)))
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    bars_text = ", ".join(f"{films:,} {name}" for name, (films, _color) in counts.items())
    return Picture(
        path, f"Bars: {bars_text}.", "Only scored films have a prediction: flagged or not flagged."
    )


def _scores(path: Path, contents: Contents) -> Picture:
    labels = np.array([row.label or _NO_LABEL for row in contents.answered])
    probabilities = np.array([row.probability for row in contents.answered], np.float64)
    names = [name for name in (*CLASSES, _NO_LABEL) if (labels == name).any()]
    groups = {name: probabilities[labels == name] for name in names}
    if names == [_NO_LABEL]:
        groups = {"scored films": probabilities}
    draw_scores(path, groups, contents.threshold, "Probability of pneumonia")
    middle = f"{np.median(probabilities):.3f}"
    return Picture(
        path,
        f"Histogram of the probability of {counted(len(probabilities), 'scored film')}; half of them "
        f"are below {middle}. The threshold is {number(contents.threshold, 4)}.",
        "Number of films by probability. Films to the right of the dashed line are flagged as pneumonia. "
        "The scale of films is logarithmic, so that single films are visible.",
    )


def _confusion(path: Path, side: Side, threshold: float) -> Picture:
    draw_confusion(path, side, threshold)
    cells = confusion(side.films)
    return Picture(
        path,
        f"Confusion matrix: {cells['TP']:,} films with pneumonia flagged and {cells['FN']:,} missed; "
        f"{cells['TN']:,} normal films not flagged and {cells['FP']:,} flagged.",
        "Films by label and prediction; percentages are of the row.",
    )


def _reliability(path: Path, side: Side) -> Picture:
    draw_reliability(path, side)
    error = number(side.figure("calibration_error").value)
    return Picture(
        path,
        f"Share of films with pneumonia by probability, in groups; calibration error {error}.",
        "Films in groups of equal size, in the order of their probability. On the dotted line, the "
        "probability equals the share of films with pneumonia. Bars are 95 % intervals. Below: number of "
        "films by probability.",
    )


def _roc(path: Path, side: Side) -> Picture:
    draw_roc(path, [side])
    recall, specificity = side.figure("recall").value, side.figure("specificity").value
    return Picture(
        path,
        f"ROC curve with an area of {number(side.figure('auroc').value)}; at the threshold the "
        f"sensitivity is {number(recall)} and the specificity {number(specificity)}.",
        "Sensitivity against 1 - specificity for all thresholds. The shaded band is the pointwise 95 % "
        "band from resampling patients; the diamond is the threshold in use with its 95 % intervals.",
    )


def _precision_recall(path: Path, side: Side) -> Picture:
    draw_precision_recall(path, [side])
    average, common = side.figure("average_precision").value, float(side.films.positive.mean())
    return Picture(
        path,
        f"Precision against recall, average precision {number(average)}; guessing gives {common:.3f}.",
        "Precision against recall for all thresholds, with the same band and diamond. The dotted line is "
        "the precision of guessing: the share of films with pneumonia.",
    )
