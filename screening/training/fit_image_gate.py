"""Fit the image gate: frontal chest film or not, orientation, distance from the training films.

Positives are the site's own films: upright, turned, inverted, and changed the way scanners differ.
The bundled pictures are negatives, except frontal projections that were computed in the same way as
some of the negatives and count as positives. The gate is evaluated on films held out by patient and
pictures held out by source.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from screening.errors import TrainingDataError
from screening.imaging.film import Grey
from screening.imaging.raster import decode_raster
from screening.model.image_gate import ORIENTATIONS, ImageGate, distances
from screening.model.preprocess import Preprocessing
from screening.training.augment import Pixels, augment, compressed

_TINY: Final = 1e-6


def recompress(film: Pixels, rng: np.random.Generator) -> Pixels:
    """The film compressed as a JPEG of quality 40 to 75."""
    return np.array(compressed(Image.fromarray(film), int(rng.integers(40, 76))))


def resample(film: Pixels, rng: np.random.Generator) -> Pixels:
    """The film slightly blurred: shrunk by up to a third and enlarged again."""
    image = Image.fromarray(film)
    share = rng.uniform(0.67, 0.98)
    small = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    blurred = image.resize(small, Image.Resampling.BILINEAR)
    return np.array(blurred.resize(image.size, Image.Resampling.BICUBIC))


def dress(
    picture: npt.NDArray[np.float32], film: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Give `picture` the texture and the grey values of `film`; both 0..1, of the same shape.

    The phases of its Fourier transform stay; the amplitudes move towards those of `film` (after
    Yang and Soatto, Fourier Domain Adaptation, CVPR 2020).
    """
    own, other = np.fft.fft2(picture), np.fft.fft2(film)
    share = rng.uniform(0.4, 1)
    amplitude = (np.abs(own) + _TINY) ** (1 - share) * (np.abs(other) + _TINY) ** share
    dressed = np.fft.ifft2(amplitude * np.exp(1j * np.angle(own))).real
    low, high = np.percentile(dressed, (1, 99))
    grey = np.clip((dressed - low) / (high - low + _TINY), 0, 1)
    if rng.random() < 0.6:
        ranks = np.argsort(np.argsort(grey, axis=None))
        grey = np.sort(film, axis=None)[ranks].reshape(grey.shape)
    return np.asarray(grey, np.float32)


def turn(films: npt.NDArray[np.float32], orientation: str) -> npt.NDArray[np.float32]:
    """Turn films, shape (n, rows, columns), 0..1, to another orientation.

    Args:
        orientation: one of :data:`screening.model.image_gate.ORIENTATIONS`. A film turned by 90
            degrees is squashed to the model's size like any other.
    """
    if orientation == "upright":
        return films
    if orientation == "inverted":
        return np.float32(1) - films
    return np.ascontiguousarray(np.rot90(films, int(orientation) // 90, axes=(1, 2)))


_FOLDER: Final = Path(__file__).parent / "gate_pictures"
_LIST: Final = "SOURCES.csv"

#: Kind of the computed frontal projections. They are made from the same volumes and in the same way
#: as the lateral ones, so that the gate cannot tell positives and negatives apart by how they were
#: made.
FRONTAL: Final = "frontal_chest"


@dataclass(frozen=True)
class Example:
    """One bundled picture.

    Attributes:
        kind: what it shows, in one word.
        source: origin; pictures of one source are held out together.
        grey: grey values at the model's size, shape (rows, columns), 0..1.
    """

    kind: str
    source: str
    grey: Grey


def read_examples(preprocessing: Preprocessing) -> list[Example]:
    """Read all bundled pictures, at the model's size."""
    with (_FOLDER / _LIST).open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [
        Example(line["kind"], line["source"], _read(_FOLDER / line["file"], preprocessing))
        for line in lines
    ]


def _read(path: Path, preprocessing: Preprocessing) -> Grey:
    grey, _warnings = decode_raster(path.read_bytes())
    return preprocessing.resize(grey)


Greys = npt.NDArray[np.float32]
Features = npt.NDArray[np.float64]

#: Computes embeddings, shape (n, d), of films at the model's size, shape (n, rows, columns), 0..1.
Embed = Callable[[Greys], npt.NDArray[np.float32]]

#: Computes standardised embeddings.
Look = Callable[[Greys], Features]

#: Own films embedded upright, and how many of them are also turned and changed. More only cost
#: time.
_UPRIGHT: Final = 1200
_CHANGED: Final = 400

#: Changed copies of each negative.
_COPIES: Final = 2

#: Inverse strength of the ridge on standardised features.
_FRONTAL_C: Final = 0.01
_ORIENTATION_C: Final = 0.01

#: Share of held-out frontal films that may fall below the threshold, and the threshold's bounds.
_FALSE_REFUSALS: Final = 0.005
_THRESHOLDS: Final = (0.5, 0.75)
_FOLDS: Final = 5

#: The density uses only the deepest features, because the earlier ones show how a film was
#: compressed rather than where it comes from. Number of these features, number of principal
#: components, and factor on the changes that a scanner or an export makes.
_DEEPEST: Final = 512
_COMPONENTS: Final = 64
_STRETCH: Final = 2.0

#: Factor from the distance that one in a hundred unseen films exceeds to the limit.
_MARGIN: Final = 1.18

#: Probability from which a film is reported as turned or inverted.
_SURE: Final = 0.8


@dataclass(frozen=True, eq=False)
class Frontal:
    """Frontal chest films at the model's size.

    Attributes:
        greys: shape (n, rows, columns), 0..1.
        groups: group (patient) of each film, held out together, shape (n,).
    """

    greys: Greys
    groups: npt.NDArray[np.str_]

    @classmethod
    def chosen(cls, films: npt.NDArray[np.uint8], groups: Sequence[str], seed: int) -> Self:
        """Choose `_UPRIGHT` of `films`, shape (n, rows, columns), 0..255, or fewer, at random."""
        index = np.random.default_rng(seed).permutation(len(films))[:_UPRIGHT]
        return cls(films[index].astype(np.float32) / np.float32(255), np.array(groups)[index])

    @classmethod
    def of_others(cls, greys: Greys) -> Self:
        """Films from elsewhere, shape (n, rows, columns), 0..1, each treated as its own patient."""
        return cls(greys, np.array([f"other {index}" for index in range(len(greys))], dtype=str))

    def first(self, count: int) -> Self:
        """The first `count` films."""
        return type(self)(self.greys[:count], self.groups[:count])


@dataclass(frozen=True, eq=False)
class _Part:
    """Examples of one kind and their total weight."""

    weight: float
    plain: bool
    features: Features
    groups: npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class _Examples:
    """Examples that the frontal head is fitted on.

    Attributes:
        features: shape (n, d).
        groups: shape (n,).
        weights: shape (n,); they add up to 1.
        plain: True for unchanged pictures, False for changed copies, shape (n,).
    """

    features: Features
    groups: npt.NDArray[np.str_]
    weights: npt.NDArray[np.float64]
    plain: npt.NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[_Part]) -> Self:
        """Join parts; the weight of a part does not depend on its number of examples."""
        total = sum(part.weight for part in parts)
        sizes = [len(part.groups) for part in parts]
        shares = [part.weight / total / size for part, size in zip(parts, sizes, strict=True)]
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.groups for part in parts]),
            np.repeat(shares, sizes),
            np.repeat([part.plain for part in parts], sizes),
        )


def fit_image_gate(
    embed: Embed,
    own: Frontal,
    unseen: Greys,
    others: Frontal,
    examples: Sequence[Example],
    seed: int,
) -> ImageGate:
    """Fit all three parts: frontal head, orientation head and density.

    Args:
        embed: embedding function of the finished model.
        own: films that the model was trained on, in random order.
        unseen: films of other patients of the same site; they set the limit of the distance.
        others: frontal chest films from elsewhere; may be empty.
        examples: pictures that are not frontal chest films, and computed ones that are.
        seed: determines the choice and the changes of films.

    Raises:
        TrainingDataError: if there are too few patients and sources to hold some out.
    """
    rng = np.random.default_rng(seed)
    upright = embed(own.greys).astype(np.float64)
    mean, scale = upright.mean(axis=0), np.maximum(upright.std(axis=0), 1e-3)

    def look(greys: Greys) -> Features:
        return np.asarray((embed(greys) - mean) / scale)

    sets = [films for films in (own.first(_CHANGED), others) if len(films.greys)]
    turned = [[look(turn(films.greys, name)) for films in sets] for name in ORIENTATIONS]
    computed = [example for example in examples if example.kind == FRONTAL]
    negatives = [example for example in examples if example.kind != FRONTAL]
    styles = np.concatenate([films.greys for films in sets])
    positives = [*_films((upright - mean) / scale, own, sets, turned, styles, look=look, rng=rng)]
    positives += _pictures(computed, styles, look, rng, plain=False)
    frontal, threshold, figures = _fit_frontal(
        _Examples.joined(positives),
        _Examples.joined([*_pictures(negatives, styles, look, rng, plain=True)]),
        [negative.kind for negative in negatives],
    )
    density = _fit_density((upright - mean) / scale, own.first(_CHANGED), look, rng)
    beyond = np.quantile(distances(look(unseen), *density), 0.99)
    return ImageGate(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        frontal=frontal,
        frontal_threshold=threshold,
        orientation=_fit_orientation([np.concatenate(parts) for parts in turned]),
        orientation_threshold=_SURE,
        components=density[0].astype(np.float32),
        variances=density[1].astype(np.float32),
        residual=density[2],
        limit=max(float(beyond), 1e-6) * _MARGIN,
        fitted_on={
            "own_films": len(own.greys),
            "other_films": len(others.greys),
            "other_films_sha256": hashlib.sha256(others.greys.tobytes()).hexdigest(),
            "negatives": len(negatives),
            **figures,
        },
    )


def _films(
    upright: Features,
    own: Frontal,
    sets: Sequence[Frontal],
    turned: Sequence[Sequence[Features]],
    styles: Greys,
    *,
    look: Look,
    rng: np.random.Generator,
) -> Iterator[_Part]:
    """Positives: own and other films count the same; turned and inverted ones count, too."""
    yield _Part(1.0, True, upright, own.groups)
    for index, films in enumerate(sets):
        if index > 0:
            yield _Part(1.0, True, turned[0][index], films.groups)
        for by_name in turned[1:]:
            yield _Part(0.15, False, by_name[index], films.groups)
        yield _Part(0.4, False, look(_each(films.greys, augment, rng)), films.groups)
        yield _Part(0.8, False, look(_dressed(films.greys, styles, rng)), films.groups)


def _pictures(
    examples: Sequence[Example], styles: Greys, look: Look, rng: np.random.Generator, plain: bool
) -> Iterator[_Part]:
    """Pictures as they are, and copies: changed, and with the texture of films.

    Films also get the texture of other films, so that texture carries no information and only the
    content counts.
    """
    greys = np.stack([example.grey for example in examples])
    sources = np.array([example.source for example in examples])
    yield _Part(0.3, plain, look(greys), sources)
    for _ in range(_COPIES):
        copies = np.stack([_turned_at_random(grey, rng) for grey in greys])
        yield _Part(0.3, False, look(_each(copies, augment, rng)), sources)
        yield _Part(0.25 if plain else 0.6, False, look(_dressed(copies, styles, rng)), sources)


def _fit_frontal(
    positives: _Examples, negatives: _Examples, kinds: Sequence[str]
) -> tuple[npt.NDArray[np.float32], float, dict[str, Any]]:
    """Weights, the threshold, and the numbers of held-out films and pictures it refuses."""
    x = np.concatenate([positives.features, negatives.features])
    y = np.repeat([1, 0], [len(positives.groups), len(negatives.groups)])
    # Scaled to the number of examples, so that the ridge has the same strength for any number.
    weights = np.concatenate([positives.weights, negatives.weights]) * len(y) / 2
    groups = np.concatenate([positives.groups, negatives.groups])
    held_out = np.empty(len(y))
    for train, test in _folds(y, groups):
        head = _logistic(_FRONTAL_C).fit(x[train], y[train], weights[train])
        held_out[test] = head.predict_proba(x[test])[:, 1]
    plain = np.concatenate([positives.plain, negatives.plain])
    films, pictures = held_out[plain & (y == 1)], held_out[plain & (y == 0)]
    low, high = _THRESHOLDS
    threshold = round(min(max(float(np.quantile(films, _FALSE_REFUSALS)), low), high), 3)
    by_kind = {
        kind: _share(pictures[np.array(kinds) == kind] < threshold) for kind in sorted({*kinds})
    }
    figures = {
        "held_out_films_refused": _share(films < threshold),
        "held_out_pictures_refused": _share(pictures < threshold),
        "held_out_pictures_refused_by_kind": by_kind,
    }
    return _weights(_logistic(_FRONTAL_C).fit(x, y, weights))[0], threshold, figures


def _folds(
    y: npt.NDArray[np.int64], groups: npt.NDArray[np.str_]
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs of training and held-out indices; no group is on both sides."""
    if len(np.unique(groups)) < _FOLDS:
        raise TrainingDataError(
            f"the gate needs at least {_FOLDS} patients and sources of pictures in all, but there are "
            f"{len(np.unique(groups))}"
        )
    folds = list(GroupKFold(_FOLDS, shuffle=True, random_state=0).split(y, y, groups))
    if any(len(np.unique(y[train])) < 2 for train, _test in folds):
        raise TrainingDataError("the gate needs films of more patients and sources of pictures")
    return folds


def _share(which: npt.NDArray[np.bool_]) -> str:
    return f"{which.sum()} of {len(which)}"


def _fit_orientation(turned: Sequence[Features]) -> npt.NDArray[np.float32]:
    y = np.repeat(np.arange(len(turned)), [len(features) for features in turned])
    return _weights(_logistic(_ORIENTATION_C).fit(np.concatenate(turned), y))


def _fit_density(
    upright: Features, few: Frontal, look: Look, rng: np.random.Generator
) -> tuple[Features, Features, float]:
    """Components, variances and the residual variance.

    What an export changes in a film (sharpness, compression) says little about its origin, so the
    density is widened along these changes, in both directions: it then also covers films that were
    compressed less than those of the training.
    """
    plain = upright[: len(few.greys)]
    stretched = []
    for change in (resample, recompress):
        moved = _STRETCH * (look(_each(few.greys, change, rng)) - plain)
        stretched += [plain + moved, plain - moved]
    examples = np.concatenate([upright, *stretched])[:, -_DEEPEST:]
    pca = PCA(min(_COMPONENTS, min(examples.shape) - 1), svd_solver="full").fit(examples)
    residual = max(float(pca.noise_variance_), 1e-6)
    # With few films, the last components contain only rounding errors.
    return pca.components_, np.maximum(pca.explained_variance_, residual), residual


def _logistic(strength: float) -> Any:
    return LogisticRegression(C=strength, max_iter=5000)


def _weights(head: Any) -> npt.NDArray[np.float32]:
    """Coefficients and biases, shape (k, d + 1)."""
    return np.column_stack([head.coef_, head.intercept_]).astype(np.float32)


def _each(
    greys: Greys,
    change: Callable[[npt.NDArray[np.uint8], np.random.Generator], npt.NDArray[np.uint8]],
    rng: np.random.Generator,
) -> Greys:
    """Apply a change to each film separately; the change takes and returns 0..255."""
    films = np.rint(greys * 255).astype(np.uint8)
    changed = [change(film.copy(), rng) for film in films]
    return np.stack(changed).astype(np.float32) / np.float32(255)


def _dressed(greys: Greys, styles: Greys, rng: np.random.Generator) -> Greys:
    """Each picture with the texture of one of the films `styles`."""
    chosen = rng.integers(len(styles), size=len(greys))
    pairs = zip(greys, styles[chosen], strict=True)
    return np.stack([dress(grey, film, rng) for grey, film in pairs])


def _turned_at_random(grey: npt.NDArray[np.float32], rng: np.random.Generator) -> Any:
    """Mirror, turn or invert at random, so that orientation says nothing about the content."""
    if rng.random() < 0.5:
        grey = grey[:, ::-1]
    if rng.random() < 0.4:
        grey = turn(grey[np.newaxis], str(rng.choice(ORIENTATIONS[1:])))[0]
    return np.ascontiguousarray(grey)
