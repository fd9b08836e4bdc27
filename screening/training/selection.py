"""What models are compared by: the worst of what must hold at every hospital."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from screening.training.measure.evaluation import number

#: The worst AUROC over the simulated hospitals, of sources with both classes (the children).
SITES: Final = "worst_site"

#: The AUROC with the outside of the lungs exchanged, of the same sources.
OUTSIDE: Final = "outside_exchanged"

#: The share of films not called, among reliable normal films of one-class sources, by view.
NORMALS: Final = {"AP": "normals_ap", "PA": "normals_pa"}

#: The smallest of them.
WORST: Final = "worst"

Figures = Mapping[str, Any]


def selection(
    elsewhere: Mapping[str, Figures], reasons: Figures, subgroups: Figures
) -> dict[str, Any]:
    """The components that a model is chosen by, and the worst of them.

    Weak labels never enter. A component that the films do not define is left out.

    Args:
        elsewhere: figures by simulated hospital, from
            :func:`screening.training.measure.travel.travel`, of films with reliable labels from
            sources with both classes; empty if there are none.
        reasons: from :func:`screening.training.robustness.measure_reasons`, of the validation films.
        subgroups: from :func:`screening.training.subgroups.subgroups`, of the validation films.

    Returns:
        ``worst_site``, ``outside_exchanged``, ``normals_ap`` and ``normals_pa``, each
        ``{value, ci_low, ci_high, n, note, of}``, where `of` is the hospital or the source with the
        worst value; ``worst`` is the smallest, with the component's name as `of`. Empty if nothing
        is defined.
    """
    outside = reasons.get("tests", {}).get(OUTSIDE, {}).get("auroc", {})
    components = {
        SITES: _lowest((row["auroc"], name) for name, row in elsewhere.items() if "auroc" in row),
        OUTSIDE: _lowest([(outside, "")]),
    } | {name: _lowest(_not_called(subgroups, view)) for view, name in NORMALS.items()}
    known = {name: figure for name, figure in components.items() if figure is not None}
    worst = _lowest((figure, name) for name, figure in known.items())
    return known if worst is None else known | {WORST: worst}


def _lowest(figures: Iterable[tuple[Figures, str]]) -> dict[str, Any] | None:
    """The figure with the smallest value and its name; None if none has a value."""
    known = [
        (value, name, figure) for figure, name in figures if (value := number(figure)) is not None
    ]
    if not known:
        return None
    _value, name, figure = min(known, key=lambda each: each[:2])
    return dict(figure) | {"of": name}


def _not_called(subgroups: Figures, view: str) -> list[tuple[Figures, str]]:
    """One minus the share called in this view, of each source with reliable normal films alone."""
    sources = {
        row["source"]
        for row in subgroups.get("source", ())
        if not row["weak"] and not row["positives"]
    }
    return [
        (_one_minus(row["share_called"]), row["source"])
        for row in subgroups.get("source_view", ())
        if row["source"] in sources and row["view"] == view
    ]


def _one_minus(share: Figures) -> dict[str, Any]:
    ends = {"value": "value", "ci_low": "ci_high", "ci_high": "ci_low"}
    flipped = {name: share.get(end) for name, end in ends.items()}
    return dict(share) | {name: None if x is None else 1 - x for name, x in flipped.items()}
