"""The interface that every model runtime implements."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predictions for a batch of n films.

    Attributes:
        scores: shape (n, 2), float32, softmax over :data:`screening.results.CLASSES`.
        embeddings: shape (n, d), float32: features of the network's last stages, averaged over the
            film or parts of it; input of the image gate.
        maps: class activation maps, shape (n, rows', columns', 2), float32: the logits of each
            cell; the score is the softmax of their mean over the film. None if the model has no
            such output.
    """

    scores: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32]
    maps: npt.NDArray[np.float32] | None = None


class Predictor(Protocol):
    """A loaded model."""

    @property
    def target(self) -> str:
        """Name of the target that the model was converted for: ``onnx``."""

    @property
    def runtime(self) -> str:
        """Target and runtime with its version, for the report: ``onnx/onnxruntime 1.32.0``."""

    @property
    def has_map(self) -> bool:
        """True if the model outputs class activation maps."""

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Predict for `tensors`, shape (n, rows, columns, channels), n >= 1; thread-safe."""
