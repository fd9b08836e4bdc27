"""Is this a frontal chest film, which way up is it, and is it like those of the training?

All three are read from the model's embedding, so they need no header and run wherever the model
runs: two linear heads and a density (`frontal`, :data:`ORIENTATIONS` and the distance below).
"""

import base64
import math
import sys
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from screening.errors import CardError
from screening.model.calibration import sigmoid
from screening.results import reason

Floats = npt.NDArray[np.float32]

#: Classes of the orientation head, in order: turned as seen by the reader, anticlockwise.
ORIENTATIONS: Final = ("upright", "inverted", "90", "180", "270")

#: What is surely a turned or inverted film looks less like one, and gets its warning.
_TURNED: Final = 0.5

_ARRAYS: Final = ("mean", "scale", "frontal", "orientation", "components", "variances")


@dataclass(frozen=True)
class ImageGateResult:
    """What was recognised in one picture.

    Attributes:
        frontal: how much it looks like a frontal chest film, 0 to 1; four decimals.
        distance: from the training films; 1 is where one in a hundred of them lies beyond.
        refusal: the reason not to read it; empty if there is none.
        warnings: what its reader should know.
    """

    frontal: float | None = None
    distance: float | None = None
    refusal: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageGate:
    """The gate that is fitted with each model; kept in its card.

    The embedding e, shape (d,), is standardised to z = (e - mean) / scale. Its squared distance is
    that of a Gaussian with probabilistic PCA (Tipping and Bishop, 1999): the coordinates along
    `components` count by `variances`, all that is left by `residual`.

    Attributes:
        mean: shape (d,).
        scale: shape (d,).
        frontal: weights, shape (d + 1,); the last is the bias.
        frontal_threshold: below it a picture is refused.
        orientation: weights, shape (5, d + 1), one row for each of :data:`ORIENTATIONS`.
        orientation_threshold: probability from which another orientation than upright is named.
        components: orthonormal, shape (k, e): of the last e features, those of the deepest stages.
        variances: shape (k,).
        residual: variance of each direction beside `components`.
        limit: distance that is given as 1.
        fitted_on: what it was fitted on and how well it does, for the card's readers.
    """

    mean: Floats
    scale: Floats
    frontal: Floats
    frontal_threshold: float
    orientation: Floats
    orientation_threshold: float
    components: Floats
    variances: Floats
    residual: float
    limit: float
    fitted_on: dict[str, Any]

    def __post_init__(self) -> None:
        d, k, e = self.mean.size, self.variances.size, self.components.shape[-1:]
        expected = {
            "mean": (d,),
            "scale": (d,),
            "frontal": (d + 1,),
            "orientation": (len(ORIENTATIONS), d + 1),
            "components": (k, *e),
            "variances": (k,),
        }
        for name, shape in expected.items():
            values = getattr(self, name)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"{name} has the shape {values.shape}, expected {shape}, finite")
        if len(e) == 0 or not 0 < e[0] <= d:
            raise ValueError(f"components have the shape {self.components.shape}, for {d} features")
        for name in ("scale", "variances"):
            if not (getattr(self, name) > 0).all():
                raise ValueError(f"{name} has values that are not above 0")
        for name in ("residual", "limit"):
            _check_number(name, getattr(self, name), math.ulp(0), sys.float_info.max)
        for name in ("frontal_threshold", "orientation_threshold"):
            _check_number(name, getattr(self, name), 0, 1)
        if not isinstance(self.fitted_on, dict):
            raise ValueError(f"fitted_on is a {type(self.fitted_on).__name__}, expected a dict")  # noqa: TRY004

    def check_film(self, embeddings: npt.NDArray[np.floating]) -> list[ImageGateResult]:
        """What is recognised in n pictures, from their embeddings, shape (n, d).

        Raises:
            CardError: if these are embeddings of another model.
        """
        if embeddings.shape[1:] != self.mean.shape:
            d, given = len(self.mean), embeddings.shape[-1]
            raise CardError(
                f"the gate is for {d} features, the model gives {given}: it is of another model"
            )
        # What is no number is refused below, without a word on standard error.
        with np.errstate(invalid="ignore", over="ignore"):
            z = self.standardised(embeddings)
            z[~np.isfinite(z).all(axis=1)] = np.nan
            frontal = np.round(sigmoid(linear(z, self.frontal[np.newaxis])[:, 0]), 4)
            measured = distances(z, self.components, self.variances, self.residual)
            distance = np.round(measured / self.limit, 4)
            turned = softmax(linear(z, self.orientation))
        return [
            self._recognition(*values) for values in zip(frontal, distance, turned, strict=True)
        ]

    def standardised(self, embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Embeddings with mean 0 and variance 1 on the training films, shape (n, d)."""
        return (embeddings.astype(np.float64) - self.mean) / self.scale

    def coordinates(self, embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Embeddings along the components of the density, shape (n, k), from shape (n, d)."""
        z = self.standardised(embeddings)[:, -self.components.shape[1] :]
        return np.asarray(z @ self.components.T.astype(np.float64))

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON; arrays as their little-endian float32 bytes."""
        return {
            name: packed(value) if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`as_dict`.

        Raises:
            ValueError: if the arrays do not belong together.
            KeyError: if part of an array is missing.
            TypeError: if `values` are no fields, or one is missing or unknown.
        """
        if not isinstance(values, dict):
            raise TypeError(f"the gate is a {type(values).__name__}")
        fields: dict[str, Any] = {
            name: unpacked(value) if name in _ARRAYS else value for name, value in values.items()
        }
        return cls(**fields)

    def _recognition(
        self, frontal: float, distance: float, turned: npt.NDArray[np.float64]
    ) -> ImageGateResult:
        if not np.isfinite([frontal, distance]).all():
            return ImageGateResult(
                refusal=reason("not_frontal_chest", "the embedding is no number")
            )
        orientation = self._orientation(turned)
        needed = min(self.frontal_threshold, _TURNED) if orientation else self.frontal_threshold
        if frontal < needed:
            detail = f"{frontal:.4f}, {needed:g} is needed"
            return ImageGateResult(
                float(frontal), float(distance), reason("not_frontal_chest", detail)
            )
        warnings = []
        if distance > 1:
            warnings.append(reason("out_of_domain", f"distance {distance:.2f}, limit 1"))
        if orientation == "inverted":
            warnings.append(reason("inverted"))
        elif orientation:
            warnings.append(reason("rotated", f"by {orientation} degrees"))
        return ImageGateResult(float(frontal), float(distance), warnings=tuple(warnings))

    def _orientation(self, turned: npt.NDArray[np.float64]) -> str:
        """Another one than upright, if it is sure; else empty."""
        which = int(turned.argmax())
        sure = which > 0 and turned[which] >= self.orientation_threshold
        return ORIENTATIONS[which] if sure else ""


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, expected a number from {low:.3g} to {high:.3g}")


def packed(values: Floats) -> dict[str, Any]:
    """An array for JSON: its shape and its little-endian float32 bytes in base64."""
    data = base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
    return {"shape": list(values.shape), "float32": data}


def unpacked(values: dict[str, Any]) -> Floats:
    """The inverse of :func:`packed`.

    Raises:
        ValueError: if the bytes are no array of that shape.
        KeyError: if its shape or its bytes are missing.
        TypeError: if `values` are of another kind.
    """
    data = base64.b64decode(values["float32"], validate=True)
    return np.frombuffer(data, "<f4").reshape(values["shape"])


def distances(
    z: npt.NDArray[np.float64],
    components: npt.NDArray[np.floating],
    variances: npt.NDArray[np.floating],
    residual: float,
) -> npt.NDArray[np.float64]:
    """How far standardised embeddings, shape (n, d), lie from the training films, shape (n,).

    Args:
        components: shape (k, e); the last e features count.
    """
    z = z[:, -components.shape[1] :]
    along = z @ components.T.astype(np.float64)
    beside = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
    return np.asarray(np.sqrt((along**2 / variances).sum(axis=1) + beside / residual))


def linear(z: npt.NDArray[np.float64], weights: Floats) -> npt.NDArray[np.float64]:
    """Linear scores, shape (n, k), of `z`, shape (n, d), by `weights`, shape (k, d + 1)."""
    return np.asarray(z @ weights[:, :-1].T.astype(np.float64) + weights[:, -1])


def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities, shape (n, k)."""
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
