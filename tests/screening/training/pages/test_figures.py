"""The pictures of a model card: that they are written, and that they show what is so."""

import hashlib

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluated_sides import random_side, side_of
from screening.training.pages import figures
from screening.training.pages.drawing import drawn, printable
from screening.training.pages.figures import draw_elsewhere, draw_learning, draw_performance

HISTORY = [
    {"epoch": 1.0, "loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.85},
    {"epoch": 2.0, "loss": 0.3, "accuracy": 0.9, "val_loss": 0.2, "val_accuracy": 0.95},
]
ELSEWHERE = {
    "wide border": {"auroc": {"value": 0.97, "ci_low": 0.95}, "balanced_accuracy": 0.9},
    "small JPEG": {"auroc": 0.91, "balanced_accuracy": {"value": 0.93}},
    "not measured": {"auroc": None},
}


def draw(folder, *sides):
    draw_performance(folder, sides, 0.5, {side.name: side.metrics() for side in sides})


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def axes():
    return Figure().subplots()


def lines(axes):
    """Points of each labelled line."""
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_each_side_has_its_pictures_and_the_curves_are_shared(tmp_path):
    draw(tmp_path, random_side(), random_side(seed=1, name="test"))
    kinds = ("confusion", "reliability", "scores", "thresholds")
    assert {path.name for path in tmp_path.iterdir()} == {
        "roc.png",
        "precision_recall.png",
        *(f"{kind}_{side}.png" for kind in kinds for side in ("validation", "test")),
    }


def test_a_picture_has_120_dots_an_inch_and_says_nothing_of_how_it_was_made(tmp_path):
    draw_learning(tmp_path / "figures", HISTORY)
    with Image.open(tmp_path / "figures" / "learning_loss.png") as picture:
        assert picture.width == 552
        assert set(picture.info) <= {"dpi"}


def test_the_same_films_give_the_same_bytes_whatever_style_the_user_has(tmp_path):
    draw(tmp_path / "a", random_side())
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "savefig.dpi": 10}):
        draw(tmp_path / "b", random_side())
        assert mpl.rcParams["font.size"] == 30
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


@pytest.mark.parametrize(
    "side",
    [
        side_of((0, 1), (0.5, 0.5)),
        side_of((0, 0, 1, 1), (0.0, 0.0, 1.0, 1.0)),
        side_of((0, 0, 1, 1), (1.0, 1.0, 0.0, 0.0)),
        side_of((0, 1, 1), (0.1, 0.8, 0.9), films_a_patient=3),
        side_of((1, 1, 1), (0.1, 0.4, 0.9)),
        side_of((0, 0), (0.1, 0.4)),
    ],
    ids=["tied", "perfect", "all wrong", "one patient", "no normal", "no pneumonia"],
)
def test_films_that_leave_figures_undefined_are_drawn_all_the_same(tmp_path, side):
    draw(tmp_path, side)
    assert len(list(tmp_path.iterdir())) == 6


def test_the_learning_curves_show_the_columns_that_the_history_has():
    loss, accuracy = axes(), axes()
    figures._learning(loss, HISTORY, figures._LOSSES, "")
    figures._learning(accuracy, HISTORY, figures._SHARES, "")
    assert lines(loss)["validation"].tolist() == [[1, 0.4], [2, 0.2]]
    assert [label for label in lines(accuracy) if "AUROC" in label] == []
    assert len(lines(accuracy)) == 2


@pytest.mark.parametrize(
    "history",
    [[], [{"epoch": 1.0}], [{"epoch": 1.0, "loss": 0.3}, {"epoch": 2.0}], HISTORY[:1]],
    ids=["no epoch", "no column", "a gap", "one epoch"],
)
def test_a_history_with_gaps_is_drawn(tmp_path, history):
    draw_learning(tmp_path, history)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_operating_point_stands_where_the_metrics_say():
    side = side_of((0, 0, 0, 0, 1, 1), (0.1, 0.2, 0.3, 0.9, 0.4, 0.8))
    own = axes()
    metrics = side.metrics()
    figures._roc(own, {"validation": figures.Sweep(side.scored())}, {"validation": metrics})
    (bars,) = own.containers
    assert bars.lines[0].get_xydata().tolist() == [[0.25, 0.5]]
    across, along = (segments.get_segments()[0] for segments in bars.lines[2])
    specificity, recall = metrics["specificity"], metrics["recall"]
    assert across[:, 0] == pytest.approx([1 - specificity["ci_high"], 1 - specificity["ci_low"]])
    assert along[:, 1] == pytest.approx([recall["ci_low"], recall["ci_high"]])


@pytest.mark.parametrize(("labels", "corners"), [((0, 0, 1, 1), 1), ((1, 0, 1, 0), 0)])
def test_the_corner_is_enlarged_where_the_curve_sticks_to_it(labels, corners):
    side = side_of(labels, (0.1, 0.2, 0.8, 0.9))
    own = axes()
    figures._roc(own, {"validation": figures.Sweep(side.scored())}, {"validation": side.metrics()})
    assert len(own.child_axes) == corners


def test_the_confusion_has_a_row_for_each_label_and_a_column_for_each_call():
    own = axes()
    side = side_of((0, 0, 0, 0, 1, 1, 1), (0.1, 0.1, 0.1, 0.9, 0.1, 0.9, 0.9))
    figures._confusion(own, side, 0.5)
    written = {
        (round(t.get_position()[1]), t.get_position()[0]): t.get_text() for t in own.texts[::2]
    }
    assert written == {(0, 0): "3", (0, 1): "1", (1, 0): "1", (1, 1): "2"}
    assert own.texts[1].get_text() == "75.0% of NORMAL"
    assert [t.get_text() for t in own.get_yticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert own.yaxis_inverted()


def test_the_reliability_groups_are_of_equal_size_and_show_the_share_of_pneumonia():
    side = random_side(200)
    figure = Figure()
    figures._reliability(figure, side)
    order = np.argsort(side.probabilities, kind="stable").reshape(10, 20)
    upper, lower = figure.axes
    points = upper.containers[0].lines[0].get_xydata()
    assert np.allclose(points[:, 0], side.probabilities[order].mean(axis=1))
    assert np.allclose(points[:, 1], side.positive[order].mean(axis=1))
    assert sum(bar.get_height() for bar in lower.patches) == 200
    assert f"{side.metrics()['calibration_error']['value']:.3f}" in upper.get_title()


def test_the_histogram_counts_every_film_of_both_classes():
    own = axes()
    side = side_of((0, 0, 1, 1, 1), (0.0, 0.5, 0.5, 1.0, 1.0))
    figures._scores(own, side, 0.5)
    heights = {
        bars.get_label(): sum(bar.get_height() for bar in bars.patches) for bars in own.containers
    }
    assert heights == {"NORMAL": 2, "PNEUMONIA": 3}
    assert lines(own)["threshold"][0, 0] == 0.5


def test_the_worst_hospital_stands_on_top_and_is_ringed():
    own = axes()
    figures._elsewhere(own, ["wide border", "small JPEG"], ELSEWHERE)
    assert lines(own)["AUROC"].tolist() == [[0.97, 0], [0.91, 1]]
    assert {text.get_text() for text in own.texts} == {"0.910", "0.900"}


def test_hospitals_without_an_auroc_are_left_out(tmp_path):
    draw_elsewhere(tmp_path, {"not measured": {"auroc": None}, "odd": {}})
    assert not list(tmp_path.iterdir())
    draw_elsewhere(tmp_path, ELSEWHERE)
    assert (tmp_path / "elsewhere.png").is_file()


def test_a_hospital_without_balanced_accuracy_is_drawn(tmp_path):
    draw_elsewhere(tmp_path, {"a $x_1$ place": {"auroc": 0.9}})
    assert (tmp_path / "elsewhere.png").is_file()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IM-0001.png", "IM-0001.png"),
        ("über\n胸部.png", "über□□□.png"),
        ("\udcff.png", "□.png"),
        ("a" * 30 + "b" * 30, "a" * 19 + "…" + "b" * 19),
    ],
    ids=["plain", "letters without a glyph", "no text", "long"],
)
def test_a_name_is_written_as_the_font_can(name, expected):
    assert printable(name) == expected


def test_a_name_with_every_kind_of_letter_is_drawn(tmp_path):
    with drawn(tmp_path / "name.png", 3, 2) as figure:
        figure.text(0, 0, printable("$\\frac{ 胸\n\x00\x7f.png"), parse_math=False)
    assert (tmp_path / "name.png").is_file()
