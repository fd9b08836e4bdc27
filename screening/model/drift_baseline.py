"""What a model saw when it was made, so that a night can be held against it.

Counts are kept rather than shares: how far a night may stray by chance depends on how many films
there were. Everything is about films that get a probability, as in a report; films that the gate
refuses are counted and left out.
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

#: What :func:`input_statistics` measures of each film.
INPUTS: Final = ("mean", "sd", "black", "white", "sharpness")

#: Codes of the warnings that a model's gate gives.
WARNINGS: Final = ("out_of_domain", "inverted", "rotated")

# Grey values from which a pixel counts as black or white: beside no step of an 8-bit film, so that
# the rounding of a tensor moves none across.
_BLACK: Final = 0.02
_WHITE: Final = 0.98

# Probabilities that are kept; of more films their quantiles. Enough for the distance of two
# distributions to be off by a thousandth at most.
_KEPT: Final = 1001

_ARRAYS: Final = ("probabilities", "embedding_mean", "embedding_covariance")


@dataclass(frozen=True)
class Spread:
    """How one measure is distributed over films: mean, standard deviation, :data:`QUANTILES`."""

    mean: float
    sd: float
    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.quantiles) != len(QUANTILES):
            raise ValueError(f"a spread has the quantiles {QUANTILES}: {self}")
        if not all(map(_finite, (self.mean, self.sd, *self.quantiles))):
            raise ValueError(f"a spread has finite numbers: {self}")
        if self.sd < 0 or any(low > high for low, high in pairwise(self.quantiles)):
            raise ValueError(f"a spread has an sd from 0 up and rising quantiles: {self}")

    @classmethod
    def of(cls, values: Floats) -> Self:
        """The spread of at least one value, shape (n,)."""
        sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        quantiles = np.maximum.accumulate(np.quantile(values, QUANTILES))
        return cls(float(values.mean()), sd, tuple(map(float, quantiles)))


@dataclass(frozen=True, eq=False)
class DriftBaseline:
    """The drift reference of a model, from films that it was not fitted on.

    Attributes:
        n: films that were offered.
        refused: of these, refused by the gate, or without a valid probability.
        called: of the others, called pneumonia.
        warnings: of the others, with each of :data:`WARNINGS`.
        histogram: counts of the calibrated probability in :data:`BINS` bins.
        probabilities: themselves, rising, shape (m,): one for each film, or 1,001 quantiles.
        distance: spread of the distance from the training films.
        inputs: spread of each of :data:`INPUTS`.
        embedding_mean: in the coordinates of the gate's density, shape (k,).
        embedding_covariance: likewise, shape (k, k).
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
            raise ValueError(f"a reference has the warnings {WARNINGS} and the inputs {INPUTS}")
        counts = (self.n, self.refused, self.called, *self.warnings.values(), *self.histogram)
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("a reference counts films: whole numbers from 0 up")
        if len(self.histogram) != BINS or sum(self.histogram) != self.scored:
            raise ValueError(f"the histogram has {BINS} counts that add up to the scored films")
        if self.scored < 1 or max(self.called, *self.warnings.values()) > self.scored:
            raise ValueError("a reference counts more films than there are")
        k = self.embedding_mean.size
        expected = {
            "probabilities": (min(self.scored, _KEPT),),
            "embedding_mean": (k,),
            "embedding_covariance": (k, k),
        }
        for name, shape in expected.items():
            values = getattr(self, name)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"{name} has the shape {values.shape}, expected {shape}, finite")
        p = self.probabilities
        if p[0] < 0 or p[-1] > 1 or (np.diff(p) < 0).any():
            raise ValueError("the probabilities do not rise from 0 up to 1")

    @property
    def scored(self) -> int:
        """Films that have a probability."""
        return self.n - self.refused

    @property
    def positive_rate(self) -> float:
        """Share of the scored films that were called pneumonia."""
        return self.called / self.scored

    @property
    def refusal_rate(self) -> float:
        """Share of the offered films that were refused."""
        return self.refused / self.n

    @property
    def warning_rates(self) -> dict[str, float]:
        """Share of the scored films with each warning."""
        return {code: count / self.scored for code, count in self.warnings.items()}

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON; arrays as their little-endian float32 bytes."""
        return vars(self) | {
            "warnings": dict(self.warnings),
            "histogram": list(self.histogram),
            "distance": _plain(self.distance),
            "inputs": {name: _plain(spread) for name, spread in self.inputs.items()},
            **{name: packed(getattr(self, name)) for name in _ARRAYS},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of :meth:`as_dict`.

        Raises:
            ValueError: if the values do not belong together.
            KeyError: if one is missing.
            TypeError: if `values` are no fields, or one is unknown or of another kind.
        """
        if not isinstance(values, dict):
            raise TypeError(f"the reference is a {type(values).__name__}")
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
    """Counts of probabilities, shape (n,), in :data:`BINS` bins."""
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    return tuple(map(int, np.bincount(bins, minlength=BINS)))


def rising(probabilities: Floats) -> npt.NDArray[np.float32]:
    """Probabilities, shape (n,), as a reference keeps them: rising, of very many the quantiles."""
    if len(probabilities) > _KEPT:
        probabilities = np.quantile(probabilities, np.linspace(0, 1, _KEPT))
    return np.sort(probabilities).astype(np.float32)


def input_statistics(greys: npt.NDArray[np.floating]) -> dict[str, Floats]:
    """What films look like before any model sees them.

    The mean and standard deviation of their grey values tell exposure and contrast; the shares of
    black and white tell borders, collimation and saturation; the mean absolute Laplacian tells
    sharpness, noise and compression.

    Args:
        greys: films at the model's size, shape (n, rows, columns), 0..1, at least 3 x 3: what
            training reads, and a tensor before its scale and offset.

    Returns:
        For each of :data:`INPUTS` one value a film, shape (n,).
    """
    # One film at a time: a night's films together would need several times their memory.
    measured = [_measured(np.asarray(grey, np.float64)) for grey in greys]
    columns = np.array(measured, np.float64).reshape(len(measured), len(INPUTS)).T
    return dict(zip(INPUTS, columns, strict=True))


def _measured(grey: Floats) -> tuple[float, ...]:
    # In place, and counted rather than averaged: this is done for every film of a night.
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
