"""Messages from a decoder process to its parent: a JSON head and the bytes of a tensor.

The parent trusts nothing: lengths are limited, and the head is checked field by field.
"""

import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import astuple
from typing import Any, Final, TypeVar

import numpy as np

from screening.imaging.film import Header
from screening.inference.costs import Cost
from screening.inference.reader import ReadFilm
from screening.results import FilmWarning, Reason, Status

_LENGTHS: Final = struct.Struct("<IQ")

#: Limit on the bytes of a head: usually a few hundred, but attributes of damaged films may be long.
_MOST: Final = 1_000_000

_SHA256: Final = re.compile("[0-9a-f]{64}")

#: Upper bound of integers: no file format has more rows or columns, and no patient is older.
_LARGEST: Final = 2**32 - 1

#: A sample film: the fields of an answer must have the same types.
_FILM: Final = vars(ReadFilm("", reason=Reason("blank"), warnings=(FilmWarning("rotated"),))).copy()
del _FILM["tensor"]

_Kind = TypeVar("_Kind")


class Garbled(Exception):
    """The bytes received are not a valid message of a decoder process."""


def pack(film: ReadFilm) -> bytes:
    """Encode `film` as one message."""
    fields = {name: value for name, value in vars(film).items() if name != "tensor"}
    records = {
        "header": vars(film.header),
        "cost": vars(film.cost),
        "reason": film.reason and astuple(film.reason),
        "warnings": [astuple(warning) for warning in film.warnings],
    }
    head = json.dumps(fields | records).encode()
    tensor = b"" if film.tensor is None else film.tensor.tobytes()
    return _LENGTHS.pack(len(head), len(tensor)) + head + tensor


def unpack(receive: Callable[[int], bytes], name: str, shape: tuple[int, ...]) -> ReadFilm:
    """Read one message.

    Args:
        receive: returns exactly the requested number of bytes.
        name: name of the requested film.
        shape: shape of the tensor, if the message has one.

    Raises:
        Garbled: if the message is not a valid answer about this film.
    """
    head_bytes, tensor_bytes = _LENGTHS.unpack(receive(_LENGTHS.size))
    if head_bytes > _MOST or tensor_bytes not in (0, 4 * math.prod(shape)):
        raise Garbled
    head, cells = receive(head_bytes), receive(tensor_bytes)
    try:
        fields = _fields(json.loads(head), _FILM)
    except (ValueError, TypeError, RecursionError) as error:
        raise Garbled from error
    tensor = np.frombuffer(cells, np.float32).reshape(shape) if cells else None
    film = ReadFilm(**fields, tensor=tensor)
    scored = film.status is Status.SCORED
    proper = film.status is not Status.DUPLICATE and scored == (film.reason is None)
    whole = not scored or (film.rows and film.columns and _SHA256.fullmatch(film.sha256))
    if not whole or film.film != name or scored != (tensor is not None) or not proper:
        raise Garbled
    return film


def _fields(values: Any, like: dict[str, Any]) -> dict[str, Any]:
    """Return exactly the fields of `like`, each of the same type as there."""
    if not isinstance(values, dict) or values.keys() != like.keys():
        raise TypeError
    return {name: _field(values[name], like[name]) for name in like}


def _field(value: Any, like: Any) -> Any:
    if value is None and isinstance(like, Reason | None):
        return None
    if isinstance(like, Header | Cost):
        return type(like)(**_fields(value, vars(like)))
    if isinstance(like, Reason | FilmWarning):
        return type(like)(*(_plain(part, "") for part in _of(list, value)))
    if isinstance(like, tuple):  # JSON has lists only
        return tuple(_field(part, like[0] if like else "") for part in _of(list, value))
    return _plain(value, like)


def _plain(value: Any, like: Any) -> Any:
    if isinstance(like, Status):
        return Status(value)
    if isinstance(like, str):
        # Lone surrogates come from a wrong character set; no database can store them.
        return _of(str, value).encode("utf-8", "replace").decode()
    if isinstance(like, float):
        return _finite(_of(float, value))
    return _number(_of(int, value))


def _of(kind: type[_Kind], value: Any) -> _Kind:
    if type(value) is not kind:
        raise TypeError
    return value


def _number(value: int) -> int:
    if not 0 <= value <= _LARGEST:
        raise ValueError
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError
    return value
