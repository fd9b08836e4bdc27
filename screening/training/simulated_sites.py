"""Simulate films of other hospitals and measure a model on them.

Validation films come from the same places as the training films, so their figures say little about
another hospital: models that separate the site's own films almost perfectly call many normal films
of another site pneumonia, because these look different. Here each simulated hospital frames,
exposes, processes, degrades and stores all films in its own way, mostly beyond the augmentation.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps
from scipy.ndimage import gaussian_filter

from screening.model.calibration import Calibration, OperatingPoint
from screening.report.metrics import Scored, auroc, performance
from screening.training.augment import compressed, equalised_locally
from screening.training.scored_split import ScoredSplit

#: Shape (rows, columns), 0..1.
Grey = npt.NDArray[np.float32]

Floats = npt.NDArray[np.floating]

Change = Callable[[Floats], Floats]

_HOSPITALS: Final = 12
_SEED: Final = 1000


@dataclass(frozen=True)
class SimulatedSite:
    """One way of taking, processing and storing films.

    Attributes:
        zoom: scale of the film in the picture; below 1 it has a border.
        aspect: factor on the film's width; the height gets its inverse.
        shift: displacement of the film's centre, as shares of the picture's sides.
        border: grey value around the film, 0..255.
        processing: one of :data:`PROCESSING`.
        gamma: exponent of the grey values.
        window: grey values that black and white become, 0..1.
        vignette: how much darker the corners are, 0..1.
        blur: standard deviation in pixels at 224.
        noise: standard deviation, 0..1.
        halved: True if stored at half the size.
        quality: JPEG quality; 0 for no compression.
    """

    zoom: float = 1.0
    aspect: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    border: int = 0
    processing: str = "none"
    gamma: float = 1.0
    window: tuple[float, float] = (0.0, 1.0)
    vignette: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    halved: bool = False
    quality: int = 0

    def deliver(self, film: Grey, rng: np.random.Generator) -> Grey:
        """Change a film, shape (rows, columns), 0..1, the way this hospital would deliver it."""
        grey: Floats = _framed(film, self, rng) * _vignette(film.shape, self.vignette)
        grey = PROCESSING[self.processing](grey)
        if self.blur:
            grey = gaussian_filter(grey, self.blur * len(grey) / 224)
        low, high = self.window
        grey = low + np.clip(grey, 0, 1) ** self.gamma * (high - low)
        if self.noise:
            grey = grey + rng.normal(0, self.noise, grey.shape)
        return _stored(np.clip(grey, 0, 1), self)


def simulated_sites() -> dict[str, SimulatedSite]:
    """The simulated hospitals by name; always the same ones."""
    named = {
        "close collimation": SimulatedSite(zoom=1.25),
        "wide border": SimulatedSite(zoom=0.72, aspect=1.15),
        "multi-frequency processing": SimulatedSite(processing="multi-frequency"),
        "small JPEG": SimulatedSite(halved=True, quality=20),
    }
    return named | {f"hospital {index + 1}": _drawn(index) for index in range(_HOSPITALS)}


def deliver_all(
    hospital: SimulatedSite, films: npt.NDArray[np.float32], seed: int = 0
) -> npt.NDArray[np.float32]:
    """Change films, shape (n, rows, columns), 0..1, with a hospital's variation between films."""
    rng = np.random.default_rng(seed)
    return np.stack([hospital.deliver(film, rng) for film in films])


def exchange_exposure(
    films: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], seed: int = 0
) -> npt.NDArray[np.float32]:
    """Give each film the histogram of one of the other class: exposure suggests the wrong class."""
    rng = np.random.default_rng(seed)
    others = {label: np.flatnonzero(labels != label) for label in np.unique(labels)}
    ordered = np.sort(films.reshape(len(films), -1), axis=1)
    exchanged = np.empty_like(films)
    for index, (film, label) in enumerate(zip(films, labels, strict=True)):
        ranks = np.argsort(np.argsort(film, axis=None, kind="stable"), kind="stable")
        lender = rng.choice(others[label])
        exchanged[index] = ordered[lender][ranks].reshape(film.shape)
    return exchanged


def _drawn(index: int) -> SimulatedSite:
    rng = np.random.default_rng(_SEED + index)
    names = [*PROCESSING]
    return SimulatedSite(
        zoom=float(np.exp(rng.uniform(-0.3, 0.3))),
        aspect=float(np.exp(rng.uniform(-0.15, 0.15))),
        shift=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05))),
        border=int(rng.choice([0, 0, 0, 40, 255])),
        processing=names[index % len(names)],
        gamma=float(np.exp(rng.uniform(-0.7, 0.7))),
        window=(float(rng.uniform(0, 0.25)), float(rng.uniform(0.75, 1))),
        vignette=float(rng.choice([0, 0, 0.4])),
        blur=float(rng.choice([0, 0, 0.8, 1.4])),
        noise=float(rng.choice([0, 0, 0.02, 0.05])),
        halved=bool(rng.random() < 0.3),
        quality=int(rng.choice([0, 0, 15, 30, 60, 90])),
    )


def _framed(film: Grey, hospital: SimulatedSite, rng: np.random.Generator) -> Grey:
    """Zoom, squash and shift the film, with a small random deviation for each film."""
    rows, columns = film.shape
    zoom = hospital.zoom * np.exp(rng.normal(0, 0.03))
    across, down = 1 / (zoom * hospital.aspect), hospital.aspect / zoom
    right, low = np.array(hospital.shift) + rng.normal(0, 0.02, 2)
    x = columns / 2 - across * (columns / 2 + right * columns)
    y = rows / 2 - down * (rows / 2 + low * rows)
    matrix = (float(across), 0.0, float(x), 0.0, float(down), float(y))
    return _grey(
        _image(film).transform(
            (columns, rows),
            Image.Transform.AFFINE,
            matrix,
            Image.Resampling.BILINEAR,
            fillcolor=hospital.border,
        )
    )


def _vignette(shape: tuple[int, ...], strength: float) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(1 - strength * (x**2 + y**2) / 2, np.float32)


def _stored(grey: Floats, hospital: SimulatedSite) -> Grey:
    image = _image(grey)
    size = image.size
    if hospital.halved:
        image = image.resize((size[0] // 2, size[1] // 2), Image.Resampling.BILINEAR)
    if hospital.quality:
        image = compressed(image, hospital.quality)
    return _grey(image.resize(size, Image.Resampling.BICUBIC) if image.size != size else image)


def _multi_frequency(grey: Floats) -> Floats:
    """Reduce coarse contrast and enhance fine detail, as many scanners do."""
    coarse = gaussian_filter(grey, len(grey) / 14)
    fine = grey - gaussian_filter(grey, len(grey) / 224)
    return np.asarray(0.5 + 0.45 * (coarse - 0.5) + 1.6 * (grey - coarse) + 0.8 * fine)


def _equalised_locally(grey: Floats) -> Floats:
    return equalised_locally(np.clip((grey * 255).astype(int), 0, 255).astype(np.uint8))


def _filtered(image_filter: ImageFilter.Filter) -> Change:
    return lambda grey: _grey(_image(grey).filter(image_filter))


#: Processing by a scanner or a workstation.
PROCESSING: Final[dict[str, Change]] = {
    "none": lambda grey: grey,
    "multi-frequency": _multi_frequency,
    "local equalisation": _equalised_locally,
    "equalisation": lambda grey: _grey(ImageOps.equalize(_image(grey))),
    "edge enhancement": _filtered(ImageFilter.UnsharpMask(3, 180, 0)),
    "low contrast": lambda grey: gaussian_filter(grey, len(grey) / 140) * 0.55 + 0.3,
    "high contrast": lambda grey: np.asarray(1 / (1 + np.exp(-8 * (grey - 0.5)))),
}


def _image(grey: Floats) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8))


def _grey(image: Image.Image) -> Grey:
    return np.asarray(image, np.float32) / np.float32(255)


Greys = npt.NDArray[np.float32]

#: Computes scores, shape (n, 2), of films at the model's size, shape (n, rows, columns), 0..1.
Predict = Callable[[Greys], npt.NDArray[np.float32]]

#: Maximum number of films. More only cost time.
_MOST: Final = 600

#: Metrics measured at each hospital.
METRICS: Final = (
    "auroc",
    "accuracy",
    "recall",
    "specificity",
    "balanced_accuracy",
    "brier",
    "calibration_error",
)

#: Name of the simulated hospital whose films have the exposure of the other class.
EXCHANGED: Final = "exposure exchanged"


def evaluate_at_sites(
    side: ScoredSplit,
    greys: Greys,
    predict: Predict,
    calibration: Calibration,
    point: OperatingPoint,
) -> dict[str, dict[str, Any]]:
    """Measure a model on films as other hospitals would have delivered them.

    Args:
        side: films that the model was not fitted on.
        greys: grey values of these films, shape (n, rows, columns), 0..1.

    Returns:
        By hospital: metrics with their intervals at the threshold in use. `auroc_normals` compares
        the hospital's normal films with the unchanged pneumonia films, which is where models
        usually fail.
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


def sample_films(side: ScoredSplit, most: int = _MOST) -> npt.NDArray[np.int64]:
    """Indices of at most `most` films, as equally of both classes as possible, ascending."""
    rng = np.random.default_rng(0)
    by_class = [rng.permutation(np.flatnonzero(side.positive == is_one)) for is_one in (0, 1)]
    fewer, more = sorted(by_class, key=len)
    fewer = fewer[: most // 2]
    return np.sort(np.concatenate([fewer, more[: most - len(fewer)]]))


def _delivered(greys: Greys, labels: npt.NDArray[np.int64]) -> Iterator[tuple[str, Greys]]:
    for name, hospital in simulated_sites().items():
        yield name, deliver_all(hospital, greys)
    yield EXCHANGED, exchange_exposure(greys, labels)
