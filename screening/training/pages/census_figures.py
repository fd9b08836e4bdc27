"""Pictures for the data report."""

from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from screening.findings import CLASSES
from screening.report.pages.drawing import BLUE, ORANGE, drawn, printable
from screening.training.data.census import Census
from screening.training.data.duplicates import Duplicates
from screening.training.data.films import Bytes, Collection

CLASSES_FIGURE: Final = "data_classes.png"
FILMS_FIGURE: Final = "data_films.png"
NEAR_FIGURE: Final = "data_near_duplicates.png"

#: Pairs in the picture of near duplicates.
SHOWN_PAIRS: Final = 8

# Hatching tells the classes apart where colours do not print.
_LOOKS: Final[tuple[dict[str, Any], ...]] = (
    {"facecolor": BLUE, "edgecolor": "white"},
    {"facecolor": ORANGE, "edgecolor": "white", "hatch": "////"},
)
_SAMPLES: Final = 12
_ACROSS: Final = 6


def draw_census(
    folder: Path, census: Census, collection: Collection, duplicates: Duplicates, seed: int
) -> None:
    """Write ``data_classes.png`` and ``data_films.png``, and ``data_near_duplicates.png`` if any.

    Args:
        seed: chooses the films that are shown.
    """
    _draw_classes(folder / CLASSES_FIGURE, census)
    _draw_films(folder / FILMS_FIGURE, collection, seed)
    (folder / NEAR_FIGURE).unlink(missing_ok=True)  # that of an earlier training on other films
    if duplicates.near:
        _draw_near(folder / NEAR_FIGURE, collection, duplicates)


def _draw_classes(path: Path, census: Census) -> None:
    names = list(census.sides)
    films = {
        finding: np.array([census.sides[name][finding]["films"] for name in names])
        for finding in CLASSES
    }
    total = np.sum(list(films.values()), axis=0)
    with drawn(path, 7, 0.9 + 0.5 * len(names)) as figure:
        axes = figure.subplots()
        left = np.zeros(len(names))
        for (finding, numbers), look in zip(films.items(), _LOOKS, strict=True):
            axes.barh(names, numbers, 0.6, left=left, label=finding, **look)
            left += numbers
        # Beside the bars, since a small part has no room for its number.
        for row, own in enumerate(zip(*films.values(), strict=True)):
            parts = " + ".join(f"{number:,}" for number in own)
            axes.text(total[row], row, f"  {parts} = {total[row]:,}", va="center", fontsize="small")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="films", xlim=(0, 1.4 * max(total)))
        figure.legend(loc="outside upper center", ncols=len(CLASSES))


def _draw_films(path: Path, collection: Collection, seed: int) -> None:
    """Films of each class, drawn by lot."""
    rng = np.random.default_rng(seed)
    deep = _SAMPLES // _ACROSS
    with drawn(path, 1.6 * _ACROSS, (1.85 * deep + 0.3) * len(CLASSES)) as figure:
        parts = np.ravel(figure.subfigures(len(CLASSES), 1, squeeze=False))
        for part, (label, finding) in zip(parts, enumerate(CLASSES), strict=True):
            own = [index for index, film in enumerate(collection.films) if film.label == label]
            chosen = rng.permutation(own)[:_SAMPLES]
            part.suptitle(finding, fontweight="bold")
            grid = part.subplots(deep, _ACROSS).ravel()
            for axes in grid:
                axes.set_axis_off()
            for axes, index in zip(grid, chosen, strict=False):
                _show(axes, collection.greys[index], collection.films[index].name)


def _draw_near(path: Path, collection: Collection, duplicates: Duplicates) -> None:
    """The pairs to look at, two in a row: those of different labels, then the least alike."""
    films = collection.films
    pairs = sorted(
        duplicates.near,
        key=lambda pair: (films[pair.first].label == films[pair.second].label, pair.likeness),
    )[:SHOWN_PAIRS]
    deep = -(-len(pairs) // 2)
    with drawn(path, 9.3, 3.1 * deep) as figure:
        parts = np.ravel(figure.subfigures(deep, 2, squeeze=False))
        for part, pair in zip(parts, pairs, strict=False):
            part.suptitle(f"likeness {pair.likeness:.3f}", fontsize="medium", fontweight="bold")
            for axes, index in zip(part.subplots(1, 2), (pair.first, pair.second), strict=True):
                finding = CLASSES[films[index].label]
                _show(axes, collection.greys[index], films[index].name, f"\n{finding}")
                axes.set_axis_off()


def _show(axes: Axes, grey: Bytes, name: str, more: str = "") -> None:
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    caption = axes.text(
        0.5,
        -0.03,
        printable(PurePosixPath(name).name, 24) + more,
        fontsize=6.5,
        ha="center",
        va="top",
        transform=axes.transAxes,
        parse_math=False,
    )
    # A long name may reach over the gap to the next film, but must not make the films smaller.
    caption.set_in_layout(False)
