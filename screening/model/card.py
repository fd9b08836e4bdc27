"""The model card: one JSON file with everything needed to run and assess a model."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from screening.errors import CardError, FileUnavailable
from screening.model.calibration import Calibration, OperatingPoint
from screening.model.drift_baseline import DriftBaseline
from screening.model.image_gate import ImageGate
from screening.model.lungs import LungCard
from screening.model.preprocess import Preprocessing
from screening.results import CLASSES

CARD: Final = "card.json"

#: File of a model's Keras network.
WEIGHTS: Final = "model.keras"

#: File of a model's optional lung network.
LUNG_WEIGHTS: Final = "lungs.keras"

#: Incremented when fields change their meaning; cards of another format are rejected.
FORMAT: Final = 3


@dataclass(frozen=True)
class Card:
    """The description and parameters of a trained model.

    Attributes:
        architecture: name of the network.
        version: the first eight hex digits of `weights_sha256`.
        classes: order of the score's columns.
        preprocessing: how a film is converted to the input tensor.
        calibration: how a score is converted to a probability.
        operating_point: how a probability is converted to a decision.
        gate: decides which images are upright frontal chest films similar to the training films.
        metrics: figures on the validation films, each ``{value, ci_low, ci_high, n}``.
        test: the same on films that were used for no choice; empty if none were held out.
        elsewhere: performance at each simulated hospital, by its name.
        reasons: by side of the data, the tests of whether the model uses the lungs, from
            :func:`screening.training.robustness.measure_reasons`; empty if no lungs were known.
        subgroups: by side of the data, the figures by source, view and age, from
            :func:`screening.training.subgroups.subgroups`.
        left_out: the same for the sources that were left out of training; empty without one.
        selection: the figures by which models are compared, from
            :func:`screening.training.evaluate.selection`.
        results: by side of the data, loss and accuracy, precision, recall and F1 of each class, at
            the operating point.
        results_at_half: the same if each film is assigned its more likely class.
        operating_points: effect of each threshold, by rising threshold.
        reference: drift baseline that the films of a job are compared with.
        training: data, split, recipe, software and the command, as recorded during training.
        weights_sha256: SHA-256 of ``model.keras``.
        lungs: the model's lung network; None if it has none.
        ages: ranges of the ages of the patients in the training, in years, ascending; None if the
            age is not known for all sources.
        exports: in a bundle, what was converted and how well it agrees; empty in a model.
    """

    architecture: str
    preprocessing: Preprocessing
    operating_point: OperatingPoint
    calibration: Calibration = field(default_factory=Calibration)
    classes: tuple[str, ...] = CLASSES
    gate: ImageGate | None = None
    version: str = ""
    weights_sha256: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    elsewhere: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, Any] = field(default_factory=dict)
    subgroups: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    results_at_half: dict[str, Any] = field(default_factory=dict)
    operating_points: list[dict[str, Any]] = field(default_factory=list)
    reference: DriftBaseline | None = None
    training: dict[str, Any] = field(default_factory=dict)
    lungs: LungCard | None = None
    ages: tuple[tuple[float, float], ...] | None = None
    exports: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def model(self) -> str:
        """Architecture and version, as in the report's `model` column."""
        return f"{self.architecture} {self.version}"

    def was_trained_on_age(self, years: int | None) -> bool:
        """Return True if the training had patients of about this age, or if ages are unknown."""
        if years is None or self.ages is None:
            return True
        return any(
            int(youngest) <= years <= oldest + min(_OLDER, oldest / 5)
            for youngest, oldest in self.ages
        )

    def beyond_threshold(self, evidence: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return calibrated log odds relative to the threshold, from the log odds of a network.

        For a cell of a class activation map, a value above 0 means that a film that looked like
        this cell everywhere would be classified as pneumonia.
        """
        odds = self.calibration.log_odds(evidence) - self.operating_point.log_odds
        return np.asarray(odds, np.float32)

    def with_weights(self, sha256: str) -> Self:
        """Return the same card for the weights with this hash."""
        return replace(self, weights_sha256=sha256, version=sha256[:8])

    def write(self, folder: Path) -> None:
        """Write ``card.json`` into `folder`."""
        fields = asdict(replace(self, gate=None, reference=None)) | {
            "gate": self.gate and self.gate.as_dict(),
            "reference": self.reference and self.reference.as_dict(),
        }
        text = json.dumps(fields, indent=2, ensure_ascii=False)
        # Surrogates in file names are written as JSON escapes.
        (folder / CARD).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``card.json`` from a model or bundle.

        Raises:
            CardError: if it is missing, damaged or in another format.
            FileUnavailable: if it cannot be read.
        """
        path = folder / CARD
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise CardError(f"{folder} is not a model folder: it has no {CARD}") from error
        except OSError as error:
            raise FileUnavailable(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise CardError(f"{path} cannot be read: {error}") from error
        return cls._from_fields(fields, path)

    @classmethod
    def _from_fields(cls, fields: Any, path: Path) -> Self:
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            found = fields.get("format") if isinstance(fields, dict) else type(fields).__name__
            raise CardError(f"{path} has format {found}; this version reads format {FORMAT}")
        try:
            card = cls(
                **fields
                | {
                    "preprocessing": Preprocessing(**fields["preprocessing"]),
                    "calibration": Calibration(**fields["calibration"]),
                    "operating_point": OperatingPoint(**fields["operating_point"]),
                    "gate": None if (gate := fields["gate"]) is None else ImageGate.from_dict(gate),
                    "reference": None
                    if (reference := fields["reference"]) is None
                    else DriftBaseline.from_dict(reference),
                    "lungs": None if (lungs := fields.get("lungs")) is None else LungCard(**lungs),
                    "ages": _ages(fields.get("ages")),
                    "classes": tuple(fields["classes"]),
                }
            )
            _check_kinds(card)
        except (KeyError, TypeError, ValueError) as error:
            raise CardError(f"{path} is damaged: {error}") from error
        if card.classes != CLASSES:
            raise CardError(f"{path} has the classes {card.classes}, expected {CLASSES}")
        _check_number(path, "threshold", card.operating_point.threshold, 0, 1)
        _check_number(path, "temperature", card.calibration.temperature, 1e-6, 1e6)
        _check_number(path, "bias", card.calibration.bias, -1e6, 1e6)
        return card


#: Years by which a patient may be older than the oldest one of a range, but at most a fifth of that
#: age. The lower limit has no such margin: infants differ more from children than the old from the
#: very old.
_OLDER: Final = 10


#: Fields that are only kept for readers of the card.
_KEPT: Final = (
    "metrics",
    "test",
    "elsewhere",
    "reasons",
    "subgroups",
    "left_out",
    "selection",
    "results",
    "results_at_half",
    "training",
    "exports",
)


def _ages(value: Any) -> tuple[tuple[float, float], ...] | None:
    if value is None:
        return None
    ranges = tuple((float(youngest), float(oldest)) for youngest, oldest in value)
    if not ranges or not all(0 <= youngest <= oldest <= 150 for youngest, oldest in ranges):
        raise ValueError(f"ages are {value!r}, expected ranges of years, the lower age first")
    return ranges


def _check_kinds(card: Card) -> None:
    """Check the types of the informational fields, so that readers of the card can rely on them."""
    for name in _KEPT:
        if not isinstance(getattr(card, name), dict):
            raise TypeError(f"{name} is a {type(getattr(card, name)).__name__}, expected a dict")
    points = card.operating_points
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise TypeError("operating_points is not a list of dicts")


def _check_number(path: Path, name: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise CardError(f"{path} has the {name} {value!r}, expected a number from {low} to {high}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
