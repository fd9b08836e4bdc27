"""ONNX Runtime."""

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from screening.predictor import Prediction

# Read when the library is loaded. Without it a device number and an event store are written into
# the user's cache, and nothing about a night is anybody else's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # see above


class OnnxPredictor:
    """A model in ONNX Runtime, on the processor.

    Args:
        path: ``model.onnx``, with the outputs ``score``, ``embedding`` and perhaps ``map``.
        target: its name, for the report.
        threads: processor threads; 0 for one a core.
    """

    def __init__(self, path: Path, target: str, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads would take the cores that decode the next films.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        given = {output.name for output in self._session.get_outputs()}
        if lacking := {"score", "embedding"} - given:
            raise ValueError(f"it has no output {', '.join(sorted(lacking))}")
        self.has_map = "map" in given
        self.runtime = f"{target}/onnxruntime {version('onnxruntime')}"

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Scores for `tensors`, shape (n, rows, columns, channels)."""
        names = ["score", "embedding", *(["map"] if self.has_map else [])]
        outputs = self._session.run(names, {self._input: tensors})
        return Prediction(*map(np.asarray, outputs))
