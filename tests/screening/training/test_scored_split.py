"""A scored side: its arrays, metrics and CSV columns."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from evaluated_sides import films_of, random_side, side_of
from screening.model.calibration import Calibration, OperatingPoint
from screening.training.scored_split import SIDES, ScoredSplit, number


def test_calibration_and_operating_point_are_applied_to_scores():
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]], np.float32)
    calibration, point = Calibration(temperature=0.5), OperatingPoint(0.7, "rule")
    side = ScoredSplit.of("test", films_of((0, 1, 1)), scores, calibration, point)
    assert side.probabilities.tolist() == calibration.probabilities(scores).tolist()
    assert side.called.tolist() == [False, False, True]


def test_arrays_must_have_the_length_of_the_films():
    with pytest.raises(ValueError, match="the test side"):
        ScoredSplit("test", films_of((0, 1)), np.array([0.5]), np.array([True]))


def test_films_of_one_patient_have_the_same_number():
    scored = side_of((0, 1, 1, 0), (0.1, 0.9, 0.8, 0.2), films_a_patient=2).scored()
    assert scored.patient.tolist() == [0, 0, 1, 1]
    assert scored.positive.tolist() == [False, True, True, False]


def test_loss_is_the_log_loss_of_the_calibrated_probabilities():
    side = random_side()
    assert side.loss == pytest.approx(log_loss(side.labels, side.probabilities))
    assert side.results()["loss"] == side.loss


def test_results_at_half_give_each_film_the_likelier_class():
    side = side_of((0, 0, 1, 1), (0.1, 0.5, 0.6, 0.95), threshold=0.9)
    assert side.results()["confusion"]["PNEUMONIA"] == {"NORMAL": 1, "PNEUMONIA": 1}
    at_half = side.results_at_half()
    assert at_half["confusion"]["NORMAL"] == {"NORMAL": 1, "PNEUMONIA": 1}
    assert at_half["confusion"]["PNEUMONIA"] == {"NORMAL": 0, "PNEUMONIA": 2}
    assert (at_half["accuracy"], at_half["loss"]) == (0.75, side.loss)


def test_certain_but_wrong_film_has_a_finite_loss():
    assert np.isfinite(side_of((0, 1), (1.0, 0.0)).loss)


def test_metrics_name_their_side_and_agree_with_the_results():
    side = random_side(name="test")
    metrics = side.metrics()
    assert metrics["set"] == "test"
    assert metrics["recall"]["value"] == side.results()["classes"]["PNEUMONIA"]["recall"]
    assert sum(metrics["confusion"].values()) == metrics["accuracy"]["n"] == 200


def test_columns_have_a_row_for_each_film():
    columns = side_of((0, 1), (0.1, 0.4)).columns()
    assert list(columns) == ["film", "label", "patient", "probability", "prediction"]
    assert [list(column) for column in columns.values()] == [
        ["films/0.png", "films/1.png"],
        ["NORMAL", "PNEUMONIA"],
        ["p0", "p1"],
        [0.1, 0.4],
        ["NORMAL", "NORMAL"],
    ]


def test_sides_have_the_names_of_the_data_report():
    assert SIDES == ("training", "validation", "test")


@pytest.mark.parametrize(
    ("metric", "value"),
    [(0.5, 0.5), ({"value": 0.5, "n": 3}, 0.5), ({"value": None}, None), (None, None), (1, 1.0)],
)
def test_number_takes_the_value_of_a_metric(metric, value):
    assert number(metric) == value
