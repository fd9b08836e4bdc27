"""The figures of a model card are written and show the right values."""

import matplotlib as mpl
import pytest
from PIL import Image

from drawings import axes, hashes, lines
from evaluated_sides import random_side
from screening.training.html import figures
from screening.training.html.figures import draw_elsewhere, draw_learning, draw_performance

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


def test_each_side_has_its_figures_and_the_curves_are_shared(tmp_path):
    draw(tmp_path, random_side(), random_side(seed=1, name="test"))
    kinds = ("confusion", "reliability", "scores", "thresholds")
    assert {path.name for path in tmp_path.iterdir()} == {
        "roc.png",
        "precision_recall.png",
        *(f"{kind}_{side}.png" for kind in kinds for side in ("validation", "test")),
    }


def test_image_has_120_dpi_and_no_other_metadata(tmp_path):
    draw_learning(tmp_path / "figures", HISTORY)
    with Image.open(tmp_path / "figures" / "learning_loss.png") as picture:
        assert picture.width == 552
        assert set(picture.info) <= {"dpi"}


def test_same_films_give_the_same_bytes_in_any_matplotlib_style(tmp_path):
    draw(tmp_path / "a", random_side())
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "savefig.dpi": 10}):
        draw(tmp_path / "b", random_side())
        assert mpl.rcParams["font.size"] == 30
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_learning_curves_show_the_columns_of_the_history():
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
def test_history_with_gaps_is_drawn(tmp_path, history):
    draw_learning(tmp_path, history)
    assert len(list(tmp_path.iterdir())) == 2


def test_worst_hospital_is_on_top_and_circled():
    own = axes()
    figures._elsewhere(own, ["wide border", "small JPEG"], ELSEWHERE)
    assert lines(own)["AUROC"].tolist() == [[0.97, 0], [0.91, 1]]
    assert {text.get_text() for text in own.texts} == {"0.910", "0.900"}


def test_hospitals_without_an_auroc_are_omitted(tmp_path):
    draw_elsewhere(tmp_path, {"not measured": {"auroc": None}, "odd": {}})
    assert not list(tmp_path.iterdir())
    draw_elsewhere(tmp_path, ELSEWHERE)
    assert (tmp_path / "elsewhere.png").is_file()


def test_hospital_without_balanced_accuracy_is_drawn(tmp_path):
    draw_elsewhere(tmp_path, {"a $x_1$ place": {"auroc": 0.9}})
    assert (tmp_path / "elsewhere.png").is_file()
