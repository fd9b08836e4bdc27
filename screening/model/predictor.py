"""What anything that runs a model must be able to do."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Prediction:
    """Answers for a batch of n films.

    Attributes:
        scores: shape (n, 2), float32, softmax over :data:`screening.results.CLASSES`.
        embeddings: shape (n, d), float32: what the network saw, as means of its last stages
            over the film or parts of it; the gate is read from it.
        maps: class activation maps, shape (n, rows', columns', 2), float32: the logits of each
            cell, whose mean over the film is what the score is the softmax of; None if the model
            has no such output.
    """

    scores: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32]
    maps: npt.NDArray[np.float32] | None = None


class Predictor(Protocol):
    """A loaded model."""

    @property
    def runtime(self) -> str:
        """Target and runtime with its version, for the report: ``onnx/onnxruntime 1.32.0``."""

    @property
    def has_map(self) -> bool:
        """True if the model gives class activation maps."""

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Scores for `tensors`, shape (n, rows, columns, channels), n >= 1; from any thread."""
