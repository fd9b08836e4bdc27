"""The Keras model that everything is converted from and compared with."""

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from exports.errors import ExportError
from screening.predictor import Prediction


class KerasPredictor:
    """A model in Keras: the original, not a way to screen."""

    def __init__(self, path: Path) -> None:
        try:
            self.network: keras.Model = keras.saving.load_model(path, compile=False)
        except (OSError, ValueError) as error:
            raise ExportError(f"{path} cannot be loaded: {error}") from error
        self.has_map = "map" in self.network.output
        self.runtime = f"keras/{keras.backend.backend()} {keras.__version__}"

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Scores for `tensors`, shape (n, rows, columns, channels)."""
        outputs = self.network.predict_on_batch(tensors)
        maps = np.asarray(outputs["map"]) if self.has_map else None
        return Prediction(np.asarray(outputs["score"]), np.asarray(outputs["embedding"]), maps)
