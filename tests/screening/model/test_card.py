import hashlib
import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate_makers import make_recogniser
from makers import make_card
from screening.errors import CardError
from screening.model.calibration import Calibration
from screening.model.card import FORMAT, Card, sha256_of
from screening.model.drift_baseline import INPUTS, DriftBaseline, Spread, histogram, rising
from screening.model.lungs import LungCard


def changed(folder: Path, **fields: Any) -> None:
    """Write a valid card into `folder`, then change fields of its JSON."""
    make_card().write(folder)
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields), encoding="utf-8")


def packed(*shape: int, value: float = 1.0) -> dict[str, Any]:
    """An array with a single value, as stored in a card."""
    data = np.full(shape, value, "<f4").tobytes()
    return {"shape": list(shape), "float32": b64encode(data).decode()}


def make_reference() -> DriftBaseline:
    """Three films: one refused, one of the others classified as pneumonia."""
    spread = Spread.of(np.array([0.25, 0.75]))
    return DriftBaseline(
        n=3,
        refused=1,
        called=1,
        warnings={"out_of_domain": 1, "inverted": 0, "rotated": 0},
        histogram=histogram(np.array([0.25, 0.75])),
        probabilities=rising(np.array([0.25, 0.75])),
        distance=spread,
        inputs=dict.fromkeys(INPUTS, spread),
        embedding_mean=np.array([0.1, -2], np.float32),
        embedding_covariance=np.eye(2, dtype=np.float32),
    )


def test_card_round_trip(tmp_path: Path) -> None:
    card = make_card(0.375)
    card.write(tmp_path)
    assert Card.read(tmp_path) == card


def test_lung_card_round_trip(tmp_path: Path) -> None:
    card = replace(make_card(), lungs=LungCard("ab" * 32, 0.4, {"dice": 0.96}))
    card.write(tmp_path)
    assert Card.read(tmp_path) == card


def test_card_without_lungs_field_is_read(tmp_path: Path) -> None:
    make_card().write(tmp_path)
    path = tmp_path / "card.json"
    fields = json.loads(path.read_text())
    del fields["lungs"]
    path.write_text(json.dumps(fields), encoding="utf-8")
    assert Card.read(tmp_path).lungs is None


@pytest.mark.parametrize(
    ("years", "known"),
    [
        (0, False),
        (1, True),
        (6, True),
        (7, False),
        (17, False),
        (98, True),
        (99, False),
        (None, True),
    ],
)
def test_was_trained_on_age(tmp_path: Path, years: int | None, known: bool) -> None:
    ages = ((1.5, 5.0), (18.0, 88.0))
    replace(make_card(), ages=ages).write(tmp_path)
    card = Card.read(tmp_path)
    assert card.ages == ages
    assert card.was_trained_on_age(years) is known


def test_card_without_ages_accepts_every_age(tmp_path: Path) -> None:
    changed(tmp_path)
    assert Card.read(tmp_path).was_trained_on_age(0)


@pytest.mark.parametrize(
    "ages", [[[5, 1]], [[-1, 3]], [[1]], [["a", "b"]], 7, [1, 20], [], [[1, 200]]]
)
def test_card_with_impossible_ages_is_rejected(tmp_path: Path, ages: object) -> None:
    changed(tmp_path, ages=ages)
    with pytest.raises(CardError, match="damaged"):
        Card.read(tmp_path)


def test_card_is_readable_json(tmp_path: Path) -> None:
    make_card().write(tmp_path)
    fields = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert fields["classes"] == ["NORMAL", "PNEUMONIA"]
    assert fields["operating_point"] == {"threshold": 0.5, "rule": "given by the test"}
    assert fields["format"] == FORMAT


def test_path_that_is_not_utf_8_is_kept_in_a_card(tmp_path: Path) -> None:
    # The surrogate escapes of a file name with bytes that are not UTF-8.
    card = replace(make_card(), training={"data": "/films/\udcff \u00fc"})
    card.write(tmp_path)
    assert Card.read(tmp_path).training == card.training
    assert "\u00fc" in (tmp_path / "card.json").read_text("utf-8")


def test_version_is_the_start_of_the_weights_hash() -> None:
    card = make_card().with_weights("0123456789abcdef" * 4)
    assert card.version == "01234567"
    assert card.model == "brightness 01234567"
    assert card.weights_sha256 == "0123456789abcdef" * 4


def test_folder_without_a_card_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"no card\.json"):
        Card.read(tmp_path)


def test_card_that_is_a_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "card.json").mkdir()
    with pytest.raises(CardError, match=r"card\.json"):
        Card.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}"])
def test_file_that_is_not_a_card_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(CardError, match=r"card\.json"):
        Card.read(tmp_path)


@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1, str(FORMAT), None])
def test_card_of_another_format_is_rejected(tmp_path: Path, number: object) -> None:
    changed(tmp_path, format=number)
    with pytest.raises(CardError, match="format"):
        Card.read(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"preprocessing": {"rows": 32, "zoom": 2}},
        {"preprocessing": None},
        {"operating_point": {"threshold": 0.5}},
        {"calibration": [1.0]},
        {"classes": None},
        {"colour": "blue"},
        {"lungs": {"low_evidence": 2}},
        {"lungs": {"figures": [1]}},
        {"lungs": [0.5]},
    ],
    ids=str,
)
def test_card_with_damaged_fields_is_rejected(tmp_path: Path, fields: dict[str, Any]) -> None:
    changed(tmp_path, **fields)
    with pytest.raises(CardError, match="damaged"):
        Card.read(tmp_path)


def test_card_without_a_required_field_is_rejected(tmp_path: Path) -> None:
    make_card().write(tmp_path)
    path = tmp_path / "card.json"
    fields = json.loads(path.read_text())
    del fields["operating_point"]
    path.write_text(json.dumps(fields))
    with pytest.raises(CardError, match="operating_point"):
        Card.read(tmp_path)


@pytest.mark.parametrize("classes", [["PNEUMONIA", "NORMAL"], ["NORMAL"], "NORMAL"])
def test_card_with_other_classes_is_rejected(tmp_path: Path, classes: object) -> None:
    changed(tmp_path, classes=classes)
    with pytest.raises(CardError, match="classes"):
        Card.read(tmp_path)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_threshold_outside_0_to_1_is_rejected(tmp_path: Path, threshold: float) -> None:
    changed(tmp_path, operating_point={"threshold": threshold, "rule": ""})
    with pytest.raises(CardError, match="threshold"):
        Card.read(tmp_path)


@pytest.mark.parametrize("threshold", ["0.5", None, [0.5]], ids=str)
def test_threshold_that_is_not_a_number_is_rejected(tmp_path: Path, threshold: object) -> None:
    changed(tmp_path, operating_point={"threshold": threshold, "rule": ""})
    with pytest.raises(CardError, match="threshold"):
        Card.read(tmp_path)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), "hot", None, True], ids=str)
def test_temperature_that_is_not_positive_is_rejected(tmp_path: Path, temperature: object) -> None:
    changed(tmp_path, calibration={"temperature": temperature})
    with pytest.raises(CardError, match="temperature"):
        Card.read(tmp_path)


@pytest.mark.parametrize("bias", [float("nan"), float("-inf"), "much", None, False], ids=str)
def test_bias_that_is_not_finite_is_rejected(tmp_path: Path, bias: object) -> None:
    changed(tmp_path, calibration={"temperature": 1.0, "bias": bias})
    with pytest.raises(CardError, match="bias"):
        Card.read(tmp_path)


def test_calibration_bias_defaults_to_0(tmp_path: Path) -> None:
    changed(tmp_path, calibration={"temperature": 0.5})
    assert Card.read(tmp_path).calibration == Calibration(0.5, 0.0)


REMEMBERED: dict[str, Any] = {
    "test": {"auroc": {"value": 0.9, "ci_low": 0.8, "ci_high": None, "n": 7}},
    "elsewhere": {"soft": {"auroc": 0.75}},
    "results": {"training": {"loss": 0.125, "confusion": {"NORMAL": {"NORMAL": 3}}}},
    "results_at_half": {"training": {"accuracy": 0.75}},
    "reasons": {"validation": {"tests": {"original": {"auroc": {"value": 0.9, "n": 7}}}}},
    "subgroups": {"test": {"source": [{"source": "children", "n": 7, "weak": False}]}},
    "left_out": {"source": [{"source": "adults", "n": 3}]},
    "selection": {"worst": {"value": 0.75, "of": "normals_ap"}},
    "operating_points": [{"threshold": 0.5, "marks": ["chosen"]}, {"threshold": 0.75}],
}


def test_results_and_operating_points_round_trip(tmp_path: Path) -> None:
    card = replace(make_card(), **REMEMBERED)
    card.write(tmp_path)
    assert Card.read(tmp_path) == card
    assert Card.read(tmp_path).operating_points[0]["marks"] == ["chosen"]


NEW_FIELDS = ("reasons", "subgroups", "left_out", "selection")


def test_card_without_reasons_and_subgroups_is_read(tmp_path: Path) -> None:
    make_card().write(tmp_path)
    path = tmp_path / "card.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    old = {name: value for name, value in fields.items() if name not in NEW_FIELDS}
    path.write_text(json.dumps(old), encoding="utf-8")
    assert [getattr(Card.read(tmp_path), name) for name in NEW_FIELDS] == [{}] * 4


def test_new_card_has_no_results() -> None:
    card = make_card()
    assert [card.test, card.elsewhere, card.results, card.results_at_half] == [{}, {}, {}, {}]
    assert card.operating_points == []
    assert card.reference is None


@pytest.mark.parametrize(
    "name",
    [
        "metrics",
        "test",
        "elsewhere",
        *NEW_FIELDS,
        "results",
        "results_at_half",
        "training",
        "exports",
    ],
)
@pytest.mark.parametrize("value", [[], None, "text", 0], ids=repr)
def test_informational_fields_must_be_dicts(tmp_path: Path, name: str, value: object) -> None:
    changed(tmp_path, **{name: value})
    with pytest.raises(CardError, match=rf"damaged: {name}"):
        Card.read(tmp_path)


@pytest.mark.parametrize("points", [{}, None, "text", [1], [[]], [None]], ids=repr)
def test_operating_points_must_be_a_list_of_dicts(tmp_path: Path, points: object) -> None:
    changed(tmp_path, operating_points=points)
    with pytest.raises(CardError, match="damaged: operating_points"):
        Card.read(tmp_path)


def test_reference_round_trip_is_exact(tmp_path: Path) -> None:
    card = replace(make_card(), reference=make_reference())
    card.write(tmp_path)
    found = Card.read(tmp_path)
    assert found.reference is not None
    assert found.reference.as_dict() == make_reference().as_dict()
    assert replace(found, reference=None) == make_card()


def test_reference_may_be_null_but_not_missing(tmp_path: Path) -> None:
    changed(tmp_path, reference=None)
    assert Card.read(tmp_path).reference is None
    path = tmp_path / "card.json"
    fields = json.loads(path.read_text())
    del fields["reference"]
    path.write_text(json.dumps(fields))
    with pytest.raises(CardError, match=r"card\.json is damaged: 'reference'"):
        Card.read(tmp_path)


@pytest.mark.parametrize("reference", [{}, [], 0, "", False, {"n": 3}, {"n": 10**400}], ids=repr)
def test_invalid_reference_is_rejected(tmp_path: Path, reference: object) -> None:
    changed(tmp_path, reference=reference)
    with pytest.raises(CardError, match=r"card\.json is damaged"):
        Card.read(tmp_path)


def test_sha256_of_matches_fips_180(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == expected == hashlib.sha256(b"abc").hexdigest()


def with_gate(folder: Path, **fields: Any) -> Path:
    """Write a card with a gate into `folder`, then change fields of the gate's JSON."""
    replace(make_card(), gate=make_recogniser()).write(folder)
    path = folder / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["gate"] |= fields
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


def test_gate_round_trip_is_exact(tmp_path: Path) -> None:
    gate = make_recogniser(mean=np.random.default_rng(0).normal(size=6).astype(np.float32))
    replace(make_card(), gate=gate).write(tmp_path)
    card = Card.read(tmp_path)
    assert card.gate is not None
    assert card.gate.as_dict() == gate.as_dict()
    assert replace(card, gate=None) == make_card()
    card.write(tmp_path)
    assert Card.read(tmp_path).gate.as_dict() == gate.as_dict()  # type: ignore[union-attr]


def test_gate_may_be_null_but_not_missing(tmp_path: Path) -> None:
    changed(tmp_path, gate=None)
    assert Card.read(tmp_path).gate is None
    path = tmp_path / "card.json"
    fields = json.loads(path.read_text())
    del fields["gate"]
    path.write_text(json.dumps(fields))
    with pytest.raises(CardError, match=r"card\.json is damaged: 'gate'"):
        Card.read(tmp_path)


@pytest.mark.parametrize("nothing", [{}, [], 0, "", False], ids=repr)
def test_empty_gate_is_rejected(tmp_path: Path, nothing: object) -> None:
    changed(tmp_path, gate=nothing)
    with pytest.raises(CardError, match="damaged"):
        Card.read(tmp_path)


def test_card_of_format_1_is_rejected(tmp_path: Path) -> None:
    make_card().write(tmp_path)
    path = tmp_path / "card.json"
    fields = json.loads(path.read_text())
    del fields["gate"]
    path.write_text(json.dumps(fields | {"format": 1}))
    with pytest.raises(CardError, match=r"card\.json has format 1; this version reads format 3"):
        Card.read(tmp_path)


@pytest.mark.parametrize("gate", ["text", 5, [1], True, {"mean": packed(6)}], ids=str)
def test_invalid_gate_is_rejected(tmp_path: Path, gate: object) -> None:
    changed(tmp_path, gate=gate)
    with pytest.raises(CardError, match=r"card\.json is damaged"):
        Card.read(tmp_path)


@pytest.mark.parametrize("name", sorted(vars(make_recogniser())))
def test_error_names_the_missing_field_of_a_gate(tmp_path: Path, name: str) -> None:
    path = with_gate(tmp_path)
    fields = json.loads(path.read_text())
    del fields["gate"][name]
    path.write_text(json.dumps(fields))
    with pytest.raises(CardError, match=rf"card\.json is damaged: .*'{name}'"):
        Card.read(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "blue"},
        {"mean": packed(5)},
        {"mean": packed(6, value=float("nan"))},
        {"mean": None},
        {"mean": "text"},
        {"mean": [1.0] * 6},
        {"mean": {}},
        {"mean": {"shape": [6]}},
        {"mean": packed(6) | {"shape": [7]}},
        {"mean": packed(6) | {"shape": [2, 3]}},
        {"mean": packed(6) | {"shape": [6.5]}},
        {"mean": packed(6) | {"shape": "six"}},
        {"mean": packed(6) | {"shape": []}},
        {"mean": packed(1) | {"shape": []}},
        {"mean": packed(6) | {"float32": "!" * 32}},
        {"mean": packed(6) | {"float32": "\u00e9" * 32}},
        {"mean": packed(6) | {"float32": "AAAA"}},
        {"mean": packed(6) | {"float32": "A"}},
        {"mean": packed(6) | {"float32": ""}},
        {"mean": packed(6) | {"float32": 7}},
        {"scale": packed(6, value=0)},
        {"frontal": packed(6)},
        {"frontal": packed(7, value=float("inf"))},
        {"orientation": packed(4, 7)},
        {"components": packed(1) | {"shape": []}},
        {"components": packed(2)},
        {"components": packed(2, 0)},
        {"components": packed(2, 7)},
        {"components": packed(3, 4)},
        {"variances": packed(2, value=0)},
        {"variances": packed(2, value=-1)},
        {"residual": 0},
        {"residual": float("nan")},
        {"limit": float("inf")},
        {"limit": "3"},
        {"frontal_threshold": None},
        {"frontal_threshold": float("nan")},
        {"orientation_threshold": 90},
        {"fitted_on": []},
    ],
    ids=str,
)
def test_card_with_a_damaged_gate_is_rejected(tmp_path: Path, fields: dict[str, Any]) -> None:
    with_gate(tmp_path, **fields)
    with pytest.raises(CardError, match=r"card\.json is damaged"):
        Card.read(tmp_path)
