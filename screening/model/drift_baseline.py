"""Drift baseline: statistics of a model's reference films, to compare later films with.

It stores counts rather than shares, since the deviation to expect by chance depends on the number
of films. All statistics are of films that get a probability, as in a report; films that the gate
refuses are only counted.
"""

import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from screening.model.image_gate import packed, unpacked

Floats = npt.NDArray[np.float64]

#: Bins of the probability, of equal width; a probability on an edge is in the upper one.
BINS: Final = 20

#: Quantiles of :class:`Spread`.
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)

#: Measurements of each film by :func:`input_statistics`.
INPUTS: Final = ("mean", "sd", "black", "white", "sharpness")

#: Codes of the warnings from the image gate.
WARNINGS: Final = ("out_of_domain", "inverted", "rotated")

# Grey values from which a pixel counts as black or white. No level of an 8-bit film is so
# close to them that the rounding of a tensor could move a pixel across.
_BLACK: Final = 0.02
_WHITE: Final = 0.98

# Number of probabilities that are stored; with more films, quantiles are stored instead. The
# distance of two distributions is then off by a thousandth at most.
_KEPT: Final = 1001

_ARRAYS: Final = ("probabilities", "embedding_mean", "embedding_covariance")


@dataclass(frozen=True)
class Spread:
    """Distribution of one measurement over films: mean, standard deviation, :data:`QUANTILES`."""

    mean: float
    sd: float
    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.quantiles) != len(QUANTILES):
            raise ValueError(f"a spread must have the quantiles {QUANTILES}: {self}")
        if not all(map(_finite, (self.mean, self.sd, *self.quantiles))):
            raise ValueError(f"a spread must have finite numbers: {self}")
        if self.sd < 0 or any(low > high for low, high in pairwise(self.quantiles)):
            raise ValueError(f"a spread must have an sd of at least 0 and rising quantiles: {self}")

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Return the spread of at least one value, shape (n,)."""
        sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        quantiles = np.maximum.accumulate(np.quantile(values, QUANTILES))
        return cls(float(values.mean()), sd, tuple(map(float, quantiles)))


@dataclass(frozen=True, eq=False)
class DriftBaseline:
    """Statistics of films that a model was not fitted on, as a reference for drift.

    Attributes:
        n: all films.
        refused: films refused by the gate, or without a valid probability.
        called: films classified as pneumonia, of those not refused.
        warnings: films with each of :data:`WARNINGS`, of those not refused.
        histogram: counts of the calibrated probability in :data:`BINS` bins.
        probabilities: calibrated, ascending, shape (m,): one for each film, or 1,001 quantiles.
        distance: spread of the distance from the training films.
        inputs: spread of each of :data:`INPUTS`.
        embedding_mean: in the coordinates of the gate's density, shape (k,).
        embedding_covariance: in the same coordinates, shape (k, k).
    """

    n: int
    refused: int
    called: int
    warnings: dict[str, int]
    histogram: tuple[int, ...]
    probabilities: npt.NDArray[np.float32]
    distance: Spread
    inputs: dict[str, Spread]
    embedding_mean: npt.NDArray[np.float32]
    embedding_covariance: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if set(self.warnings) != set(WARNINGS) or set(self.inputs) != set(INPUTS):
            raise ValueError(
                f"a reference must have the warnings {WARNINGS} and the inputs {INPUTS}"
            )
        counts = (self.n, self.refused, self.called, *self.warnings.values(), *self.histogram)
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("the counts of a reference must be whole numbers of at least 0")
        if len(self.histogram) != BINS or sum(self.histogram) != self.scored:
            raise ValueError(
                f"the histogram must have {BINS} counts that add up to the scored films"
            )
        if self.scored < 1 or max(self.called, *self.warnings.values()) > self.scored:
            raise ValueError("a count of the reference is larger than the number of films")
        k = self.embedding_mean.size
        expected = {
            "probabilities": (min(self.scored, _KEPT),),
            "embedding_mean": (k,),
            "embedding_covariance": (k, k),
        }
        for name, shape in expected.items():
            values = getattr(self, name)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(
                    f"{name} has the shape {values.shape}, expected {shape} with finite numbers"
                )
        p = self.probabilities
        if p[0] < 0 or p[-1] > 1 or (np.diff(p) < 0).any():
            raise ValueError("the probabilities must rise, within 0 to 1")

    @property
    def scored(self) -> int:
        """Number of films with a probability."""
        return self.n - self.refused

    @property
    def positive_rate(self) -> float:
        """Share of the scored films that were classified as pneumonia."""
        return self.called / self.scored

    @property
    def refusal_rate(self) -> float:
        """Share of all films that were refused."""
        return self.refused / self.n

    @property
    def warning_rates(self) -> dict[str, float]:
        """Share of the scored films with each warning."""
        return {code: count / self.scored for code, count in self.warnings.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON; arrays as little-endian float32 bytes."""
        return vars(self) | {
            "warnings": dict(self.warnings),
            "histogram": list(self.histogram),
            "distance": _plain(self.distance),
            "inputs": {name: _plain(spread) for name, spread in self.inputs.items()},
            **{name: packed(getattr(self, name)) for name in _ARRAYS},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Build a baseline from plain values; the inverse of :meth:`as_dict`.

        Raises:
            ValueError: if the values are inconsistent.
            KeyError: if one is missing.
            TypeError: if `values` is not a dict, or a field is unknown or of the wrong type.
        """
        if not isinstance(values, dict):
            raise TypeError(f"the reference is a {type(values).__name__}, expected a dict")
        inputs = _mapping("inputs", values["inputs"])
        return cls(
            **values
            | {
                "warnings": dict(_mapping("warnings", values["warnings"])),
                "histogram": tuple(values["histogram"]),
                "distance": _spread(values["distance"]),
                "inputs": {name: _spread(spread) for name, spread in inputs.items()},
                **{name: unpacked(values[name]) for name in _ARRAYS},
            }
        )


def histogram(probabilities: Floats) -> tuple[int, ...]:
    """Return counts of probabilities, shape (n,), in :data:`BINS` bins."""
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    return tuple(map(int, np.bincount(bins, minlength=BINS)))


def rising(probabilities: Floats) -> npt.NDArray[np.float32]:
    """Return probabilities, shape (n,), as stored: ascending; quantiles if too many."""
    if len(probabilities) > _KEPT:
        probabilities = np.quantile(probabilities, np.linspace(0, 1, _KEPT))
    return np.sort(probabilities).astype(np.float32)


def input_statistics(greys: npt.NDArray[np.floating]) -> dict[str, Floats]:
    """Measure films independently of any model.

    The mean and standard deviation of the grey values reflect exposure and contrast; the shares of
    black and white reflect borders, collimation and saturation; the mean absolute Laplacian
    reflects sharpness, noise and compression.

    Args:
        greys: films at the model's size, shape (n, rows, columns), 0..1, at least 3 x 3: as read
            for training, or a tensor before its scale and offset.

    Returns:
        For each of :data:`INPUTS` one value per film, shape (n,).
    """
    # One film at a time: processing all films together would need several times their memory.
    measured = [_measured(np.asarray(grey, np.float64)) for grey in greys]
    columns = np.array(measured, np.float64).reshape(len(measured), len(INPUTS)).T
    return dict(zip(INPUTS, columns, strict=True))


def _measured(grey: Floats) -> tuple[float, ...]:
    # In place, and with counts instead of means, for speed: this runs for every film of a job.
    laplacian = grey[1:-1, 1:-1] * -4
    for neighbour in (grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]):
        laplacian += neighbour
    np.abs(laplacian, out=laplacian)
    return (
        float(grey.mean()),
        float(grey.std()),
        np.count_nonzero(grey <= _BLACK) / grey.size,
        np.count_nonzero(grey >= _WHITE) / grey.size,
        float(laplacian.mean()),
    )


def _finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


def _plain(spread: Spread) -> dict[str, Any]:
    return vars(spread) | {"quantiles": list(spread.quantiles)}


def _spread(values: Any) -> Spread:
    fields = _mapping("spread", values)
    return Spread(**fields | {"quantiles": tuple(fields["quantiles"])})


def _mapping(name: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise TypeError(f"{name} is a {type(values).__name__}, expected named values")
    return values
