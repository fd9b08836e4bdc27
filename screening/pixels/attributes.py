"""Attributes of a data set as plain values; what does not parse counts as absent, or is named."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from screening.errors import UnreadableFilm

_LONGEST: Final = 1024


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """All values of an attribute; none if it is absent, empty or does not parse."""
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # A value that does not parse raises whatever its type stumbles over; no film hangs on one.
    except Exception:  # noqa: BLE001
        return ()
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        # "US or SS" that pydicom could not decide: words, whose sign the caller knows.
        return tuple(int(word) for word in np.frombuffer(value[: len(value) // 2 * 2], "<u2"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return (value,)


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as text without surrounding blanks; empty if there is none.

    No text that matters here is longer than 64 characters (LO, PS3.5 6.2); a damaged one may be.
    """
    found = values(dataset, keyword)
    return "" if not found else str(found[0])[:_LONGEST].strip(" \0\t\r\n")


def code(dataset: Dataset, keyword: str) -> str:
    """A code string (CS) in upper case, as the standard has it."""
    return text(dataset, keyword).upper()


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """All values as numbers, perhaps not finite; none if one of them is no number."""
    try:
        return tuple(float(value) for value in values(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """One whole number.

    Raises:
        UnreadableFilm: if it is absent and has no default, or is no single whole number.
    """
    if default is not None and _is_empty(dataset, keyword):
        return default
    found = numbers(dataset, keyword)
    if len(found) != 1 or not np.isfinite(found[0]) or found[0] != int(found[0]):
        raise UnreadableFilm("not_decodable", f"{keyword} is missing or not one whole number")
    return int(found[0])


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; none if it is absent or no sequence."""
    return tuple(item for item in values(dataset, keyword) if isinstance(item, Dataset))


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    if keyword not in dataset:
        return True
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # As above: there is something, though it does not parse.
    except Exception:  # noqa: BLE001
        return False
    return value is None or value in ("", [])
