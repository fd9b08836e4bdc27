"""The card page is complete and self-contained, and omits what the card does not have."""

from dataclasses import replace

import numpy as np
import pytest

from evaluated_sides import random_side
from gate_makers import make_recogniser
from makers import make_card
from screening.model.card import Card
from screening.model.drift_baseline import (
    INPUTS,
    WARNINGS,
    DriftBaseline,
    Spread,
    histogram,
    rising,
)
from screening.report.html.components import drawn
from screening.report.operating_points import operating_points
from screening.training.html.card_page import write_page
from web_page import Page

DASH = "\N{EN DASH}"


def page_of(model, card):
    write_page(model, card)
    return Page((model / "card.html").read_text(encoding="utf-8"))


def reference():
    spread = Spread.of(np.linspace(0, 1, 11))
    return DriftBaseline(
        n=20,
        refused=5,
        called=6,
        warnings=dict.fromkeys(WARNINGS, 3),
        histogram=histogram(np.linspace(0, 1, 15)),
        probabilities=rising(np.linspace(0, 1, 15)),
        distance=spread,
        inputs=dict.fromkeys(INPUTS, spread),
        embedding_mean=np.zeros(2, np.float32),
        embedding_covariance=np.eye(2, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def sides():
    return {"validation": random_side(), "test": random_side(seed=1, name="test")}


@pytest.fixture(scope="module")
def card(sides):
    """A card with all parts."""
    return replace(
        make_card(0.5),
        metrics=sides["validation"].metrics(),
        test=sides["test"].metrics(),
        results={
            "training": random_side(900, seed=2, name="training").results(),
            **{name: side.results() for name, side in sides.items()},
        },
        results_at_half={"training": random_side(900, seed=3, name="training").results_at_half()},
        operating_points=[
            point.as_dict() for point in operating_points(sides["test"].scored(), 0.5, 0.05)
        ],
        elsewhere={
            "wide border": {"auroc": {"value": 0.97}, "balanced_accuracy": {"value": 0.9}},
            "small JPEG": {"auroc": {"value": 0.91}, "auroc_normals": {"value": 0.8}},
        },
        gate=make_recogniser(),
        reference=reference(),
        training={
            "command": "screening train films --out MODEL",
            "fingerprint": "f" * 64,
            "films": {
                "training": {"films": 1900, "patients": 812, "NORMAL": 600, "PNEUMONIA": 1300},
                "validation": {"films": 200, "patients": 200, "NORMAL": 67, "PNEUMONIA": 133},
            },
            "recipe": {"protocol": "patient", "seed": 7, "multipliers": {"stem": 0.1}},
            "software": {"keras": "3.12"},
            "seconds": 12.5,
        },
    )


@pytest.fixture
def bare():
    """A card with only what a model needs."""
    return make_card(0.5)


def with_figures(model, *names):
    for name in names:
        with drawn(model / "figures" / f"{name}.png", 1, 1):
            pass


def test_page_starts_with_the_notice_about_research_software(tmp_path, bare):
    text = page_of(tmp_path, bare).text
    assert text.index("Research software.") < text.index("Intended use")
    assert "Not a medical device" in text


def test_page_of_a_minimal_card_has_no_empty_parts(tmp_path, bare):
    page = page_of(tmp_path, bare)
    for part in ("Performance", "Simulated hospitals", "The gate", "Reference for drift"):
        assert part not in page.text
    assert "0.5" in page.text
    assert page.images == []


def test_validation_and_test_are_shown_side_by_side_with_intervals(tmp_path, card):
    page = page_of(tmp_path, card)
    expected = []
    for metrics in (card.metrics, card.test):
        figure = metrics["recall"]
        expected += [
            f"{figure['value']:.3f}",
            f"{figure['ci_low']:.3f}{DASH}{figure['ci_high']:.3f}",
            str(figure["n"]),
        ]
    assert page.row("Sensitivity (recall)") == expected
    assert "the test films were used only for the figures below" in page.text


def test_page_without_a_test_side_says_that_its_figures_are_optimistic(tmp_path, card):
    page = page_of(tmp_path, replace(card, test={}))
    assert len(page.row("AUROC")) == 3
    assert "There is no test side" in page.text
    assert "the test films were used only for" not in page.text


@pytest.mark.parametrize(("protocol", "warned"), [("film", True), ("patient", False)])
def test_figures_with_patients_on_both_sides_are_marked_as_optimistic(
    tmp_path, card, protocol, warned
):
    recipe = card.training["recipe"] | {"protocol": protocol}
    text = page_of(tmp_path, replace(card, training=card.training | {"recipe": recipe})).text
    assert ("The figures on this page are optimistic." in text) is warned
    assert ("Patients are on both sides." in text) is warned
    assert ("Patients were divided, not films" in text) is not warned


def test_loss_accuracy_and_figures_by_class_are_tables(tmp_path, card):
    page = page_of(tmp_path, card)
    training = card.results["training"]
    at_half = card.results_at_half["training"]
    accuracies = [f"{side['accuracy']:.4f}" for side in (training, at_half)]
    assert ["training", "900", f"{training['loss']:.4f}", *accuracies] in page.rows
    assert accuracies[0] != accuracies[1]
    assert page.all_rows("PNEUMONIA, training") == [
        [
            "600",
            *(str(side["confusion"]["PNEUMONIA"][name]) for name in ("NORMAL", "PNEUMONIA")),
            *(f"{side['classes']['PNEUMONIA'][key]:.3f}" for key in ("precision", "recall", "f1")),
        ]
        for side in (training, at_half)
    ]


def test_card_without_results_at_half_has_one_table_by_class(tmp_path, card):
    page = page_of(tmp_path, replace(card, results_at_half={}))
    assert len(page.all_rows("PNEUMONIA, training")) == 1
    assert "By class, at 0.5" not in page.text


def test_threshold_in_use_is_marked_and_its_side_is_named(tmp_path, card):
    page = page_of(tmp_path, card)
    marked = [row for row, kind in zip(page.rows, page.classes, strict=True) if kind == "chosen"]
    # Rows of both tables of thresholds, and of the worst hospital.
    assert [row[0] for row in marked] == ["0.5in use", "0.5in use", "small JPEG"]
    assert "Results of other thresholds on the test films" in page.text
    count = card.test["confusion"]
    assert marked[1][-4:] == [str(count[key]) for key in ("TP", "FP", "TN", "FN")]


def test_projected_prevalence_has_its_own_columns(tmp_path, card):
    assert "PPVat 5.0%" in [cell for row in page_of(tmp_path, card).rows for cell in row]
    points = [point | {"projected": None} for point in card.operating_points]
    page = page_of(tmp_path, replace(card, operating_points=points))
    assert not [cell for row in page.rows for cell in row if "at 5" in cell]


def test_hospitals_are_sorted_from_the_worst_to_the_best(tmp_path, card):
    page = page_of(tmp_path, card)
    assert "Worst AUROC: 0.910 (small JPEG)" in page.text
    first = [row[0] for row in page.rows if row]
    assert first.index("small JPEG") < first.index("wide border")
    assert page.row("small JPEG") == ["0.9100", "0.8000", DASH]
    assert page.row("wide border") == ["0.9700", DASH, "0.900"]


def test_gate_and_drift_reference_are_shown(tmp_path, card):
    page = page_of(tmp_path, card)
    assert page.row("own films") == ["3"]
    assert page.row("photo") == ["2 of 2"]
    assert page.row("refused by the gate") == ["25.0%"]
    assert page.row("flagged as pneumonia, of the scored films") == ["40.0%"]
    assert page.row("Sharpness")[0] == "0.500"


def test_everything_needed_to_reproduce_the_model_is_shown(tmp_path, card):
    page = page_of(tmp_path, card)
    assert "screening train films --out MODEL" in page.text
    assert page.row("fingerprint of the films") == ["f" * 64]
    assert page.row("software") == ["keras 3.12"]
    assert page.row("multipliers") == ["stem 0.1"]
    assert page.row("seconds") == ["12.5"]


def test_images_are_embedded_with_alternative_texts(tmp_path, card):
    names = ("roc", "confusion_validation", "confusion_test", "learning_loss", "elsewhere")
    with_figures(tmp_path, *names, "mistakes_test", "reliability_test", "thresholds_validation")
    page = page_of(tmp_path, card)
    assert len(page.images) == 8
    assert all(image["alt"] and image["src"].startswith("data:image/png") for image in page.images)
    assert "The worst mistakes" in page.text


def test_page_loads_no_external_resources(tmp_path, card):
    with_figures(tmp_path, "roc")
    (tmp_path / "data.html").write_text("the data report")
    page = page_of(tmp_path, card)
    assert [link for link in page.links if not link.startswith("data:")] == ["data.html"]
    assert "data.html" not in page_of(tmp_path / "figures", card).text


def test_every_value_is_escaped(tmp_path, card):
    bad = "<script>alert(1)</script>"
    nasty = replace(
        card,
        architecture=bad,
        operating_point=replace(card.operating_point, rule=bad),
        elsewhere={bad: {"auroc": 0.5}},
        gate=make_recogniser(fitted_on={bad: bad, "kinds": {bad: bad}}),
        training={
            "command": bad,
            "data": bad,
            bad: bad,
            "films": {bad: {}},
            "recipe": {bad: bad, "protocol": bad},
        },
    )
    write_page(tmp_path, nasty)
    source = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<script" not in source
    assert Page(source).text.count(bad) > 10


def test_name_that_is_not_utf_8_does_not_break_the_page(tmp_path, card):
    training = card.training | {"command": "screening train '\udcff'"}
    assert "screening train '?'" in page_of(tmp_path, replace(card, training=training)).text


def test_card_read_from_disk_gives_the_same_page(tmp_path, card):
    write_page(tmp_path, card)
    page = (tmp_path / "card.html").read_bytes()
    card.write(tmp_path)
    write_page(tmp_path, Card.read(tmp_path))
    assert (tmp_path / "card.html").read_bytes() == page


def test_undefined_figures_are_dashes(tmp_path, card):
    undefined = {"value": None, "ci_low": None, "ci_high": None, "n": 0}
    page = page_of(tmp_path, replace(card, test=card.test | {"specificity": undefined}))
    assert page.row("Specificity")[3:] == [DASH, "", "0"]
