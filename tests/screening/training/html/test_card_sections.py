"""The card page's sections on groups of films, model reasons and model selection."""

from dataclasses import replace

import numpy as np
import pytest

from drawings import axes
from lung_films import described, inside_only, made_films
from makers import make_card
from screening.model.calibration import Calibration, OperatingPoint
from screening.training.evaluate import selection
from screening.training.html import figures
from screening.training.html.card_page import write_page
from screening.training.html.card_sections import last_side
from screening.training.html.figures import draw_reasons, draw_share_called
from screening.training.robustness import ModelUnderTest, measure_reasons
from screening.training.scored_split import ScoredSplit
from screening.training.subgroups import subgroups
from web_page import Page

DASH = "\N{EN DASH}"
POINT = OperatingPoint(0.5, "half")
FILMS = [
    *described([0, 1] * 15, source="children"),
    *described([0] * 10, source="adults", view="AP", age=60.0),
    *described([0] * 10, source="adults", view="PA", age=70.0),
    *described([0, 1] * 5, source="reports", view="AP", age=60.0, confidence=0.8),
]
HEADINGS = (
    "By source, view and age",
    "Sensitivity for adults, estimated from weak labels",
    "What these films cannot show",
    "Does it read the lungs?",
    "What the decision depends on",
    "Where the evidence lies",
    "Does it know the view?",
    "Figures for comparing models",
    "Sources that were left out of the training",
)


def evidence(films):
    return np.ones((len(films), 4, 4), np.float32)


@pytest.fixture(scope="module")
def card():
    greys, masks = made_films([film.label for film in FILMS], side=32)
    side = ScoredSplit.of("validation", FILMS, inside_only(greys), Calibration(), POINT)
    model = ModelUnderTest(inside_only, Calibration(), POINT, evidence)
    reasons, groups = measure_reasons(side, greys, masks, model), subgroups(side)
    elsewhere = {"small JPEG": {"auroc": {"value": 0.91, "ci_low": 0.8, "ci_high": 0.95}}}
    return replace(
        make_card(),
        reasons={"validation": reasons},
        subgroups={"validation": groups},
        left_out=subgroups(side.at(np.arange(30))),
        selection=selection(elsewhere, reasons, groups),
    )


def page_of(model, card):
    write_page(model, card)
    return Page((model / "card.html").read_text(encoding="utf-8"))


def headings(page):
    return {text for _level, text in page.headings}


def test_page_has_all_sections(tmp_path, card):
    assert headings(page_of(tmp_path, card)) >= {*HEADINGS}


def test_card_without_these_fields_has_none_of_the_sections(tmp_path):
    assert not headings(page_of(tmp_path, make_card())) & {*HEADINGS}


def test_single_source_without_view_and_age_has_no_section_by_source(tmp_path, card):
    side = ScoredSplit(
        "validation", described([0, 1]), np.array([0.1, 0.9]), np.array([False, True])
    )
    page = page_of(tmp_path, replace(card, subgroups={"validation": subgroups(side)}))
    assert "By source, view and age" not in headings(page)


def test_groups_show_their_figures_and_mark_weak_labels(tmp_path, card):
    page = page_of(tmp_path, card)
    assert page.row("adults, AP")[:2] == ["10", "0"]
    assert page.row("adults, AP")[3:] == [DASH] * 3
    assert page.row("adults, 65-79")[0] == "10"
    assert page.row("reports (weak labels)")[:2] == ["10", "5"]
    assert len(page.all_rows("children")) == 2  # here and among the left-out sources
    assert page.row("AP (does not fit the mixture)")[0] == "5"


def test_page_lists_what_no_source_can_show(tmp_path, card):
    text = page_of(tmp_path, card).text
    assert "No film of an adult has lung opacity according to a radiologist." in text
    assert "No film is known to show an infant under one year." in text
    assert "adults: films of one class only." in text
    assert "children: the view is not known for any film." in text
    infants = card.subgroups["validation"] | {"infants": 3, "adults_with_opacity": 9}
    text = page_of(tmp_path, replace(card, subgroups={"validation": infants})).text
    assert "infant under one" not in text
    assert "according to a radiologist" not in text


def test_tests_of_reasons_are_shown_with_the_expected_result(tmp_path, card):
    page = page_of(tmp_path, card)
    hidden, fall = page.all_rows("Lungs hidden")
    assert hidden[0] == "AUROC at most 0.65"
    assert float(fall[0]) > 1
    exchanged = page.row("Outside of a film of the other class")
    assert exchanged[1].startswith("1.000 (")
    assert exchanged[2].startswith("0.000 (0.000")
    assert exchanged[3] == "30"
    assert page.row("adults: letters burnt in")[1] == DASH
    assert page.row("All flagged films")[-1].isdigit()
    group, view = page.all_rows("adults")
    assert group[:2] == ["20", "0"]
    assert view[:2] == ["10", "10"]


def test_selection_names_the_worst_component(tmp_path, card):
    page = page_of(tmp_path, card)
    assert page.row("AUROC at the worst simulated hospital") == [
        "0.910", f"0.800{DASH}0.950", "small JPEG",
    ]  # fmt: skip
    assert page.row("The worst of these")[2] == "AUROC at the worst simulated hospital"


def test_last_side_prefers_test_to_validation():
    assert last_side({"test": {"n": 2}, "validation": {"n": 1}}) == ("test", {"n": 2})
    assert last_side({"test": {}, "validation": {"n": 1}}) == ("validation", {"n": 1})
    assert last_side({}) == ("", {})


def test_figures_are_drawn_only_if_they_have_content(tmp_path, card):
    draw_reasons(tmp_path, {})
    draw_share_called(tmp_path, {})
    assert not list(tmp_path.iterdir())
    draw_reasons(tmp_path, card.reasons["validation"])
    draw_share_called(tmp_path, card.subgroups["validation"])
    assert {path.name for path in tmp_path.iterdir()} == {"reasons.png", "share_called.png"}


def test_share_called_of_normals_is_one_minus_specificity():
    specificity = {"value": 0.9, "ci_low": 0.8, "ci_high": 0.95}
    both = {"positives": 1, "n": 2, "specificity": specificity, "sensitivity": {"value": 0.7}}
    assert figures._share_called(both, 0) == {
        "value": pytest.approx(0.1),
        "ci_low": pytest.approx(0.05),
        "ci_high": pytest.approx(0.2),
    }
    assert figures._share_called(both, 1) == {"value": 0.7}
    one = {"positives": 0, "n": 2, "share_called": {"value": 0.3}}
    assert figures._share_called(one, 0) == {"value": 0.3}
    assert figures._share_called(one, 1) is None
    assert figures._share_called(one | {"positives": 2}, 0) is None


def test_weak_labels_are_drawn_hollow():
    own = axes()
    figure = {"value": 0.5, "ci_low": None, "ci_high": None}
    figures._with_interval(own, figure, 0, "red", "o", hollow=True)
    assert own.lines[0].get_markerfacecolor() == "none"
    assert len(own.lines) == 1
