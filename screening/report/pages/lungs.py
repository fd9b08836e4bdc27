"""What the lungs say of a night, for its page."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from screening.model.lungs import CODES
from screening.reasons import WARNINGS
from screening.report.pages.contents import Contents


@dataclass(frozen=True)
class Lungs:
    """The lungs on the films of a night.

    Attributes:
        films: on which they were looked for.
        evidence: median `lung_evidence` of the films called pneumonia; None if none has it.
        called: films that this median is of.
        warnings: sentence, code and number of films for each code.
    """

    films: int
    evidence: float | None
    called: int
    warnings: Sequence[tuple[str, str, int]]


def lungs_of(contents: Contents) -> Lungs | None:
    """The lungs of the films of a report; None if no film was searched for lungs."""
    films = sum(row.lung_area is not None for row in contents.rows)
    if not films:
        return None
    shares = [row.lung_evidence for row in contents.called if row.lung_evidence is not None]
    return Lungs(
        films=films,
        evidence=median(shares) if shares else None,
        called=len(shares),
        warnings=[(WARNINGS[code], code, contents.warnings[code]) for code in CODES],
    )
