"""One row of the table of golden films."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.floating]

#: Tolerance for float32 rounding: a few units of 6e-8.
EXACT: Final = 1e-6

#: Only every thirteenth pixel of dcm2pnm's output is stored.
STEP: Final = 13


@dataclass(frozen=True)
class Case:
    """A film, its expected rendering, and the rendering of a reader without the tested rule.

    Attributes:
        proves: the rule, as a sentence.
        film: returns the file.
        expected: the grey values by the formula of the standard, (rows, columns), 0..1.
        without: the grey values of a reader that does not implement the rule; or a film without the
            attributes that the rule uses.
        tolerance: largest difference, in grey.
        witness: options of dcm2pnm that show the same rule; None if it has no such rule, or
            contradicts the standard, as explained in a comment.
        quantum: precision of dcm2pnm, in grey.
        counts: pixels that are compared; all by default.
        name: name of the file.
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
        """Return the largest difference from the expected values, at the compared pixels."""
        if grey.shape != self.expected.shape:
            return float("inf")
        difference = np.abs(grey.astype(np.float64) - self.expected)
        return float(difference.max(where=True if self.counts is None else self.counts, initial=0))
