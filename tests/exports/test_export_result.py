"""Tests of the export results and of the table of all targets."""

import numpy as np
import pytest

from exports.parity import Answers, ExportResult, Parity, Verdict, table
from exports.targets import TARGETS
from screening.results import Status

FILMS = 400
LABELS = np.arange(FILMS) % 2


def said(probabilities, maps=None):
    verdicts = [
        Verdict(Status.SCORED, "PNEUMONIA" if p >= 0.5 else "NORMAL") for p in probabilities
    ]
    return Answers(np.asarray(probabilities, float), verdicts, maps)


def compared(name, given, size=1_234_567, maps=None):
    """Result of a target with `given` probabilities; the original alternates 0.4 and 0.6."""
    expected = np.where(LABELS == 1, 0.6, 0.4)
    original = said(expected, None if maps is None else np.zeros_like(maps))
    parity = Parity(TARGETS[name], original, (said(given(expected), maps),), LABELS)
    return ExportResult(TARGETS[name], size, parity)


def good(name="onnx"):
    return compared(name, lambda p: p + 0.00002)


def missed(name, films):
    """Result of a target that misses pneumonia on this many films."""

    def given(p):
        p = p.copy()
        p[1 : 2 * films : 2] = 0.3
        return p

    return compared(name, given)


HEAD = ("target", "MB", "max |dp|", "mean |dp|", "flips", "sensitivity", "specificity")


def cells(text):
    """Rows of the table, split at the columns of its head."""
    head, *lines = text.split("\n")
    starts = [head.index(name) for name in HEAD]
    assert starts == sorted(starts)
    widest = max(map(len, lines))
    # The last column has no name; it starts after the widest cell of the previous one.
    last = max(line.index(word) for line in lines for word in ("ok", "FAILED") if word in line)
    starts.append(last)
    ends = [*starts[1:], widest]
    return [
        [line[start:end].rstrip() for start, end in zip(starts, ends, strict=True)]
        for line in lines
    ]


def test_table_has_a_line_per_target_with_figures():
    outcomes = [good(), missed("tflite-int8", 1)]
    assert cells(table(outcomes)) == [
        [
            "onnx",
            "1.23",
            "2e-05",
            "2e-05",
            "0/400",
            "+0.0000 (-0.0097 to +0.0097)",
            "+0.0000 (-0.0097 to +0.0097)",
            "ok",
        ],
        [
            "tflite-int8",
            "1.23",
            "0.3",
            "0.00075",
            "1/400",
            str(outcomes[1].parity.change(1)),
            "+0.0000 (-0.0097 to +0.0097)",
            "ok",
        ],
    ]
    assert str(outcomes[1].parity.change(1)).startswith("-0.0050 (")


def test_columns_are_always_aligned():
    outcomes = [
        good(),
        missed("tflite-float32", 150),
        ExportResult(TARGETS["tflite-float16"], failure="the conversion failed: no such operator"),
        compared("onnx-int8", lambda p: p, size=123_456_789_000),
        compared("tflite-int8", lambda p: np.full_like(p, np.nan), size=5),
    ]
    rows = cells(table(outcomes))
    assert [row[0] for row in rows] == [outcome.target.name for outcome in outcomes]
    assert [row[1] for row in rows] == ["1.23", "1.23", "", "123456.79", "0.00"]
    assert rows[2][2:7] == [""] * 5
    assert [row[4] for row in rows] == ["0/400", "150/400", "", "0/400", "200/400"]
    assert [row[7].partition(":")[0] for row in rows] == ["ok", "FAILED", "FAILED", "ok", "FAILED"]


def test_lines_have_no_trailing_spaces():
    text = table([good(), ExportResult(TARGETS["tflite-int8"], failure="it failed")])
    assert all(line == line.rstrip() for line in text.split("\n"))


def test_line_contains_all_failures_of_a_target():
    cells_of_map = np.ones((FILMS, 2, 2), np.float32)
    outcome = compared("onnx", lambda p: np.full_like(p, 0.1), maps=cells_of_map)
    assert outcome.failures == [
        "a probability differs by 0.5, 0.0001 is allowed",
        "200 decisions differ, 2 are allowed",
        "a cell of a map differs by 1 logits, 0.1 is allowed",
    ]
    (row,) = cells(table([outcome]))
    assert row[7] == "FAILED: " + "; ".join(outcome.failures)


def test_failed_conversion_is_in_the_table():
    failed = ExportResult(
        TARGETS["tflite-int8"], failure="the converter did not write model-int8.tflite"
    )
    row, other = cells(table([failed, good()]))
    assert row == [
        "tflite-int8",
        *[""] * 6,
        "FAILED: the converter did not write model-int8.tflite",
    ]
    assert other[7] == "ok"
    assert failed.failures == ["the converter did not write model-int8.tflite"]
    assert failed.as_dict() == {"bytes": 0}


def test_multi_line_failure_does_not_break_the_table():
    error = "Some ops are not supported.\nTF Select ops: Betainc\nDetails:\n\ttf.Betainc(tensor)"
    text = table(
        [good(), ExportResult(TARGETS["tflite-int8"], failure=error), good("tflite-float32")]
    )
    assert len(text.split("\n")) == 1 + 3
    assert "Betainc" in text


def test_summary_is_one_line():
    assert good().summary == "onnx: largest difference 2e-05, 0 of 400 decisions differ"
    many = missed("tflite-int8", 7)
    assert many.summary == "tflite-int8: largest difference 0.3, 7 of 400 decisions differ"


def test_failure_names_its_target_once():
    error = "tflite-int8: the conversion failed: 8-bit targets need films for calibration"
    failed = ExportResult(TARGETS["tflite-int8"], failure=error)
    assert failed.summary.count("tflite-int8") == 1


def test_allowed_flips_are_no_failure():
    assert good().failures == []
    assert missed("tflite-int8", 2).failures == []
    assert missed("tflite-int8", 3).failures == ["3 decisions differ, 2 are allowed"]


def test_card_records_size_and_figures():
    recorded = good().as_dict()
    assert recorded["bytes"] == 1_234_567
    assert recorded["file"] == "model.onnx"
    assert recorded["largest_difference"] == pytest.approx(0.00002)
