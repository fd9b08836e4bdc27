import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from makers import make_card
from screening.card import Card, sha256_of
from screening.errors import CardError


def changed(folder: Path, **fields: Any) -> None:
    """Write a good card into `folder`, then change fields of its JSON."""
    make_card().write(folder)
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields), encoding="utf-8")


def test_a_card_that_was_written_is_read_back(tmp_path: Path) -> None:
    card = make_card(0.375)
    card.write(tmp_path)
    assert Card.read(tmp_path) == card


def test_a_card_is_json_that_people_can_read(tmp_path: Path) -> None:
    make_card().write(tmp_path)
    fields = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert fields["classes"] == ["NORMAL", "PNEUMONIA"]
    assert fields["operating_point"] == {"threshold": 0.5, "rule": "given by the test"}
    assert fields["format"] == 1


def test_the_version_is_the_beginning_of_the_hash_of_the_weights() -> None:
    card = make_card().with_weights("0123456789abcdef" * 4)
    assert card.version == "01234567"
    assert card.model == "brightness 01234567"
    assert card.weights_sha256 == "0123456789abcdef" * 4


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"no card\.json"):
        Card.read(tmp_path)


def test_a_card_that_is_a_folder_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "card.json").mkdir()
    with pytest.raises(CardError, match=r"card\.json"):
        Card.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}"])
def test_a_file_that_is_no_card_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(CardError, match=r"card\.json"):
        Card.read(tmp_path)


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_a_card_of_another_format_is_refused(tmp_path: Path, number: object) -> None:
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
    ],
    ids=str,
)
def test_a_card_with_damaged_fields_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    changed(tmp_path, **fields)
    with pytest.raises(CardError, match="damaged"):
        Card.read(tmp_path)


def test_a_card_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    make_card().write(tmp_path)
    path = tmp_path / "card.json"
    fields = json.loads(path.read_text())
    del fields["operating_point"]
    path.write_text(json.dumps(fields))
    with pytest.raises(CardError, match="operating_point"):
        Card.read(tmp_path)


@pytest.mark.parametrize("classes", [["PNEUMONIA", "NORMAL"], ["NORMAL"], "NORMAL"])
def test_a_card_with_other_classes_is_refused(tmp_path: Path, classes: object) -> None:
    changed(tmp_path, classes=classes)
    with pytest.raises(CardError, match="classes"):
        Card.read(tmp_path)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_outside_0_to_1_is_refused(tmp_path: Path, threshold: float) -> None:
    changed(tmp_path, operating_point={"threshold": threshold, "rule": ""})
    with pytest.raises(CardError, match="threshold"):
        Card.read(tmp_path)


@pytest.mark.parametrize("threshold", ["0.5", None, [0.5]], ids=str)
def test_a_threshold_that_is_no_number_is_refused(tmp_path: Path, threshold: object) -> None:
    changed(tmp_path, operating_point={"threshold": threshold, "rule": ""})
    with pytest.raises(CardError, match="threshold"):
        Card.read(tmp_path)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), "hot", None], ids=str)
def test_a_temperature_that_is_not_positive_is_refused(tmp_path: Path, temperature: object) -> None:
    changed(tmp_path, calibration={"temperature": temperature})
    with pytest.raises(CardError, match="temperature"):
        Card.read(tmp_path)


def test_the_hash_of_a_file_is_that_of_fips_180(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == expected == hashlib.sha256(b"abc").hexdigest()
