"""When so many films fail that the night itself has failed."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from screening.row import Row, Status

#: Fewer films than these say nothing about the others.
_ENOUGH: Final = 20

_NAMED: Final = 3


class Failures:
    """Counts rows as they come.

    Args:
        most: share of failed films above which the failure is systemic.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._reached = 0
        self._reasons: Counter[str] = Counter()

    def count(self, rows: Iterable[Row]) -> None:
        """Take rows into account; films that were never tried say nothing."""
        for row in rows:
            code = row.reason.partition(":")[0]
            if row.status is Status.FAILED and code == "not_screened":
                continue
            self._reached += 1
            if row.status is Status.FAILED:
                self._reasons[code] += 1

    def are_systemic(self) -> bool:
        """True if the films are not to blame one by one any more."""
        failed = self._reasons.total()
        return self._reached >= _ENOUGH and failed > self._most * self._reached

    def __str__(self) -> str:
        """What happened, with the most common reasons."""
        reasons = ", ".join(
            f"{code} {number}" for code, number in self._reasons.most_common(_NAMED)
        )
        return (
            f"{self._reasons.total()} of {self._reached} films failed ({reasons}), more than the "
            f"allowed share of {self._most:g}: something is wrong beyond single films"
        )
