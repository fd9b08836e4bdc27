"""Sections of the card page on groups of films, model reasons and model selection."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from screening.model.card import Card
from screening.report.html.components import DASH, between, count, number
from screening.training.scored_split import SIDES
from screening.training.subgroups import NIH_PNEUMONIA

Row = list[str]

#: Names of the tests of reasons, and the result expected of a model that reads the lungs.
TESTS: Final = {
    "original": ("Films as they are", DASH),
    "outside_exchanged": ("Outside of a film of the other class", "AUROC as before"),
    "lungs_exchanged": ("Lungs of a film of the other class", "AUROC below 0.5"),
    "lungs_hidden": ("Lungs hidden", "AUROC at most 0.65"),
    "outside_hidden": ("Outside hidden", "AUROC as before"),
    "markers_pasted": ("Letters burnt in", "few decisions change"),
    "markers_removed": ("Corners smoothed", "few decisions change"),
}
_HIDDEN: Final = {"outside_hidden": "Outside hidden", "lungs_hidden": "Lungs hidden"}
_COMPONENTS: Final = {
    "worst_site": "AUROC at the worst simulated hospital",
    "outside_exchanged": "AUROC with the outside exchanged",
    "normals_ap": "Normal AP films that are not flagged",
    "normals_pa": "Normal PA films that are not flagged",
    "worst": "The worst of these",
}
_GROUP_COLUMNS: Final = (
    "films",
    "pneumonia",
    "share flagged",
    "AUROC",
    "sensitivity",
    "specificity",
)


def last_side(by_side: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and figures of the last side that has figures: test before validation.

    Empty if none has.
    """
    known = [name for name in SIDES if by_side.get(name)]
    return (known[-1], by_side[known[-1]]) if known else ("", {})


def source_name(source: str) -> str:
    """The label of a source on the page."""
    return source or "no source given"


def groups_section(card: Card) -> dict[str, Any] | None:
    """Tables by source, view and age; None if they repeat the page's other figures."""
    side, groups = last_side(card.subgroups)
    if not _worth_showing(groups):
        return None
    return {
        "side": side,
        "tables": _tables(groups),
        "adults": [_adult_row(row) for row in groups.get("adult_sensitivity", ())],
        "mixture": {
            "opacity": f"{NIH_PNEUMONIA.opacity:.0%}",
            "normal": f"{NIH_PNEUMONIA.normal:.0%}",
            "other": f"{NIH_PNEUMONIA.other:.0%}",
            "films": NIH_PNEUMONIA.films,
            "origin": NIH_PNEUMONIA.origin,
        },
        "not_shown": _not_shown(groups),
    }


def left_out_section(card: Card) -> list[tuple[str, list[str], list[Row]]]:
    """Tables of the sources that the training left out; empty without such sources."""
    return _tables(card.left_out) if card.left_out else []


def reasons_section(card: Card) -> dict[str, Any] | None:
    """Tables of the tests of reasons; None if there are none."""
    side, reasons = last_side(card.reasons)
    if not reasons:
        return None
    tests = {name: reasons["tests"][name] for name in TESTS if name in reasons.get("tests", {})}
    sources = {source for test in tests.values() for source in test.get("sources", {})}
    return {
        "side": side,
        "n": count(reasons.get("n")),
        "without_lungs": count(reasons.get("without_lungs")),
        "tests": [_test_row(name, test) for name, test in tests.items()],
        "by_source": [
            _source_row(name, source, test["sources"][source])
            for source in sorted(sources)
            for name, test in tests.items()
            if source in test.get("sources", {})
        ]
        if len(sources) > 1
        else [],
        "occlusion": [
            [label, *_spread(reasons["occlusion"][name], 2)]
            for name, label in _HIDDEN.items()
            if name in reasons.get("occlusion", {})
        ],
        "lungs_count_more": _figure(reasons.get("occlusion", {}).get("lungs_count_more"), 2),
        "view": [
            [
                _marked(source_name(source), row),
                count(row["ap"]),
                count(row["pa"]),
                *_pair(row["auroc"], 3),
            ]
            for source, row in sorted(reasons.get("view", {}).items())
        ],
        "evidence": [
            [_evidence_name(row), *_spread(row, 2)] for row in reasons.get("lung_evidence", ())
        ],
    }


def selection_section(card: Card) -> list[Row]:
    """The components that models are compared by: name, value, interval, hospital or source."""
    return [
        [label, *_pair(card.selection[name], 3), _COMPONENTS.get(of := _of(card, name), of)]
        for name, label in _COMPONENTS.items()
        if name in card.selection
    ]


def _of(card: Card, name: str) -> str:
    return str(card.selection[name].get("of") or DASH)


def _worth_showing(groups: Mapping[str, Any]) -> bool:
    rows = groups.get("source", ())
    return bool(
        len(rows) > 1
        or any(row["weak"] or row["source"] for row in rows)
        or groups.get("source_view")
        or groups.get("source_age")
    )


def _tables(groups: Mapping[str, Any]) -> list[tuple[str, list[str], list[Row]]]:
    """Title, columns and rows for each grouping that has rows."""
    ways = (
        ("source", "", "By source"),
        ("source_view", "view", "By source and view"),
        ("source_age", "age", "By source and age"),
    )
    return [
        (title, ["group", *_GROUP_COLUMNS], [_group_row(row, key) for row in groups[table]])
        for table, key, title in ways
        if groups.get(table)
    ]


def _group_row(row: Mapping[str, Any], key: str) -> Row:
    name = source_name(row["source"])
    if key:
        name += f", {row[key] or f'{key} not known'}"
    return [
        _marked(name, row),
        count(row["n"]),
        count(row["positives"]),
        *(_figure(row.get(k), 3) for k in ("share_called", "auroc", "sensitivity", "specificity")),
    ]


def _adult_row(row: Mapping[str, Any]) -> Row:
    view = "All views" if row["view"] == "all" else row["view"]
    return [
        view if row["consistent"] else f"{view} (does not fit the mixture)",
        count(row["n"]),
        number(row["called"], 2),
        count(row["normals"]),
        number(row["called_normals"], 2),
        _figure(row["sensitivity"], 2),
        number(row["if_other_as_opacity"], 2),
        number(row["if_other_as_normal"], 2),
    ]


def _not_shown(groups: Mapping[str, Any]) -> list[str]:
    """Sentences on the questions that these films cannot answer."""
    sources = groups.get("source", ())
    views = {row["source"] for row in groups.get("source_view", ())}
    ages = {row["source"] for row in groups.get("source_age", ())}
    one_class = [source_name(row["source"]) for row in sources if row["positives"] in {0, row["n"]}]
    sentences = []
    if not groups.get("adults_with_opacity"):
        sentences.append(
            "No film of an adult has lung opacity according to a radiologist. The sensitivity for adults "
            "can only be estimated from weak labels, if at all."
        )
    if not groups.get("infants"):
        sentences.append("No film is known to show an infant under one year.")
    if one_class:
        sentences.append(
            f"{_list(one_class)}: films of one class only. They have a share of flagged films, but no "
            "AUROC."
        )
    for what, known in (("view", views), ("age", ages)):
        unknown = [source_name(row["source"]) for row in sources if row["source"] not in known]
        if unknown:
            sentences.append(f"{_list(unknown)}: the {what} is not known for any film.")
    return sentences


def _list(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _test_row(name: str, test: Mapping[str, Any]) -> Row:
    label, expected = TESTS[name]
    flipped = DASH if name == "original" else _figure(test["flipped"], 3)
    return [label, expected, _figure(test["auroc"], 3), flipped, count(test["flipped"]["n"])]


def _source_row(name: str, source: str, row: Mapping[str, Any]) -> Row:
    called = row.get("share_called", {})
    return [
        _marked(f"{source_name(source)}: {TESTS[name][0].lower()}", row),
        count(row["n"]),
        _figure(row.get("auroc"), 3),
        DASH if name == "original" else _figure(row["flipped"], 3),
        *(_figure(called.get(label), 3) for label in ("NORMAL", "PNEUMONIA")),
    ]


def _evidence_name(row: Mapping[str, Any]) -> str:
    if not row["label"]:
        return "All flagged films"
    return f"{source_name(row['source'])}, {row['label']}"


def _marked(name: str, row: Mapping[str, Any]) -> str:
    return f"{name} (weak labels)" if row.get("weak") else name


def _spread(row: Mapping[str, Any], digits: int) -> Row:
    return [*_pair(row, digits), between(row["q1"], row["q3"], digits), count(row["n"])]


def _pair(figure: Mapping[str, Any], digits: int) -> Row:
    return [
        number(figure.get("value"), digits),
        between(figure.get("ci_low"), figure.get("ci_high"), digits),
    ]


def _figure(figure: Mapping[str, Any] | None, digits: int) -> str:
    """A value with its interval in one cell."""
    if figure is None:
        return DASH
    value, interval = _pair(figure, digits)
    return f"{value} ({interval})" if interval else value
