"""One line of the golden table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.floating]

#: What float32 rounds on the way: a few units of 6e-8.
EXACT: Final = 1e-6

#: What dcm2pnm shows is kept at every thirteenth pixel.
STEP: Final = 13


@dataclass(frozen=True)
class Case:
    """A film, what it has to look like, and how that would differ without the rule.

    Attributes:
        proves: the rule, as a sentence.
        film: gives the file.
        expected: the grey values by the formula of the standard, (rows, columns), 0..1.
        without: the grey values of a reader that does not know the rule; or a film that lacks
            what carries it.
        tolerance: largest difference, in grey.
        witness: options of dcm2pnm that show the same rule; None where it has no such
            rule, or contradicts the standard; a comment says so.
        quantum: how exact dcm2pnm is, in grey.
        counts: which pixels are compared; all by default.
        name: of the file.
    """

    proves: str
    film: Callable[[], bytes]
    expected: Grey
    without: Grey | Callable[[], bytes]
    tolerance: float = EXACT
    witness: str | None = None
    quantum: float = 2 / 65535
    counts: npt.NDArray[np.bool_] | None = field(default=None, repr=False)
    name: str = "film.dcm"

    def difference(self, grey: Grey) -> float:
        """How far `grey` is from what is expected, at the pixels that count."""
        if grey.shape != self.expected.shape:
            return float("inf")
        difference = np.abs(grey.astype(np.float64) - self.expected)
        return float(difference.max(where=True if self.counts is None else self.counts, initial=0))
