"""Check that an image is an upright frontal chest film similar to the training films.

All checks use the model's embedding, so they need no header and run wherever the model runs: two
linear heads (`frontal` and :data:`ORIENTATIONS`) and a density for the distance.
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
from screening.results import FilmWarning, Reason

Floats = npt.NDArray[np.float32]

#: Classes of the orientation head, in order; angles are anticlockwise as displayed.
ORIENTATIONS: Final = ("upright", "inverted", "90", "180", "270")

#: Frontal score that is enough for a film that is clearly rotated or inverted: such a film scores
#: lower, and gets a warning anyway.
_TURNED: Final = 0.5

_ARRAYS: Final = ("mean", "scale", "frontal", "orientation", "components", "variances")


@dataclass(frozen=True)
class ImageGateResult:
    """Result of the gate for one image.

    Attributes:
        frontal: similarity to a frontal chest film, 0 to 1; four decimals.
        distance: from the training films; one in a hundred of them has a distance above 1.
        refusal: reason for refusing the image; None if it is accepted.
        warnings: warnings for the reader of the film.
    """

    frontal: float | None = None
    distance: float | None = None
    refusal: Reason | None = None
    warnings: tuple[FilmWarning, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageGate:
    """The gate that is fitted with each model and stored in its card.

    The embedding e, shape (d,), is standardised to z = (e - mean) / scale. Its squared distance is
    that of a Gaussian with probabilistic PCA (Tipping and Bishop, 1999): the coordinates along
    `components` are divided by `variances`, the remainder by `residual`.

    Attributes:
        mean: shape (d,).
        scale: shape (d,).
        frontal: weights, shape (d + 1,); the last is the bias.
        frontal_threshold: images below it are refused.
        orientation: weights, shape (5, d + 1), one row for each of :data:`ORIENTATIONS`.
        orientation_threshold: probability from which an orientation other than upright is reported.
        components: orthonormal, shape (k, e): of the last e features, those of the deepest stages.
        variances: shape (k,).
        residual: variance of each direction orthogonal to `components`.
        limit: distance that is reported as 1.
        fitted_on: fitting data and performance, for readers of the card.
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
                raise ValueError(
                    f"{name} has the shape {values.shape}, expected {shape} with finite numbers"
                )
        if len(e) == 0 or not 0 < e[0] <= d:
            raise ValueError(f"components have the shape {self.components.shape}, for {d} features")
        for name in ("scale", "variances"):
            if not (getattr(self, name) > 0).all():
                raise ValueError(f"the values of {name} must be above 0")
        for name in ("residual", "limit"):
            _check_number(name, getattr(self, name), math.ulp(0), sys.float_info.max)
        for name in ("frontal_threshold", "orientation_threshold"):
            _check_number(name, getattr(self, name), 0, 1)
        if not isinstance(self.fitted_on, dict):
            raise ValueError(f"fitted_on is a {type(self.fitted_on).__name__}, expected a dict")  # noqa: TRY004

    def check_film(self, embeddings: npt.NDArray[np.floating]) -> list[ImageGateResult]:
        """Check n images by their embeddings, shape (n, d).

        Raises:
            CardError: if the embeddings are from another model.
        """
        if embeddings.shape[1:] != self.mean.shape:
            d, given = len(self.mean), embeddings.shape[-1]
            raise CardError(
                f"the gate needs {d} features, but the model gives {given}: they do not belong together"
            )
        # NaN is refused below, without a warning on standard error.
        with np.errstate(invalid="ignore", over="ignore"):
            z = self.standardised(embeddings)
            z[~np.isfinite(z).all(axis=1)] = np.nan
            frontal = np.round(sigmoid(linear(z, self.frontal[np.newaxis])[:, 0]), 4)
            measured = distances(z, self.components, self.variances, self.residual)
            distance = np.round(measured / self.limit, 4)
            turned = softmax(linear(z, self.orientation))
        return [self._result(*values) for values in zip(frontal, distance, turned, strict=True)]

    def standardised(self, embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return embeddings with mean 0 and variance 1 on the training films, shape (n, d)."""
        return (embeddings.astype(np.float64) - self.mean) / self.scale

    def coordinates(self, embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return embeddings, shape (n, d), along the components of the density, shape (n, k)."""
        z = self.standardised(embeddings)[:, -self.components.shape[1] :]
        return np.asarray(z @ self.components.T.astype(np.float64))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON; arrays as little-endian float32 bytes."""
        return {
            name: packed(value) if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build a gate from plain values; the inverse of :meth:`as_dict`.

        Raises:
            ValueError: if the arrays are inconsistent.
            KeyError: if part of an array is missing.
            TypeError: if `values` is not a dict, or a field is missing or unknown.
        """
        if not isinstance(values, dict):
            raise TypeError(f"the gate is a {type(values).__name__}, expected a dict")
        fields: dict[str, Any] = {
            name: unpacked(value) if name in _ARRAYS else value for name, value in values.items()
        }
        return cls(**fields)

    def _result(
        self, frontal: float, distance: float, turned: npt.NDArray[np.float64]
    ) -> ImageGateResult:
        if not np.isfinite([frontal, distance]).all():
            return ImageGateResult(
                refusal=Reason("not_frontal_chest", "the embedding is not a number")
            )
        orientation = self._orientation(turned)
        needed = min(self.frontal_threshold, _TURNED) if orientation else self.frontal_threshold
        if frontal < needed:
            detail = f"{frontal:.4f}, at least {needed:g} is needed"
            return ImageGateResult(
                float(frontal), float(distance), Reason("not_frontal_chest", detail)
            )
        warnings = []
        if distance > 1:
            warnings.append(FilmWarning("out_of_domain", f"distance {distance:.2f}, limit 1"))
        if orientation == "inverted":
            warnings.append(FilmWarning("inverted"))
        elif orientation:
            warnings.append(FilmWarning("rotated", f"by {orientation} degrees"))
        return ImageGateResult(float(frontal), float(distance), warnings=tuple(warnings))

    def _orientation(self, turned: npt.NDArray[np.float64]) -> str:
        """Return an orientation other than upright if it is probable enough; else empty."""
        which = int(turned.argmax())
        sure = which > 0 and turned[which] >= self.orientation_threshold
        return ORIENTATIONS[which] if sure else ""


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, expected a number from {low:.3g} to {high:.3g}")


def packed(values: Floats) -> dict[str, Any]:
    """Return an array for JSON: its shape and its little-endian float32 bytes in base64."""
    data = base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
    return {"shape": list(values.shape), "float32": data}


def unpacked(values: dict[str, Any]) -> Floats:
    """Return the array from :func:`packed`.

    Raises:
        ValueError: if the bytes do not form an array of that shape.
        KeyError: if shape or bytes are missing.
        TypeError: if `values` is of another type.
    """
    data = base64.b64decode(values["float32"], validate=True)
    return np.frombuffer(data, "<f4").reshape(values["shape"])


def distances(
    z: npt.NDArray[np.float64],
    components: npt.NDArray[np.floating],
    variances: npt.NDArray[np.floating],
    residual: float,
) -> npt.NDArray[np.float64]:
    """Return the distances of standardised embeddings, shape (n, d), from the training films, (n,).

    Args:
        components: shape (k, e); only the last e features are used.
    """
    z = z[:, -components.shape[1] :]
    along = z @ components.T.astype(np.float64)
    remainder = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
    return np.asarray(np.sqrt((along**2 / variances).sum(axis=1) + remainder / residual))


def linear(z: npt.NDArray[np.float64], weights: Floats) -> npt.NDArray[np.float64]:
    """Return linear scores, shape (n, k), from `z`, shape (n, d), and `weights`, (k, d + 1)."""
    return np.asarray(z @ weights[:, :-1].T.astype(np.float64) + weights[:, -1])


def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return probabilities, shape (n, k)."""
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
