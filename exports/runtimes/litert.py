"""LiteRT, the runtime of TFLite models."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from screening.predictor import Prediction


class LiteRTPredictor:
    """A model in LiteRT, on the processor.

    Args:
        path: a ``.tflite`` file with the outputs ``score``, ``embedding`` and perhaps ``map``.
        target: its name, for the report.
        threads: processor threads.
    """

    def __init__(self, path: Path, target: str, threads: int = 1) -> None:
        interpreter = Interpreter(str(path), num_threads=max(1, threads))
        self._interpreter = interpreter
        self._run = interpreter.get_signature_runner()
        given = self._run.get_output_details().keys()
        if lacking := {"score", "embedding"} - given:
            raise ValueError(f"it has no output {', '.join(sorted(lacking))}")
        self.has_map = "map" in given
        self.runtime = f"{target}/ai-edge-litert {version('ai-edge-litert')}"

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Scores for `tensors`, shape (n, rows, columns, channels)."""
        outputs = self._run(film=tensors)
        return Prediction(outputs["score"], outputs["embedding"], outputs.get("map"))
