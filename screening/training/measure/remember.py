"""Remember the validation films in the card: what a night is later held against."""

import numpy as np
import numpy.typing as npt

from screening.card import Card
from screening.decision import Floats
from screening.recognition import Recogniser
from screening.reference import (
    INPUTS,
    WARNINGS,
    Reference,
    Spread,
    histogram,
    input_statistics,
    rising,
)


def remember(
    card: Card,
    greys: npt.NDArray[np.float32],
    probabilities: Floats,
    embeddings: npt.NDArray[np.floating],
) -> Reference | None:
    """The drift reference from films that the model was not fitted on.

    A film counts as it would at night: what the gate of `card` refuses, and what has no valid
    probability, is counted as refused and left out of all the rest.

    Args:
        card: with its gate and operating point.
        greys: at the model's size, shape (n, rows, columns), 0..1.
        probabilities: calibrated, shape (n,).
        embeddings: of the same films, shape (n, d).

    Returns:
        None without a gate, and if no film has a probability.
    """
    gate = card.gate
    if gate is None:
        return None
    recognitions = gate.recognise(embeddings)
    refused = np.array([bool(recognition.refusal) for recognition in recognitions], bool)
    kept = ~refused & (probabilities >= 0) & (probabilities <= 1)
    if not kept.any():
        return None
    seen = [recognition for recognition, keep in zip(recognitions, kept, strict=True) if keep]
    codes = [warning.partition(":")[0] for recognition in seen for warning in recognition.warnings]
    mean, covariance = _moments(gate, embeddings[kept])
    statistics = input_statistics(greys[kept])
    return Reference(
        n=len(kept),
        refused=int((~kept).sum()),
        called=int(card.operating_point.positive(probabilities[kept]).sum()),
        warnings={code: codes.count(code) for code in WARNINGS},
        histogram=histogram(probabilities[kept]),
        probabilities=rising(probabilities[kept]),
        distance=Spread.of(np.array([recognition.distance for recognition in seen], np.float64)),
        inputs={name: Spread.of(statistics[name]) for name in INPUTS},
        embedding_mean=mean,
        embedding_covariance=covariance,
    )


def _moments(
    gate: Recogniser, embeddings: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean, shape (k,), and covariance, shape (k, k), along the components of the density."""
    along = gate.coordinates(embeddings)
    centred = along - along.mean(axis=0)
    covariance = centred.T @ centred / max(1, len(along) - 1)
    return along.mean(axis=0).astype(np.float32), covariance.astype(np.float32)
