"""Find duplicate films: identical files, or the same film saved again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.int64]

#: Likeness from which two films count as one film, half-way between copies and other pairs. Among
#: 5,216 films of children, two exposures of one patient reach 0.81 and films of two patients 0.75.
#: For 1,000 of these films, copies that were recompressed (JPEG quality 30), had a gamma of 0.6 or
#: 1.6, or were cropped by up to 2 % at each edge, or all of it, reach at least 0.93.
NEAR: Final = 0.87

# Films are compared at this size, and at a quarter of it to find candidates.
_SIDE: Final = 56
_COARSE: Final = _SIDE // 4

# -1 at the first pixel of an axis, 1 at the last.
_FROM_CENTRE: Final = np.linspace(-1, 1, _SIDE, dtype=np.float32)

# Each film is compared with this many films, those most similar at the coarse size. Pairs are
# aligned only if they are similar before alignment, too. Copies as above reach at least 0.88 and
# 0.59; an eighth of the nearest other films reach 0.45.
_NEIGHBOURS: Final = 8
_COARSE_LIKENESS: Final = 0.8
_UNALIGNED_LIKENESS: Final = 0.45

# Steps of the alignment; one is enough to see that two films differ.
_STEPS: Final = 4
_LIKENESS_AFTER_ONE_STEP: Final = 0.7

# Number of films, or pairs, processed at a time; limits the memory.
_CHUNK: Final = 256

# Maximum shift, and maximum stretch, in pixels.
_MAX_SHIFT: Final = 4

# Minimum share of a film that the other, warped film must cover.
_LEAST_COVER: Final = 0.7


@dataclass(frozen=True, order=True)
class DuplicatePair:
    """Two films that are the same, by index; `first` < `second`.

    Attributes:
        likeness: correlation of their details, 1 for the same bytes.
    """

    first: int
    second: int
    likeness: float = 1.0


@dataclass(frozen=True)
class Duplicates:
    """Duplicate films.

    Attributes:
        exact: the same bytes; every further copy is paired with the first one.
        near: different bytes, but the same film; of exact copies only the first one is compared.
    """

    exact: tuple[DuplicatePair, ...] = ()
    near: tuple[DuplicatePair, ...] = ()

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The indices of all pairs, exact and near."""
        return [(pair.first, pair.second) for pair in (*self.exact, *self.near)]


def find_duplicates(greys: npt.NDArray[np.uint8], sha256: Sequence[str]) -> Duplicates:
    """Find exact and near duplicates among films.

    A near duplicate is a film that was recompressed, resized, made brighter or darker, or cropped
    by up to 2 % at each edge. Turned or mirrored films are not detected. Two exposures of one
    patient are not duplicates.

    Args:
        greys: the films at the model's size, shape (n, rows, columns), 0..255.
        sha256: hashes of their files.
    """
    first_with: dict[str, int] = {}
    exact = [
        DuplicatePair(first_with[digest], index)
        for index, digest in enumerate(sha256)
        if first_with.setdefault(digest, index) != index
    ]
    own = np.array(sorted(first_with.values()), np.int64)
    near = _near(own, *_structures(greys, own))
    return Duplicates(tuple(exact), tuple(sorted(near)))


def _near(
    own: _Indices, details: npt.NDArray[np.float16], outlines: _Floats
) -> Iterator[DuplicatePair]:
    candidates = _candidates(outlines)
    for start in range(0, len(candidates), _CHUNK):
        chunk = candidates[start : start + _CHUNK]
        one, other = (details[chunk[:, side]].astype(np.float32) for side in (0, 1))
        likely = _correlation(one, other) >= _UNALIGNED_LIKENESS
        likeness = _aligned(one[likely], other[likely])
        for (first, second), value in zip(chunk[likely], likeness, strict=True):
            if value >= NEAR:
                yield DuplicatePair(int(own[first]), int(own[second]), round(float(value), 4))


def _structures(
    greys: npt.NDArray[np.uint8], chosen: _Indices
) -> tuple[npt.NDArray[np.float16], _Floats]:
    """The details, shape (n, side, side), and the outlines, shape (n, k), of the chosen films.

    Outlines have mean 0 and length 1; those of a film without any structure are all 0.
    """
    # Half precision is accurate enough and halves the memory.
    details = np.empty((len(chosen), _SIDE, _SIDE), np.float16)
    outlines = np.empty((len(chosen), _COARSE * _COARSE), np.float32)
    for start in range(0, len(chosen), _CHUNK):
        part = slice(start, start + _CHUNK)
        small = np.stack([_resized(greys[index]) for index in chosen[part]])
        details[part] = _contrast(small, 2, 4, 2)
        coarse = small.reshape(-1, _COARSE, 4, _COARSE, 4).mean((2, 4))
        outline = _contrast(coarse, 2, 2, 4).reshape(len(coarse), -1)
        outline -= outline.mean(1, keepdims=True)
        outlines[part] = outline / np.maximum(np.linalg.norm(outline, axis=1, keepdims=True), 1e-3)
    return details, outlines


def _resized(grey: npt.NDArray[np.uint8]) -> _Floats:
    image = Image.fromarray(grey.astype(np.float32))
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float32)


def _contrast(films: _Floats, detail: float, surroundings: float, floor: float) -> _Floats:
    """Local contrast: the difference from the surroundings, divided by their variation.

    This makes brightness, contrast and gamma nearly irrelevant; the floor suppresses the noise of
    black corners.
    """
    fine = films - gaussian_filter(films, (0, detail, detail), truncate=2)
    variance = gaussian_filter(fine * fine, (0, surroundings, surroundings), truncate=2)
    return np.asarray(fine / (np.sqrt(variance) + floor), np.float32)


def _candidates(outlines: _Floats) -> _Indices:
    """Pairs of films with similar outlines, shape (pairs, 2), the lower index first, sorted."""
    kept = min(_NEIGHBOURS, len(outlines) - 1)
    if kept < 1:
        return np.empty((0, 2), np.int64)
    found = []
    for start in range(0, len(outlines), _CHUNK):
        alike = outlines[start : start + _CHUNK] @ outlines.T
        rows = np.arange(len(alike))
        alike[rows, start + rows] = -1  # exclude the film itself
        nearest = np.argpartition(alike, -kept, axis=1)[:, -kept:]
        row, rank = np.nonzero(np.take_along_axis(alike, nearest, axis=1) >= _COARSE_LIKENESS)
        found.append(np.stack([start + row, nearest[row, rank]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0).astype(np.int64)


def _aligned(one: _Floats, other: _Floats) -> _Floats:
    """Correlation of pairs of details, shape (n,), after `other` was aligned with `one`.

    `other` is shifted and stretched along both axes by a few Gauss-Newton steps. Pairs that are
    still very different after the first step are not aligned further.
    """
    likeness = _correlation(one, other)
    warp = np.zeros((len(one), 2, 2), np.float32)
    going = np.arange(len(one))
    for step in range(_STEPS):
        warp[going] += _step(one[going], *_warped(other[going], warp[going]))
        warp = np.clip(warp, -_MAX_SHIFT, _MAX_SHIFT)
        laid, cover = _warped(other[going], warp[going])
        value = _correlation(one[going], laid, cover)
        value[cover.mean((1, 2)) < _LEAST_COVER] = 0
        likeness[going] = np.maximum(likeness[going], value)
        if step == 0:
            going = going[value >= _LIKENESS_AFTER_ONE_STEP]
    return likeness


def _warped(other: _Floats, warp: _Floats) -> tuple[_Floats, _Floats]:
    """The details after a shift and a stretch along each axis, and a mask that is 1 where defined.

    Args:
        other: shape (n, side, side).
        warp: shape (n, 2, 2): for rows and for columns the shift, and the additional displacement
            at the edge, in pixels.
    """
    down, across = (_interpolation(warp[:, axis]) for axis in (0, 1))
    there = (down.sum(2) > 0.99)[:, :, None] & (across.sum(2) > 0.99)[:, None, :]
    laid = (down @ other @ across.transpose(0, 2, 1)).astype(np.float32)
    return laid, there.astype(np.float32)


def _interpolation(warp: _Floats) -> _Floats:
    """Matrices, shape (n, side, side), that interpolate linearly along one axis."""
    pixel = np.arange(_SIDE, dtype=np.float32)
    source = pixel + warp[:, :1] + warp[:, 1:] * _FROM_CENTRE
    return np.asarray(np.maximum(0, 1 - np.abs(source[:, :, None] - pixel)), np.float32)


def _step(one: _Floats, laid: _Floats, cover: _Floats) -> _Floats:
    """The Gauss-Newton step, shape (n, 2, 2), that improves the alignment."""
    one, laid = _centred(one, cover), _centred(laid, cover)
    scale = np.linalg.norm(laid, axis=(1, 2)) / np.maximum(np.linalg.norm(one, axis=(1, 2)), 1e-3)
    off = (one * scale[:, None, None] - laid).reshape(-1, _SIDE * _SIDE, 1)
    down, across = (slope * cover for slope in np.gradient(laid, axis=(1, 2)))
    slopes = np.stack(
        [down, down * _FROM_CENTRE[:, None], across, across * _FROM_CENTRE], axis=1
    ).reshape(-1, 4, _SIDE * _SIDE)
    normal = slopes @ slopes.transpose(0, 2, 1)
    damping = 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-6
    step = np.linalg.solve(normal + damping * np.eye(4, dtype=np.float32), slopes @ off)
    return np.clip(step, -1, 1).reshape(-1, 2, 2).astype(np.float32)


def _correlation(one: _Floats, other: _Floats, cover: _Floats | None = None) -> _Floats:
    """Correlation of each pair within the cover, shape (n,); 0 if a film has no structure there."""
    cover = np.ones_like(one) if cover is None else cover
    one, other = _centred(one, cover), _centred(other, cover)
    lengths = np.linalg.norm(one, axis=(1, 2)) * np.linalg.norm(other, axis=(1, 2))
    products = np.einsum("nij,nij->n", one, other)
    return np.asarray(products / np.maximum(lengths, 1e-3), np.float32)


def _centred(films: _Floats, cover: _Floats) -> _Floats:
    """Films minus their mean within the cover, 0 elsewhere; shape (n, side, side)."""
    covered = np.maximum(cover.sum((1, 2), keepdims=True), 1)
    mean = (films * cover).sum((1, 2), keepdims=True) / covered
    return np.asarray((films - mean) * cover, np.float32)
