"""What a decoder process says to its parent: a head in JSON and the bytes of a tensor.

The parent believes nothing: lengths are limited, and the head is read field by field.
"""

import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from screening.imaging.film import Header
from screening.inference.costs import Cost
from screening.inference.reader import ReadFilm
from screening.results import Status

_LENGTHS: Final = struct.Struct("<IQ")

#: A head is a few hundred bytes; attributes of a damaged film may be long.
_MOST: Final = 1_000_000

_SHA256: Final = re.compile("[0-9a-f]{64}")

#: No file format states more rows or columns, and nobody is older.
_LARGEST: Final = 2**32 - 1

#: A film whose fields are of the kinds that those of an answer must be.
_FILM: Final = {name: value for name, value in vars(ReadFilm("")).items() if name != "tensor"}

_Kind = TypeVar("_Kind")


class Garbled(Exception):
    """What came is not what a decoder process says."""


def pack(film: ReadFilm) -> bytes:
    """`film` as one message."""
    fields = {name: value for name, value in vars(film).items() if name != "tensor"}
    head = json.dumps(fields | {"header": vars(film.header), "cost": vars(film.cost)}).encode()
    tensor = b"" if film.tensor is None else film.tensor.tobytes()
    return _LENGTHS.pack(len(head), len(tensor)) + head + tensor


def unpack(receive: Callable[[int], bytes], name: str, shape: tuple[int, ...]) -> ReadFilm:
    """Read one message.

    Args:
        receive: gives as many bytes as it is asked for.
        name: of the film that was asked for.
        shape: of the tensor, if there is one.

    Raises:
        Garbled: if the message is anything else than an answer about this film.
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
    proper = film.status is not Status.DUPLICATE and scored == (not film.reason)
    whole = not scored or (film.rows and film.columns and _SHA256.fullmatch(film.sha256))
    if not whole or film.film != name or scored != (tensor is not None) or not proper:
        raise Garbled
    return film


def _fields(values: Any, like: dict[str, Any]) -> dict[str, Any]:
    """These fields and no others, each of the kind that it is in `like`."""
    if not isinstance(values, dict) or values.keys() != like.keys():
        raise TypeError
    return {name: _field(values[name], like[name]) for name in like}


def _field(value: Any, like: Any) -> Any:
    if isinstance(like, Header | Cost):
        return type(like)(**_fields(value, vars(like)))
    if isinstance(like, Status):
        return Status(value)
    if isinstance(like, tuple):  # JSON knows lists only
        return tuple(_field(part, "") for part in _of(list, value))
    if isinstance(like, str):
        # A letter that does not exist comes from a false character set; no database can hold it.
        return _of(str, value).encode("utf-8", "replace").decode()
    if isinstance(like, float):
        return _finite(_of(float, value))
    return None if value is like is None else _number(_of(int, value))


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
