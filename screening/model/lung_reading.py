"""What the lungs say of a film: warnings, or the reason to refuse it, and two columns of its row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from screening.imaging.film import Grey
from screening.model.lungs import (
    LOW_EVIDENCE,
    LungCard,
    LungFields,
    LungNetwork,
    Mask,
    clean,
    is_low,
    lung_evidence,
    lung_input,
    quality,
)
from screening.results import reason


@dataclass(frozen=True)
class LungFindings:
    """What the lungs say of one film; empty by default, if the lungs were not looked for.

    Attributes:
        area: share of the film that is lung, 0..1, four decimals.
        evidence: see :func:`~screening.model.lungs.lung_evidence`; None also if the model gives no
            map.
        refusal: the reason not to read the film; empty if there is none.
        warnings: what its reader should know.
    """

    area: float | None = None
    evidence: float | None = None
    refusal: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LungReader:
    """Finds the lungs of films, and judges what it found.

    Attributes:
        network: finds them.
        card: what the model's card says of it.
        refused: codes of :data:`~screening.model.lungs.QUALITY` for which a film is refused; for
            the others it gets a warning.
    """

    network: LungNetwork
    card: LungCard
    refused: tuple[str, ...] = ()

    def masks(self, films: Sequence[Grey]) -> list[Mask]:
        """The lung fields of films, each shape (rows, columns), 0..1; masks have 128 x 128."""
        if not films:
            return []
        found = self.network.find(np.stack([lung_input(film) for film in films]))
        return [clean(probability) for probability in found]

    def findings(
        self, mask: Mask, evidence: npt.NDArray[np.float32] | None, *, called: bool
    ) -> LungFindings:
        """What the lungs of one film say.

        Args:
            evidence: of each cell of the model's map, in logits, as the network gives it; None if
                the model gives no map.
            called: whether the film is called pneumonia.
        """
        lungs = LungFields.of(mask)
        share = None if evidence is None else lung_evidence(evidence, mask)
        flaws = quality(lungs)
        refusals = [reason(code, detail) for code, detail in flaws if code in self.refused]
        warnings = [reason(code, detail) for code, detail in flaws if code not in self.refused]
        if share is not None and is_low(share, self.card, called=called):
            detail = f"{share:.2f} lies inside, {self.card.low_evidence:g} is expected"
            warnings.append(reason(LOW_EVIDENCE, detail))
        return LungFindings(
            area=round(lungs.area, 4),
            evidence=share,
            refusal=refusals[0] if refusals else "",
            warnings=tuple(warnings),
        )
