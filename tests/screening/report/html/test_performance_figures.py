"""Tests that figures of labelled films are written and show the correct values."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from drawings import axes, hashes, lines
from scored_films import films_of, random_films, side_of
from screening.report.html import performance_figures
from screening.report.html.components import drawable, drawn
from screening.report.html.performance_figures import (
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_thresholds,
)


def draw(folder, films):
    side = side_of(films)
    draw_roc(folder / "roc.png", [side])
    draw_precision_recall(folder / "precision_recall.png", [side])
    draw_confusion(folder / "confusion.png", side, 0.5)
    draw_reliability(folder / "reliability.png", side)
    draw_scores(folder / "scores.png", {"all": films.probability}, 0.5, "Films")
    draw_thresholds(folder / "thresholds.png", side, 0.5)


def test_picture_has_120_dpi_and_no_other_metadata(tmp_path):
    draw_confusion(tmp_path / "figures" / "confusion.png", side_of(random_films()), 0.5)
    with Image.open(tmp_path / "figures" / "confusion.png") as picture:
        assert picture.width == 552
        assert set(picture.info) <= {"dpi"}


def test_same_films_give_the_same_bytes_with_any_user_style(tmp_path):
    draw(tmp_path / "a", random_films())
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "savefig.dpi": 10}):
        draw(tmp_path / "b", random_films())
        assert mpl.rcParams["font.size"] == 30
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


@pytest.mark.parametrize(
    "films",
    [
        films_of((0, 1), (0.5, 0.5)),
        films_of((0, 0, 1, 1), (0.0, 0.0, 1.0, 1.0)),
        films_of((0, 0, 1, 1), (1.0, 1.0, 0.0, 0.0)),
        films_of((0, 1, 1), (0.1, 0.8, 0.9), films_a_patient=3),
        films_of((1, 1, 1), (0.1, 0.4, 0.9)),
        films_of((0, 0), (0.1, 0.4)),
    ],
    ids=["tied", "perfect", "all wrong", "one patient", "no normal", "no pneumonia"],
)
def test_films_with_undefined_figures_are_drawn(tmp_path, films):
    draw(tmp_path, films)
    assert len(list(tmp_path.iterdir())) == 6


def test_operating_point_is_drawn_at_its_metrics():
    side = side_of(films_of((0, 0, 0, 0, 1, 1), (0.1, 0.2, 0.3, 0.9, 0.4, 0.8)))
    own = axes()
    performance_figures._roc(own, [side])
    (bars,) = own.containers
    assert bars.lines[0].get_xydata().tolist() == [[0.25, 0.5]]
    across, along = (segments.get_segments()[0] for segments in bars.lines[2])
    specificity, recall = side.figure("specificity"), side.figure("recall")
    assert across[:, 0] == pytest.approx([1 - specificity.ci_high, 1 - specificity.ci_low])
    assert along[:, 1] == pytest.approx([recall.ci_low, recall.ci_high])


@pytest.mark.parametrize(("labels", "corners"), [((0, 0, 1, 1), 1), ((1, 0, 1, 0), 0)])
def test_corner_is_enlarged_if_the_curve_is_close_to_it(labels, corners):
    own = axes()
    performance_figures._roc(own, [side_of(films_of(labels, (0.1, 0.2, 0.8, 0.9)))])
    assert len(own.child_axes) == corners


def test_confusion_has_rows_by_label_and_columns_by_prediction():
    own = axes()
    films = films_of((0, 0, 0, 0, 1, 1, 1), (0.1, 0.1, 0.1, 0.9, 0.1, 0.9, 0.9))
    performance_figures._confusion(own, side_of(films), 0.5)
    written = {
        (round(t.get_position()[1]), t.get_position()[0]): t.get_text() for t in own.texts[::2]
    }
    assert written == {(0, 0): "3", (0, 1): "1", (1, 0): "1", (1, 1): "2"}
    assert own.texts[1].get_text() == "75.0% of NORMAL"
    assert [t.get_text() for t in own.get_yticklabels()] == ["NORMAL", "PNEUMONIA"]
    assert own.yaxis_inverted()


def test_reliability_groups_have_equal_size_and_show_shares():
    films = random_films(200)
    figure = Figure()
    performance_figures._reliability(figure, side_of(films))
    order = np.argsort(films.probability, kind="stable").reshape(10, 20)
    upper, lower = figure.axes
    points = upper.containers[0].lines[0].get_xydata()
    assert np.allclose(points[:, 0], films.probability[order].mean(axis=1))
    assert np.allclose(points[:, 1], films.positive[order].mean(axis=1))
    assert sum(bar.get_height() for bar in lower.patches) == 200
    error = performance_figures.calibration_error(films.positive, films.probability)
    assert f"{error:.3f}" in upper.get_title()


def test_histogram_counts_every_film_of_every_group():
    own = axes()
    groups = {
        "NORMAL": np.array([0.0, 0.5]),
        "PNEUMONIA": np.array([0.5, 1.0, 1.0]),
        "no label": np.array([0.3]),
    }
    performance_figures._scores(own, groups, 0.5, "Films")
    heights = {
        bars.get_label(): sum(bar.get_height() for bar in bars.patches) for bars in own.containers
    }
    assert heights == {"NORMAL": 2, "PNEUMONIA": 3, "no label": 1}
    assert lines(own)["threshold"][0, 0] == 0.5


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
def test_drawable_replaces_unknown_letters_and_shortens_names(name, expected):
    assert drawable(name) == expected


def test_names_with_any_characters_are_drawn(tmp_path):
    with drawn(tmp_path / "name.png", 3, 2) as figure:
        figure.text(0, 0, drawable("$\\frac{ 胸\n\x00\x7f.png"), parse_math=False)
    assert (tmp_path / "name.png").is_file()
