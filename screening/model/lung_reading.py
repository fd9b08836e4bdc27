"""Evaluate the lung fields of a film: warnings or a refusal, and two columns of its row."""

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
from screening.results import FilmWarning, Reason


@dataclass(frozen=True)
class LungFindings:
    """Lung results of one film; the defaults mean that the lungs were not segmented.

    Attributes:
        area: share of the film that is lung, 0..1, four decimals.
        evidence: see :func:`~screening.model.lungs.lung_evidence`; None also if the model outputs
            no map.
        refusal: reason for refusing the film; None if it is accepted.
        warnings: warnings for the reader of the film.
    """

    area: float | None = None
    evidence: float | None = None
    refusal: Reason | None = None
    warnings: tuple[FilmWarning, ...] = ()


@dataclass(frozen=True)
class LungReader:
    """Finds the lungs of films and evaluates them.

    Attributes:
        network: segments the lungs.
        card: lung section of the model card.
        refused: codes of :data:`~screening.model.lungs.QUALITY` for which a film is refused; for
            the others it gets a warning.
    """

    network: LungNetwork
    card: LungCard
    refused: tuple[str, ...] = ()

    def masks(self, films: Sequence[Grey]) -> list[Mask]:
        """Return the lung fields, 128 x 128, of films, each shape (rows, columns), 0..1."""
        if not films:
            return []
        found = self.network.find(np.stack([lung_input(film) for film in films]))
        return [clean(probability) for probability in found]

    def findings(
        self, mask: Mask, evidence: npt.NDArray[np.float32] | None, *, called: bool
    ) -> LungFindings:
        """Evaluate the lungs of one film.

        Args:
            evidence: logits of each cell of the model's map, as output by the network; None if the
                model outputs no map.
            called: whether the film is classified as pneumonia.
        """
        lungs = LungFields.of(mask)
        share = None if evidence is None else lung_evidence(evidence, mask)
        flaws = quality(lungs)
        refusals = [Reason(code, detail) for code, detail in flaws if code in self.refused]
        warnings = [FilmWarning(code, detail) for code, detail in flaws if code not in self.refused]
        if share is not None and is_low(share, self.card, called=called):
            detail = f"{share:.2f} lies inside, at least {self.card.low_evidence:g} is expected"
            warnings.append(FilmWarning(LOW_EVIDENCE, detail))
        return LungFindings(
            area=round(lungs.area, 4),
            evidence=share,
            refusal=refusals[0] if refusals else None,
            warnings=tuple(warnings),
        )
