"""What became of each target of an export, and the table that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from exports.parity import Parity
from exports.targets import Target
from screening.findings import POSITIVE

#: Characters of a failure that are shown.
_LONGEST: Final = 500


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one target.

    Attributes:
        size: of its file, in bytes.
        parity: how it compares with the original; None if it could not be compared.
        failure: why not.
    """

    target: Target
    size: int = 0
    parity: Parity | None = None
    failure: str = ""

    @property
    def failures(self) -> list[str]:
        """All that is wrong with it, each in one line; empty if nothing is."""
        if self.parity is not None:
            return self.parity.breaches
        # A converter says what it could not do, and then all that it could.
        line = " ".join(self.failure.split()).removeprefix(f"{self.target.name}: ")
        return [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"]

    @property
    def summary(self) -> str:
        """One line, as soon as it is known."""
        if self.parity is None:
            return f"{self.target.name}: {self.failures[0]}"
        largest = float(self.parity.differences.max())
        return (
            f"{self.target.name}: largest difference {largest:.2g}, "
            f"{self.parity.flips} of {len(self.parity.labels)} decisions differ"
        )

    def as_dict(self) -> dict[str, Any]:
        """What the card records."""
        return {"bytes": self.size} | (self.parity.as_dict() if self.parity is not None else {})


def table(outcomes: Sequence[Outcome]) -> str:
    """All targets, their figures, and everything that is wrong with them."""
    head = ("target", "MB", "max |dp|", "mean |dp|", "flips", "sensitivity", "specificity", "")
    rows = [head, *(_row(outcome) for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _row(outcome: Outcome) -> tuple[str, ...]:
    parity = outcome.parity
    failures = outcome.failures
    if parity is None:
        return (outcome.target.name, "", "", "", "", "", "", f"FAILED: {failures[0]}")
    return (
        outcome.target.name,
        f"{outcome.size / 1e6:.2f}",
        f"{parity.differences.max():.2g}",
        f"{parity.differences.mean():.2g}",
        f"{parity.flips}/{len(parity.labels)}",
        str(parity.change(POSITIVE)),
        str(parity.change(1 - POSITIVE)),
        "FAILED: " + "; ".join(failures) if failures else "ok",
    )
