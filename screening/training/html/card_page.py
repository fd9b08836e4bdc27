"""Render the model card as a page; its parts follow Mitchell et al. (FAT* 2019)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from screening.model.card import Card
from screening.model.drift_baseline import INPUTS, DriftBaseline
from screening.report.html.components import DASH, between, count, number, point_rows, render
from screening.report.operating_points import CHOSEN
from screening.results import CLASSES
from screening.training.html.card_sections import (
    groups_section,
    left_out_section,
    reasons_section,
    selection_section,
)
from screening.training.scored_split import SIDES, TEST, VALIDATION
from screening.training.scored_split import number as value_of

PAGE: Final = "card.html"
FIGURES: Final = "figures"

#: Metrics in the order of the page: label, and the decimals needed to compare models.
_METRICS: Final = {
    "auroc": ("AUROC", 4),
    "average_precision": ("Average precision", 4),
    "recall": ("Sensitivity (recall)", 3),
    "specificity": ("Specificity", 3),
    "precision": ("Positive predictive value (precision)", 3),
    "npv": ("Negative predictive value", 3),
    "accuracy": ("Accuracy", 3),
    "balanced_accuracy": ("Balanced accuracy", 3),
    "f1": ("F1", 3),
    "brier": ("Brier score", 3),
    "calibration_error": ("Calibration error", 3),
}
_ELSEWHERE: Final = {
    "auroc": _METRICS["auroc"],
    "auroc_normals": ("AUROC of its normal films", 4),
    "balanced_accuracy": _METRICS["balanced_accuracy"],
} | _METRICS
_PROVENANCE: Final = {
    "fingerprint": "fingerprint of the films",
    "validation_patients": "validation patients (SHA-256)",
    "test_patients": "test patients (SHA-256)",
}
_INPUTS: Final = {
    "mean": "Mean grey value",
    "sd": "Standard deviation of grey",
    "black": "Share of black",
    "white": "Share of white",
    "sharpness": "Sharpness",
}

Row = list[str]


def write_page(model: Path, card: Card) -> None:
    """Write ``card.html`` into the model folder: a single page with all its images, to be mailed.

    All content comes from the card and from ``figures/*.png``. The page omits whatever the card
    does not have, such as a test side, a gate or simulated hospitals.
    """
    measured = {VALIDATION: card.metrics, TEST: card.test}
    measured = {name: metrics for name, metrics in measured.items() if metrics}
    recipe = card.training.get("recipe", {})
    page = render(
        "card.html.j2",
        "screening.training.html",
        card=card,
        threshold=f"{card.operating_point.threshold:.6g}",
        glance=_headline(measured),
        sides=list(measured),
        protocol=card.training.get("protocol", recipe.get("protocol")),
        command=card.training.get("command"),
        data=_data(card.training.get("films", {})),
        has_data_page=(model / "data.html").is_file(),
        groups=[f"{name} films" for name in measured],
        metrics=_metrics(measured),
        results=_results(card.results, card.results_at_half),
        classes=_classes(card.results),
        classes_at_half=_classes(card.results_at_half),
        points=point_rows(card.operating_points),
        points_side=_side_of(card.operating_points, measured),
        elsewhere=_elsewhere(card.elsewhere),
        groups_of_films=groups_section(card),
        left_out=left_out_section(card),
        reasons=reasons_section(card),
        selection=selection_section(card),
        gate=_gate(card),
        reference=card.reference and _reference(card.reference),
        made=_provenance(card),
        recipe=[[_words(name), _plain(value)] for name, value in recipe.items()],
        figures={path.stem: path for path in sorted((model / FIGURES).glob("*.png"))},
    )
    # A name in the card may not be encodable as UTF-8; such characters become question marks.
    (model / PAGE).write_text(page, encoding="utf-8", errors="replace")


def _headline(measured: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """The three key figures, on test films if there are any."""
    if not measured:
        return []
    name, metrics = list(measured.items())[-1]
    return [
        (f"{label}, {name}", _value(metrics, key, 3), _interval(metrics, key, 3))
        for key, label in (
            ("auroc", "AUROC"),
            ("recall", "Sensitivity"),
            ("specificity", "Specificity"),
        )
    ]


def _data(films: Mapping[str, Mapping[str, int]]) -> list[Row]:
    columns = ("films", "patients", *CLASSES)
    return [
        [name, *(count(side.get(column)) for column in columns)] for name, side in films.items()
    ]


def _metrics(measured: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A row for each metric: for each side the value, its interval and n."""
    rows = []
    for key, (label, digits) in _METRICS.items():
        if not any(key in metrics for metrics in measured.values()):
            continue
        row = [label]
        for metrics in measured.values():
            row += [_value(metrics, key, digits), _interval(metrics, key, digits), _n(metrics, key)]
        rows.append(row)
    return rows


def _results(results: Mapping[str, Any], at_half: Mapping[str, Any]) -> list[Row]:
    return [
        [
            name,
            count(side.get("n")),
            number(side.get("loss"), 4),
            number(side.get("accuracy"), 4),
            number(at_half.get(name, {}).get("accuracy"), 4),
        ]
        for name, side in _in_order(results)
    ]


def _classes(results: Mapping[str, Any]) -> list[Row]:
    """A row for each side and class: films, confusion counts, precision, recall, F1."""
    rows = []
    for name, side in _in_order(results):
        for finding, figures in side.get("classes", {}).items():
            called = side.get("confusion", {}).get(finding, {})
            rows.append(
                [
                    f"{finding}, {name}",
                    count(figures.get("support")),
                    *(count(called.get(other)) for other in CLASSES),
                    *(number(figures.get(key), 3) for key in ("precision", "recall", "f1")),
                ]
            )
    return rows


def _side_of(
    points: Sequence[Mapping[str, Any]], measured: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """The side of the table of thresholds, found by the confusion of its chosen row."""
    for point in points:
        if CHOSEN in point.get("marks", ()):
            counts = {key.upper(): point.get(key) for key in ("tp", "fp", "tn", "fn")}
            for name, metrics in measured.items():
                if metrics.get("confusion") == counts:
                    return name
    return None


def _elsewhere(elsewhere: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Hospitals from the worst AUROC to the best, with the metrics that any of them has."""
    if not elsewhere:
        return None
    keys = [key for key in _ELSEWHERE if any(key in row for row in elsewhere.values())]
    ranked = sorted(elsewhere, key=lambda name: _rank(value_of(elsewhere[name].get("auroc"))))
    worst = elsewhere[ranked[0]]
    return {
        "columns": ["hospital", *(_ELSEWHERE[key][0] for key in keys)],
        "rows": [
            [name, *(_value(elsewhere[name], key, _ELSEWHERE[key][1]) for key in keys)]
            for name in ranked
        ],
        "count": len(ranked),
        "has_normals": "auroc_normals" in keys,
        "worst": ranked[0],
        "worst_auroc": _value(worst, "auroc", 3),
    }


def _rank(auroc: float | None) -> float:
    return 2.0 if auroc is None else auroc


def _gate(card: Card) -> dict[str, Any] | None:
    """What the gate was fitted on and refused, as pairs, and the nested figures as tables."""
    if card.gate is None:
        return None
    fitted = card.gate.fitted_on
    return {
        "facts": [
            [_words(name), _plain(value)]
            for name, value in fitted.items()
            if not isinstance(value, Mapping)
        ],
        "tables": [
            (_words(name), [[_words(kind), _plain(figure)] for kind, figure in value.items()])
            for name, value in fitted.items()
            if isinstance(value, Mapping)
        ],
    }


def _reference(reference: DriftBaseline) -> dict[str, Any]:
    return {
        "n": count(reference.n),
        "facts": [
            ["refused by the gate", f"{reference.refusal_rate:.1%}"],
            ["flagged as pneumonia, of the scored films", f"{reference.positive_rate:.1%}"],
            *(
                [f"warned: {_words(code)}", f"{rate:.1%}"]
                for code, rate in reference.warning_rates.items()
            ),
        ],
        "inputs": [
            [_INPUTS[name], *(f"{x:.3f}" for x in (spread.mean, spread.sd, *spread.quantiles))]
            for name in INPUTS
            for spread in (reference.inputs[name],)
        ],
    }


def _provenance(card: Card) -> list[Row]:
    """Everything needed to reproduce the model, without the keys shown elsewhere on the page."""
    training = {
        name: value
        for name, value in card.training.items()
        if name not in {"command", "data_names", "films", "protocol", "recipe"}
    }
    made = {_PROVENANCE.get(name, _words(name)): value for name, value in training.items()}
    made["seed"] = card.training.get("recipe", {}).get("seed")
    made["weights (SHA-256)"] = card.weights_sha256
    return [
        [name, _plain(value)] for name, value in made.items() if value not in (None, "", {}, [])
    ]


def _in_order(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, results[name]) for name in SIDES if results.get(name)]


def _value(metrics: Mapping[str, Any], key: str, digits: int) -> str:
    return number(value_of(metrics.get(key)), digits)


def _interval(metrics: Mapping[str, Any], key: str, digits: int) -> str:
    metric = metrics.get(key)
    if not isinstance(metric, Mapping):
        return ""
    return between(metric.get("ci_low"), metric.get("ci_high"), digits)


def _n(metrics: Mapping[str, Any], key: str) -> str:
    metric = metrics.get(key)
    return count(metric.get("n")) if isinstance(metric, Mapping) else DASH


def _plain(value: Any) -> str:
    """A card value as text: short numbers, mappings as pairs."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items()) or DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or DASH
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ").strip()
