"""How much a proportion changes when the same films are read by two models."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]

_Z = 1.959964


@dataclass(frozen=True)
class Change:
    """A difference of two paired proportions with its 95 % interval.

    Attributes:
        value: the second proportion less the first; nan where there are no films.
        low: of the interval of Agresti and Min (Statistics in Medicine 24, 2005), which adds half
            a film to each cell of the two-by-two table, so that it has a width without any change.
        high: likewise.
        n: films.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def between(cls, before: Bools, after: Bools) -> "Change":
        """From two readings of the same n films, shape (n,) each."""
        n = len(before)
        if n == 0:
            return cls(math.nan, math.nan, math.nan, 0)
        gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
        middle = (gained - lost) / (n + 2)
        spread = (gained + lost + 1) - (gained - lost) ** 2 / (n + 2)
        half = _Z * math.sqrt(spread) / (n + 2)
        return cls((gained - lost) / n, max(-1, middle - half), min(1, middle + half), n)

    def __str__(self) -> str:
        if self.n == 0:
            return "no films"
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"

    def as_dict(self) -> dict[str, Any]:
        """What the card records."""
        if self.n == 0:
            return {"value": None, "ci_low": None, "ci_high": None, "n": 0}
        ends = {"value": self.value, "ci_low": self.low, "ci_high": self.high}
        return {name: round(value, 6) for name, value in ends.items()} | {"n": self.n}
