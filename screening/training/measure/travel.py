"""How a model would do at other hospitals: the worst of many made-up ones is what it is chosen by."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from screening.decision import Calibration, OperatingPoint
from screening.report.metrics import Scored, auroc, performance
from screening.training.measure.elsewhere import deliver_all, exchange_exposure, hospitals
from screening.training.measure.evaluation import Evaluated

Greys = npt.NDArray[np.float32]

#: Scores, shape (n, 2), of films at the model's size, shape (n, rows, columns), 0..1.
Predict = Callable[[Greys], npt.NDArray[np.float32]]

#: More films cost time only.
_MOST: Final = 600

#: What is measured at each hospital.
METRICS: Final = (
    "auroc",
    "accuracy",
    "recall",
    "specificity",
    "balanced_accuracy",
    "brier",
    "calibration_error",
)

#: The name of the hospital whose films have the exposure of the other class.
EXCHANGED: Final = "exposure exchanged"


def travel(
    side: Evaluated,
    greys: Greys,
    predict: Predict,
    calibration: Calibration,
    point: OperatingPoint,
) -> dict[str, dict[str, Any]]:
    """Figures of a model on films as other hospitals would have delivered them.

    Args:
        side: films that the model was not fitted on.
        greys: of these films, shape (n, rows, columns), 0..1.

    Returns:
        By hospital: metrics with their intervals at the threshold in use; `auroc_normals` is that of
        normal films from there among pneumonias from here, the usual way to fail.
    """
    chosen = sample_films(side)
    greys = greys[chosen]
    here = side.at(chosen).scored()
    figures = {}
    for name, delivered in _delivered(greys, here.positive.astype(np.int64)):
        probabilities = calibration.probabilities(predict(delivered))
        called = point.positive(probabilities)
        there = Scored(here.positive, probabilities, called, here.patient)
        mixed = np.where(here.positive, here.probability, probabilities)
        measured = performance(there)
        figures[name] = {metric: asdict(measured[metric]) for metric in METRICS} | {
            "auroc_normals": asdict(auroc(Scored(here.positive, mixed, called, here.patient)))
        }
    return figures


def sample_films(side: Evaluated, most: int = _MOST) -> npt.NDArray[np.int64]:
    """Indices of at most `most` films, of both classes as equally as possible, in their order."""
    rng = np.random.default_rng(0)
    by_class = [rng.permutation(np.flatnonzero(side.positive == is_one)) for is_one in (0, 1)]
    fewer, more = sorted(by_class, key=len)
    fewer = fewer[: most // 2]
    return np.sort(np.concatenate([fewer, more[: most - len(fewer)]]))


def _delivered(greys: Greys, labels: npt.NDArray[np.int64]) -> Iterator[tuple[str, Greys]]:
    for name, hospital in hospitals().items():
        yield name, deliver_all(hospital, greys)
    yield EXCHANGED, exchange_exposure(greys, labels)
