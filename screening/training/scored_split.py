"""A scored side of the split: the source of metrics, figures and CSV files."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from screening.model.calibration import Calibration, Floats, OperatingPoint
from screening.report.intervals import Booleans
from screening.report.metrics import Scored, confusion, log_loss, performance, results_table
from screening.results import CLASSES, POSITIVE
from screening.training.data.dataset import Labels, labels_of
from screening.training.data.manifest import LabelledFilm

#: Names of the sides, in the order in which pages show them.
TRAINING, VALIDATION, TEST = SIDES = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class ScoredSplit:
    """The films of one side with the model's predictions.

    Attributes:
        name: one of :data:`SIDES`.
        films: the films, in the order of the arrays.
        probabilities: calibrated P(pneumonia), shape (n,), 0..1.
        called: True where the film is called pneumonia, shape (n,).
    """

    name: str
    films: list[LabelledFilm]
    probabilities: Floats
    called: Booleans

    def __post_init__(self) -> None:
        shapes = {(len(self.films),), self.probabilities.shape, self.called.shape}
        if len(shapes) != 1:
            raise ValueError(f"the {self.name} side has arrays of the shapes {sorted(shapes)}")

    @classmethod
    def of(
        cls,
        name: str,
        films: list[LabelledFilm],
        scores: npt.NDArray[np.floating],
        calibration: Calibration,
        point: OperatingPoint,
    ) -> Self:
        """Apply a card's calibration and operating point to the scores of one side.

        Args:
            scores: softmax scores of the network, shape (n, 2).
        """
        probabilities = calibration.probabilities(scores)
        return cls(name, films, probabilities, point.positive(probabilities))

    def at(self, indices: npt.NDArray[np.int64]) -> Self:
        """The side restricted to these films, in this order."""
        films = [self.films[index] for index in indices]
        return replace(
            self,
            films=films,
            probabilities=self.probabilities[indices],
            called=self.called[indices],
        )

    @property
    def labels(self) -> Labels:
        """Class indices, shape (n,)."""
        return labels_of(self.films)

    @property
    def positive(self) -> Booleans:
        """True where the label is pneumonia, shape (n,)."""
        return np.asarray(self.labels == POSITIVE)

    @property
    def patients(self) -> list[str]:
        """The patient of each film."""
        return [film.patient for film in self.films]

    @property
    def loss(self) -> float | None:
        """Log loss of the calibrated probabilities, which are what a user of the model sees.

        The cross-entropy in the history is that of the scores before calibration.
        """
        return log_loss(self.positive, self.probabilities)

    def results(self) -> dict[str, Any]:
        """Loss, accuracy, precision, recall and F1 by class, confusion; in the card's format."""
        return results_table(self.labels, self.probabilities, self.called)

    def results_at_half(self) -> dict[str, Any]:
        """The same with each film assigned its likelier class, as most papers report it."""
        return results_table(self.labels, self.probabilities, self.probabilities >= 0.5)

    def metrics(self) -> dict[str, Any]:
        """All metrics with their intervals, in the format of the card."""
        scored = self.scored()
        figures = {name: asdict(figure) for name, figure in performance(scored).items()}
        return {"set": self.name, "confusion": confusion(scored), **figures}

    def scored(self) -> Scored:
        """The side in the form that the report metrics take, with patients as integers."""
        _patients, patient = np.unique(self.patients, return_inverse=True)
        return Scored(self.positive, self.probabilities, self.called, patient.astype(np.int64))

    def columns(self) -> dict[str, list[str] | Floats]:
        """The columns of the side's CSV file: film, label, patient, probability, prediction."""
        return {
            "film": [film.name for film in self.films],
            "label": [CLASSES[film.label] for film in self.films],
            "patient": self.patients,
            "probability": self.probabilities,
            "prediction": [CLASSES[int(called)] for called in self.called],
        }


def number(metric: Any) -> float | None:
    """The value of a card's metric: a plain number, ``{value, …}``, or None if undefined."""
    value = metric.get("value") if isinstance(metric, dict) else metric
    return None if value is None else float(value)
