"""Write the data report as data.json and data.html."""

import json
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from screening.report.html.components import BLUE, DASH, ORANGE, drawable, drawn, render
from screening.results import CLASSES
from screening.training.data.dataset import Bytes, Collection
from screening.training.data.dataset_report import BETRAYED, TELLING, DatasetReport, Twins
from screening.training.data.duplicates import NEAR, Duplicates
from screening.training.data.manifest import RELIABLE

CLASSES_FIGURE: Final = "data_classes.png"
FILMS_FIGURE: Final = "data_films.png"
NEAR_FIGURE: Final = "data_near_duplicates.png"

#: Number of pairs in the image of near duplicates.
SHOWN_PAIRS: Final = 8

# Hatching separates the classes in black-and-white print.
_LOOKS: Final[tuple[dict[str, Any], ...]] = (
    {"facecolor": BLUE, "edgecolor": "white"},
    {"facecolor": ORANGE, "edgecolor": "white", "hatch": "////"},
)
_SAMPLES: Final = 12
_ACROSS: Final = 6


def draw_dataset_figures(
    folder: Path, census: DatasetReport, collection: Collection, duplicates: Duplicates, seed: int
) -> None:
    """Write ``data_classes.png``, ``data_films.png`` and, if needed, ``data_near_duplicates.png``.

    Args:
        seed: determines which films are shown.
    """
    _draw_classes(folder / CLASSES_FIGURE, census)
    _draw_films(folder / FILMS_FIGURE, collection, seed)
    (folder / NEAR_FIGURE).unlink(missing_ok=True)  # left by an earlier training on other films
    if duplicates.near:
        _draw_near(folder / NEAR_FIGURE, collection, duplicates)


def _draw_classes(path: Path, census: DatasetReport) -> None:
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
        # Next to the bars, because a small part has no room for its number.
        for row, own in enumerate(zip(*films.values(), strict=True)):
            parts = " + ".join(f"{number:,}" for number in own)
            axes.text(total[row], row, f"  {parts} = {total[row]:,}", va="center", fontsize="small")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="films", xlim=(0, 1.4 * max(total)))
        figure.legend(loc="outside upper center", ncols=len(CLASSES))


def _draw_films(path: Path, collection: Collection, seed: int) -> None:
    """Randomly chosen films of each class."""
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
    """The most important pairs, two in a row: different labels first, then the least alike."""
    films = collection.films
    pairs = sorted(
        duplicates.near,
        key=lambda pair: (films[pair.first].label == films[pair.second].label, pair.likeness),
    )[:SHOWN_PAIRS]
    deep = -(-len(pairs) // 2)
    with drawn(path, 9.3, 3.1 * deep) as figure:
        parts = np.ravel(figure.subfigures(deep, 2, squeeze=False))
        for part, pair in zip(parts, pairs, strict=False):
            part.suptitle(f"similarity {pair.likeness:.3f}", fontsize="medium", fontweight="bold")
            for axes, index in zip(part.subplots(1, 2), (pair.first, pair.second), strict=True):
                finding = CLASSES[films[index].label]
                _show(axes, collection.greys[index], films[index].name, f"\n{finding}")
                axes.set_axis_off()


def _show(axes: Axes, grey: Bytes, name: str, more: str = "") -> None:
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    caption = axes.text(
        0.5,
        -0.03,
        drawable(PurePosixPath(name).name, 24) + more,
        fontsize=6.5,
        ha="center",
        va="top",
        transform=axes.transAxes,
        parse_math=False,
    )
    # A long name may extend over the gap to the next film, but must not shrink the films.
    caption.set_in_layout(False)


DATA: Final = "data.json"
PAGE: Final = "data.html"
FIGURES: Final = "figures"

# Maximum length of a list on the page; data.json has all entries.
_LINES: Final = 50

Rows = list[list[str]]


def write_dataset_report(
    model: Path,
    census: DatasetReport,
    collection: Collection,
    duplicates: Duplicates,
    protocol: str,
    seed: int,
) -> None:
    """Write the data report into the model folder: ``data.json``, ``data.html`` and its images.

    Args:
        model: the folder; it is created if missing.
        protocol: one of :data:`screening.training.data.split.PROTOCOLS`.
        seed: seed of the training; also determines which films are shown.
    """
    folder = model / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    (model / DATA).write_text(json.dumps(census.as_dict(), indent=1) + "\n", encoding="utf-8")
    draw_dataset_figures(folder, census, collection, duplicates, seed)
    page = render(
        "data.html.j2",
        "screening.training.html",
        census=census,
        protocol=protocol,
        seed=seed,
        size=" x ".join(map(str, collection.greys.shape[1:])),
        figures=folder,
        near_figure=folder / NEAR_FIGURE if census.near else None,
        shown_pairs=SHOWN_PAIRS,
        near=NEAR,
        betrayed=BETRAYED,
        reliable=RELIABLE,
        telling=TELLING,
        classes=CLASSES,
        sides=_sides(census),
        strata=_strata(census),
        alone=_alone(census),
        patients=[[name, f"{number:,}"] for name, number in census.films_per_patient.items()],
        sizes=_sizes(census),
        betrayals=[
            [what.capitalize(), f"{found.auroc:.3f}", found.higher]
            for what, found in census.betrayals.items()
        ],
        kinds=[
            [kind, *(f"{counts[finding]:,}" for finding in CLASSES)]
            for kind, counts in census.kinds.items()
        ],
        twins={
            "The same file": _twins(census.exact),
            "The same film in another file": _twins(census.near),
        },
        lines=_LINES,
    )
    # A file name may contain bytes that are not text; such bytes become question marks.
    (model / PAGE).write_text(page, encoding="utf-8", errors="replace")


def _sides(census: DatasetReport) -> Rows:
    rows = []
    for name, counts in census.sides.items():
        films = sum(count["films"] for count in counts.values())
        row = [name, f"{films:,}"]
        for finding in CLASSES:
            share = counts[finding]["films"] / films
            row += [
                f"{counts[finding]['films']:,} ({share:.0%})",
                f"{counts[finding]['patients']:,}",
            ]
        rows.append(row)
    return rows


def _strata(census: DatasetReport) -> Rows:
    """A row for each source and view; empty for a single source without views and weak labels."""
    known = any(stratum.view or stratum.weak for stratum in census.strata)
    if len(census.strata) == 1 and not known:
        return []
    return [
        [
            stratum.source,
            stratum.view or DASH,
            *(f"{stratum.films[finding]:,}" for finding in CLASSES),
            f"{stratum.weak:,}",
        ]
        for stratum in census.strata
    ]


def _alone(census: DatasetReport) -> Rows:
    """How well the source alone, and the view within a source, separate the classes."""
    rows = [[f"View, {source}", f"{auroc:.3f}"] for source, auroc in census.view_auroc.items()]
    if len({stratum.source for stratum in census.strata}) > 1:
        rows.insert(0, ["Source", f"{census.source_auroc:.3f}"])
    return rows


def _sizes(census: DatasetReport) -> Rows:
    first = census.sizes[CLASSES[0]]
    return [
        [f"{what.capitalize()}, {finding}", *map(_number, census.sizes[finding][what].values())]
        for what in first
        for finding in CLASSES
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _twins(twins: tuple[Twins, ...]) -> Rows:
    return [
        [
            *pair.films,
            f"{pair.likeness:.3f}",
            "same" if pair.same_class else "different",
            "same" if pair.same_patient else "different",
            "same" if pair.same_side else "different",
        ]
        for pair in twins
    ]
