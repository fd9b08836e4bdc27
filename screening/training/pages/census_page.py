"""The data report of a training: ``data.json`` for programs, ``data.html`` for people."""

import json
from pathlib import Path
from typing import Final

from screening.findings import CLASSES
from screening.report.pages.page import render
from screening.report.pages.words import DASH
from screening.training.data.census import BETRAYED, TELLING, Census, Twins
from screening.training.data.duplicates import NEAR, Duplicates
from screening.training.data.films import Collection
from screening.training.data.sources import RELIABLE
from screening.training.pages.census_figures import NEAR_FIGURE, SHOWN_PAIRS, draw_census

DATA: Final = "data.json"
PAGE: Final = "data.html"
FIGURES: Final = "figures"

# Lines of a list on the page; all of them are in data.json.
_LINES: Final = 50

Rows = list[list[str]]


def write_census(
    model: Path,
    census: Census,
    collection: Collection,
    duplicates: Duplicates,
    protocol: str,
    seed: int,
) -> None:
    """Write the data report into the MODEL folder: ``data.json``, ``data.html`` and its pictures.

    Args:
        model: the folder; it is made if it is not there.
        protocol: one of :data:`screening.training.data.split.PROTOCOLS`.
        seed: of the training; also chooses the films that are shown.
    """
    folder = model / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    (model / DATA).write_text(json.dumps(census.as_dict(), indent=1) + "\n", encoding="utf-8")
    draw_census(folder, census, collection, duplicates, seed)
    page = render(
        "data.html.j2",
        "screening.training.pages",
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
    # A file name may hold bytes that are no text; the page shows a question mark for them.
    (model / PAGE).write_text(page, encoding="utf-8", errors="replace")


def _sides(census: Census) -> Rows:
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


def _strata(census: Census) -> Rows:
    """A row for each source and view; none where there is one source, and nothing is known of it."""
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


def _alone(census: Census) -> Rows:
    """How well the source, and the view within a source, tell the classes apart by themselves."""
    rows = [[f"View, {source}", f"{auroc:.3f}"] for source, auroc in census.view_auroc.items()]
    if len({stratum.source for stratum in census.strata}) > 1:
        rows.insert(0, ["Source", f"{census.source_auroc:.3f}"])
    return rows


def _sizes(census: Census) -> Rows:
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
