"""The parent process validates everything that a decoder process sends."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from screening.errors import UnreadableFilm
from screening.imaging.film import Header
from screening.inference.costs import Cost
from screening.inference.reader import ReadFilm, failed, refused
from screening.inference.sandbox_messages import Garbled, pack, unpack
from screening.results import FilmWarning

SHAPE = (2, 3, 1)

HEADER = Header(
    modality="CR",
    patient_age=45,
    manufacturer="Größe & Söhne",
    patient_orientation=("L", "F"),
    patient_id="4711",
)

SCORED = ReadFilm(
    "ward 2/größe.dcm",
    "a" * 64,
    HEADER,
    tensor=np.arange(6, dtype=np.float32).reshape(SHAPE),
    tensor_sha256="b" * 64,
    warnings=(FilmWarning("multi_frame"), FilmWarning("same_pixels", "größe;.dcm")),
    seconds=0.25,
    rows=128,
    columns=96,
)


class Pipe:
    """Returns the bytes of a message on request, but never more than a message may have."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, count: int) -> bytes:
        assert count <= 2_000_000, "memory for a message that nobody can have meant"
        part, self.data = self.data[:count], self.data[count:]
        if len(part) < count:
            raise EOFError
        return part


def sent(head: object, tensor: bytes = b"") -> Pipe:
    """A message with any header, and correct lengths."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return Pipe(struct.pack("<IQ", len(text), len(tensor)) + text + tensor)


def fields(film: ReadFilm = SCORED, /, **changes: object) -> dict[str, Any]:
    plain = {name: value for name, value in vars(film).items() if name != "tensor"}
    records = {
        "header": asdict(film.header),
        "cost": asdict(film.cost),
        "reason": film.reason and astuple(film.reason),
        "warnings": [astuple(warning) for warning in film.warnings],
    }
    return plain | records | changes


def bytes_of(film: ReadFilm) -> bytes:
    assert film.tensor is not None
    return film.tensor.tobytes()


def test_film_round_trip() -> None:
    film = unpack(Pipe(pack(SCORED)), SCORED.film, SHAPE)
    assert film.tensor is not None
    assert (film.tensor == SCORED.tensor).all()
    assert film.tensor.dtype == np.float32
    assert vars(replace(film, tensor=None)) == vars(replace(SCORED, tensor=None))


@pytest.mark.parametrize(
    "film",
    [
        refused("a.dcm", "not_image", "Basic Text SR Storage", "c" * 64),
        failed("a.dcm", UnreadableFilm("empty", "0 bytes"), "c" * 64, HEADER, 1.5),
    ],
)
def test_film_without_a_tensor_round_trip(film: ReadFilm) -> None:
    assert vars(unpack(Pipe(pack(film)), "a.dcm", SHAPE)) == vars(film)


def test_consecutive_messages_are_separate() -> None:
    pipe = Pipe(pack(SCORED) + pack(refused("b.dcm", "blank")))
    assert unpack(pipe, SCORED.film, SHAPE).seconds == 0.25
    assert unpack(pipe, "b.dcm", SHAPE).reason.code == "blank"
    assert pipe.data == b""


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 100, -25, -1])
def test_truncated_message_raises_eof_error(length: int) -> None:
    with pytest.raises(EOFError):
        unpack(Pipe(pack(SCORED)[:length]), SCORED.film, SHAPE)


@pytest.mark.parametrize(
    ("head", "tensor"),
    [(1_000_001, 0), (2**32 - 1, 24), (10, 1), (10, 23), (10, 25), (10, 2**64 - 1), (10, 96)],
)
def test_implausible_lengths_are_rejected_before_reading(head: int, tensor: int) -> None:
    pipe = Pipe(struct.pack("<IQ", head, tensor) + bytes(200))
    with pytest.raises(Garbled):
        unpack(pipe, SCORED.film, SHAPE)
    assert len(pipe.data) == 200


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"nonsense",
        b"{",
        b"\xff\xfe\xfd",
        b"[" * 900_000,
        b'{"a":' * 150_000,
        b"1" * 900_000,
        [],
        None,
        "a.dcm",
        1,
        [["film", "a.dcm"]],
        {},
        {"film": SCORED.film},
    ],
    ids=lambda head: str(head)[:20],
)
def test_header_that_is_not_a_film_is_rejected(head: object) -> None:
    with pytest.raises(Garbled):
        unpack(sent(head, bytes_of(SCORED)), SCORED.film, SHAPE)


@pytest.mark.parametrize(
    "change",
    [
        {"film": "another.dcm"},
        {"film": None},
        {"sha256": 1},
        {"sha256": ["a"]},
        {"reason": {}},
        {"reason": []},
        {"reason": ["blank", ""]},
        {"reason": ["bored", ""]},
        {"reason": "blank: The film is blank."},
        {"status": "perfect"},
        {"status": ["scored"]},
        {"status": "refused"},
        {"status": "failed"},
        {"status": "duplicate"},
        {"tensor_sha256": None},
        {"warnings": "multi_frame"},
        {"warnings": [1]},
        {"warnings": [None]},
        {"warnings": [["rotated", 1]]},
        {"warnings": [["rotated", "", ""]]},
        {"warnings": [["bored", ""]]},
        {"warnings": {"a": 1}},
        {"seconds": "0.5"},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": True},
        {"header": None},
        {"header": {}},
        {"header": []},
        {"header": asdict(HEADER) | {"modality": 5}},
        {"header": asdict(HEADER) | {"patient_age": "45"}},
        {"header": asdict(HEADER) | {"patient_age": True}},
        {"header": asdict(HEADER) | {"patient_orientation": "LF"}},
        {"header": asdict(HEADER) | {"patient_orientation": [{}]}},
        {"header": asdict(HEADER) | {"patient_name": "Doe^Jane"}},
        {"cost": None},
        {"cost": {"reading": 0.1}},
        {"cost": dict.fromkeys(asdict(Cost()), "0.1")},
        {"cost": dict.fromkeys(asdict(Cost()), float("nan"))},
        {"rows": 0},
        {"columns": 0},
        {"rows": -1},
        {"rows": 1.5},
        {"rows": None},
        {"rows": True},
        {"columns": "96"},
        {"columns": 2**32},
        {"columns": 10**4000},
        {"sha256": "../../../../tmp/x"},
        {"sha256": "A" * 64},
        {"sha256": ""},
        {"tensor": [1, 2]},
        {"colour": "blue"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_invalid_field_is_rejected(change: dict[str, object]) -> None:
    with pytest.raises(Garbled):
        unpack(sent(fields(**change), bytes_of(SCORED)), SCORED.film, SHAPE)


@pytest.mark.parametrize("name", [*fields(), *(f"header.{name}" for name in asdict(HEADER))])
def test_missing_field_is_rejected(name: str) -> None:
    head = fields()
    del (head["header"] if "." in name else head)[name.removeprefix("header.")]
    with pytest.raises(Garbled):
        unpack(sent(head, bytes_of(SCORED)), SCORED.film, SHAPE)


def test_scored_film_without_a_tensor_is_rejected() -> None:
    with pytest.raises(Garbled):
        unpack(sent(fields()), SCORED.film, SHAPE)


def test_refused_film_with_a_tensor_is_rejected() -> None:
    film = refused(SCORED.film, "blank")
    with pytest.raises(Garbled):
        unpack(sent(fields(film), bytes_of(SCORED)), SCORED.film, SHAPE)


def test_surrogates_are_replaced() -> None:
    header = replace(HEADER, patient_id="4711\ud800")
    film = unpack(Pipe(pack(replace(SCORED, header=header))), SCORED.film, SHAPE)
    assert film.header.patient_id == "4711?"


class Evil:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_messages_are_never_unpickled(tmp_path: Path) -> None:
    data = pickle.dumps(Evil(tmp_path / "made"))
    with pytest.raises(Garbled):
        unpack(sent(data, bytes_of(SCORED)), SCORED.film, SHAPE)
    cells = len(data) + -len(data) % 4
    film = unpack(sent(fields(), data.ljust(cells)), SCORED.film, (cells // 4,))
    assert film.tensor is not None
    assert film.tensor.tobytes().startswith(data)
    assert list(tmp_path.iterdir()) == []
    pickle.loads(data)  # noqa: S301  # what would have happened
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
