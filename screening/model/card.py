"""The model card: all that is needed to run a model and to judge it, as one JSON file."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from screening.errors import CardError
from screening.model.calibration import Calibration, OperatingPoint
from screening.model.drift_baseline import DriftBaseline
from screening.model.image_gate import ImageGate
from screening.model.lungs import LungCard
from screening.model.preprocess import Preprocessing
from screening.results import CLASSES

CARD: Final = "card.json"

#: What a MODEL keeps its Keras network in.
WEIGHTS: Final = "model.keras"

#: What a MODEL may keep its lung network in.
LUNG_WEIGHTS: Final = "lungs.keras"

#: Raised when a card's fields change their meaning; a card of another format is refused.
FORMAT: Final = 3


@dataclass(frozen=True)
class Card:
    """A trained model in words and numbers.

    Attributes:
        architecture: name of the network.
        version: the first eight hex digits of `weights_sha256`.
        classes: order of the score's columns.
        preprocessing: how a film becomes the input tensor.
        calibration: how a score becomes a probability.
        operating_point: how a probability becomes a decision.
        gate: which pictures are frontal chest films, the right way up, like those of the training.
        metrics: figures on the validation films, each ``{value, ci_low, ci_high, n}``.
        test: the same on films that nothing was chosen with; empty if none were held out.
        elsewhere: what is left of it at each simulated hospital, by its name.
        reasons: by side of the data, the tests of whether the model reads the lungs, from
            :func:`screening.training.robustness.measure_reasons`; empty where no lungs were known.
        subgroups: by side of the data, the figures by source, view and age, from
            :func:`screening.training.subgroups.subgroups`.
        left_out: the same for the sources that the training left out; empty without one.
        selection: the figures by which models are compared, from
            :func:`screening.training.evaluate.selection`.
        results: by side of the data, loss and accuracy, precision, recall and F1 of each class, at
            the operating point.
        results_at_half: the same where each film is given the likelier class.
        operating_points: what each threshold would mean, by rising threshold.
        reference: what a night is held against, to see whether its films are still alike.
        training: data, split, recipe, software and the command, as recorded while training.
        weights_sha256: SHA-256 of ``model.keras``.
        lungs: its lung network; None if it has none.
        ages: of the youngest and the oldest patient in the training, in years; None if the age is
            not known for all sources.
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
    ages: tuple[float, float] | None = None
    exports: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def model(self) -> str:
        """Architecture and version, as in the report's `model` column."""
        return f"{self.architecture} {self.version}"

    def was_trained_on_age(self, years: int | None) -> bool:
        """Whether patients of about this age were in the training; True if the ages are unknown."""
        if years is None or self.ages is None:
            return True
        youngest, oldest = self.ages
        return int(youngest) <= years <= oldest + _OLDER

    def beyond_threshold(self, evidence: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Log odds beyond those at which a film is called pneumonia, from a network's own.

        Of a cell of a class activation map: above 0, a film that looked like this cell all over
        would be called.
        """
        odds = self.calibration.log_odds(evidence) - self.operating_point.log_odds
        return np.asarray(odds, np.float32)

    def with_weights(self, sha256: str) -> Self:
        """The same card for the weights with this hash."""
        return replace(self, weights_sha256=sha256, version=sha256[:8])

    def write(self, folder: Path) -> None:
        """Write ``card.json`` into `folder`."""
        fields = asdict(replace(self, gate=None, reference=None)) | {
            "gate": self.gate and self.gate.as_dict(),
            "reference": self.reference and self.reference.as_dict(),
        }
        text = json.dumps(fields, indent=2, ensure_ascii=False)
        # What is no text in the name of a file has an escape of its own in JSON.
        (folder / CARD).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``card.json`` from a model or bundle.

        Raises:
            CardError: if there is none, or it is damaged, or of another format.
        """
        path = folder / CARD
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CardError(f"{folder} is no model: it has no {CARD}") from error
        except (OSError, ValueError) as error:
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
            raise CardError(f"{path} orders its classes {card.classes}, expected {CLASSES}")
        _check_number(path, "threshold", card.operating_point.threshold, 0, 1)
        _check_number(path, "temperature", card.calibration.temperature, 1e-6, 1e6)
        _check_number(path, "bias", card.calibration.bias, -1e6, 1e6)
        return card


#: Years by which a patient may be older than the oldest one in the training. Infants differ more
#: from children than the old from the very old.
_OLDER: Final = 10


#: What a card only keeps, for its readers.
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


def _ages(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    youngest, oldest = map(float, value)
    if not 0 <= youngest <= oldest <= 150:
        raise ValueError(f"ages are {value!r}, expected two ages in years, the lower one first")
    return youngest, oldest


def _check_kinds(card: Card) -> None:
    """What is only kept has to be of its kind, so that a reader of the card may rely on that."""
    for name in _KEPT:
        if not isinstance(getattr(card, name), dict):
            raise TypeError(f"{name} is a {type(getattr(card, name)).__name__}, expected a dict")
    points = card.operating_points
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise TypeError("operating_points is no list of dicts")


def _check_number(path: Path, name: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise CardError(f"{path} has the {name} {value!r}, expected a number from {low} to {high}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
