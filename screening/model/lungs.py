"""Lung fields of a film: input and output of the lung network, measurements, and image quality.

Masks are cleaned by their connected parts, with NumPy alone. Everything is measured on the film
as the models see it: resized to a square of 128 x 128 pixels, whatever its aspect ratio.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from screening.imaging.film import Grey

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Parts:
    """The connected parts of a mask, where pixels that share a side are connected.

    Attributes:
        shape: rows and columns of the mask.
        sizes: pixels of each part, shape (parts,), the largest first.
        starts: starts of the runs of pixels, shape (runs,), in a flat array whose rows have one
            column more than the mask.
        ends: ends of the runs, shape (runs,).
        part_of: the part of each run, shape (runs,).
    """

    shape: tuple[int, int]
    sizes: Numbers
    starts: Numbers
    ends: Numbers
    part_of: Numbers

    def drawn(self, kept: Mask) -> Mask:
        """Return one mask of the parts that are `kept`, shape (parts,)."""
        rows, columns = self.shape
        runs = kept[self.part_of]
        steps = np.zeros(rows * (columns + 1), np.int8)
        steps[self.starts[runs]] = 1
        steps[self.ends[runs]] = -1
        return np.cumsum(steps, dtype=np.int8).reshape(rows, columns + 1)[:, :-1] > 0

    def each(self) -> list[Mask]:
        """Return one mask for each part, the largest first."""
        return [self.drawn(kept) for kept in np.eye(len(self.sizes), dtype=np.bool_)]


def parts_of(mask: Mask) -> Parts:
    """Find the connected parts of `mask`, shape (rows, columns).

    Pixels in the same row are grouped into runs first, since there are few runs.
    """
    starts, ends = _runs(mask)
    width = mask.shape[1] + 1
    # A run touches those runs of the next row that end after its start and start before its end.
    first = np.searchsorted(ends, starts + width, "right")
    last = np.searchsorted(starts, ends + width, "left")
    part_of = np.array(_part_numbers(first.tolist(), last.tolist()), np.intp)
    sizes = np.bincount(part_of, weights=ends - starts).astype(np.intp)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    rows, columns = mask.shape
    return Parts((rows, columns), sizes[order], starts, ends, rank[part_of])


def opened(mask: Mask) -> Mask:
    """Return the mask without structures thinner than three pixels.

    Structures that reach an edge are assumed to continue beyond it.
    """
    return _grown(~_grown(~mask))


def filled(mask: Mask) -> Mask:
    """Return the mask without holes; a hole touches no edge."""
    rows, columns = mask.shape
    around = np.ones((rows + 2, columns + 2), np.bool_)
    around[1:-1, 1:-1] = ~mask
    outside = parts_of(around)
    kept = np.zeros(len(outside.sizes), np.bool_)
    kept[outside.part_of[0]] = True
    return ~outside.drawn(kept)[1:-1, 1:-1]


def _runs(mask: Mask) -> tuple[Numbers, Numbers]:
    """Return where runs start and end; see :class:`Parts`."""
    rows, columns = mask.shape
    padded = np.zeros(rows * (columns + 1) + 1, np.int8)
    padded[1:].reshape(rows, columns + 1)[:, :-1] = mask
    steps = np.diff(padded)
    return np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)


def _part_numbers(first: list[int], last: list[int]) -> list[int]:
    """Return the part number of each run; run k touches the runs `first[k]` to `last[k]` - 1."""
    found = [-1] * len(first)
    # Union-find: a new branch may turn out to belong to another one, which is then its parent.
    parent: list[int] = []
    for run, (low, high) in enumerate(zip(first, last, strict=True)):
        branch = found[run]
        if branch < 0:
            branch = found[run] = len(parent)
            parent.append(branch)
        for other in range(low, high):
            if found[other] < 0:
                found[other] = branch
            elif found[other] != branch:
                _join(parent, branch, found[other])
    roots = [_root(parent, branch) for branch in range(len(parent))]
    numbers = {root: number for number, root in enumerate(dict.fromkeys(roots))}
    compact = [numbers[root] for root in roots]
    return [compact[branch] for branch in found]


def _join(parent: list[int], one: int, other: int) -> None:
    one, other = _root(parent, one), _root(parent, other)
    parent[max(one, other)] = min(one, other)


def _root(parent: list[int], branch: int) -> int:
    while parent[branch] != branch:
        branch = parent[branch]
    return branch


def _grown(mask: Mask) -> Mask:
    """Return the mask with the eight neighbours of each of its pixels."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide


Floats = npt.NDArray[np.float32]

#: Rows and columns of the lung network's input and output.
SIDE: Final = 128

#: Lower limit of the standard deviation that a film is divided by.
_LEAST_SPREAD: Final = 1e-3

#: Probability from which a pixel is lung.
THRESHOLD: Final = 0.5

#: Pixels of the smallest part that may be a lung: 0.5 % of the film. The smallest of 7,486 manually
#: segmented lungs covers 6.9 %.
LEAST_PART: Final = 82

#: A single part that is wider than this share of the film is both lungs. The widest manually
#: segmented single lung covers 0.51 of the width, the narrowest pair 0.55.
_WIDEST_LUNG: Final = 0.53

# Limits of image quality, from manually segmented lung fields of 3,743 films of children (V7 Labs),
# all of them good enough to be read. Each code flags less than one in a hundred of these films, and
# of 1,243 films of adults that radiologists labelled normal (RSNA 2018), with lung fields from a
# trained network.

#: Share of the film below which no lungs were found. The smallest pair covers 0.14.
NOT_FOUND: Final = 0.05

#: Share of the film below which the lungs are too small.
SMALL: Final = 0.18

#: Share of an edge that is lung, above which the lungs are cut off there. Films of children are
#: often framed so closely that the apices reach the upper edge; the lungs hardly ever reach the
#: sides.
CUT_OFF: Final = {"top": 0.5, "bottom": 0.25, "left": 0.05, "right": 0.05}

#: Degrees by which the long axis of both lungs together may lean to either side.
TILTED: Final = 12.0

#: Area of the smaller lung, as a share of the larger one, below which the two are too different.
ASYMMETRIC: Final = 0.65

#: Codes of image quality, the most serious first. Each can be a warning or a refusal.
QUALITY: Final = (
    "lungs_not_found",
    "lungs_cut_off",
    "lungs_small",
    "lungs_tilted",
    "lungs_asymmetric",
)

#: Warning for a film classified as pneumonia on evidence from outside the lungs.
LOW_EVIDENCE: Final = "low_lung_evidence"

#: All codes that come from the lung fields.
CODES: Final = (*QUALITY, LOW_EVIDENCE)


class LungNetwork(Protocol):
    """A loaded lung network."""

    def find(self, inputs: Floats) -> Floats:
        """Return the probability that each pixel is lung; thread-safe.

        Args:
            inputs: films from :func:`lung_input`, shape (n, 128, 128, 1), n >= 1.

        Returns:
            Shape (n, 128, 128), float32, 0..1.
        """


@dataclass(frozen=True)
class LungCard:
    """The lung network's section of a model card.

    Attributes:
        sha256: hash of the Keras file that it was converted from, 64 hex digits.
        low_evidence: a film classified as pneumonia gets a warning if its `lung_evidence` is below
            this, 0..1.
        figures: performance, such as Dice on films that it was not fitted on; for readers.
    """

    sha256: str = ""
    low_evidence: float = 0.5
    figures: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = self.low_evidence
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
            raise ValueError(f"low_evidence of the lungs is {number!r}, expected 0 to 1")
        if not isinstance(self.sha256, str) or not isinstance(self.figures, dict):
            raise TypeError("the lungs of a card must have a text sha256 and named figures")


def lung_input(grey: Grey) -> Floats:
    """Return the lung network's input: the film resized, with mean 0 and standard deviation 1.

    Args:
        grey: a film, shape (rows, columns), 0..1.

    Returns:
        Shape (128, 128, 1), float32.
    """
    image = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    spread = max(float(small.std()), _LEAST_SPREAD)
    return np.asarray((small - small.mean()) / spread, np.float32)[..., np.newaxis]


def clean(probability: Floats) -> Mask:
    """Return the lung fields in the output of the lung network.

    Removes speckles and thin bridges, then all but the two largest parts, then fills the holes.

    Args:
        probability: of one film, shape (128, 128), 0..1; NaN counts as no lung.

    Returns:
        Shape (128, 128), bool.
    """
    parts = parts_of(opened(probability >= THRESHOLD))
    kept = (np.arange(len(parts.sizes)) < 2) & (parts.sizes >= LEAST_PART)
    return filled(parts.drawn(kept))


@dataclass(frozen=True, eq=False)
class LungFields:
    """Measurements of the lungs of one film.

    Attributes:
        mask: shape (128, 128), bool.
        left: share of the film that the lung on the left of the image covers; 0 if it was not
            found. In a usual frontal film this is the patient's right lung.
        right: the same for the lung on the right of the image.
        edges: share of each edge of the film that is lung: top, bottom, left, right.
        tilt: degrees by which the long axis of both lungs leans, -90..90, positive anticlockwise;
            None unless both lungs were found.
    """

    mask: Mask
    left: float
    right: float
    edges: dict[str, float]
    tilt: float | None

    @property
    def area(self) -> float:
        """Share of the film that is lung, 0..1."""
        return self.left + self.right

    @property
    def symmetry(self) -> float:
        """Area of the smaller lung as a share of the larger one, 0..1; 0 if one was not found."""
        return min(self.left, self.right) / max(self.left, self.right, 1 / self.mask.size)

    @classmethod
    def of(cls, mask: Mask) -> Self:
        """Measure a mask from :func:`clean`."""
        left, right = _sides(mask)
        edges = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
        return cls(
            mask=mask,
            left=float(left.mean()),
            right=float(right.mean()),
            edges={name: float(edge.mean()) for name, edge in edges.items()},
            tilt=_tilt(left, right) if left.any() and right.any() else None,
        )


def quality(lungs: LungFields) -> tuple[tuple[str, str], ...]:
    """Return quality problems of a film: codes of :data:`QUALITY` with details; empty if none."""
    return tuple(_flaws(lungs))


def _flaws(lungs: LungFields) -> Iterator[tuple[str, str]]:
    if lungs.area < NOT_FOUND:
        yield "lungs_not_found", f"{lungs.area:.1%} of the film is lung"
        return
    cut = [name for name, share in lungs.edges.items() if share > CUT_OFF[name]]
    if cut:
        yield "lungs_cut_off", f"at the {' and '.join(cut)}"
    if lungs.area < SMALL:
        yield "lungs_small", f"{lungs.area:.1%} of the film, at least {SMALL:.0%} is expected"
    if lungs.tilt is not None and abs(lungs.tilt) > TILTED:
        yield "lungs_tilted", f"by {lungs.tilt:.0f} degrees, at most {TILTED:g} is expected"
    if lungs.symmetry < ASYMMETRIC:
        detail = f"one has {lungs.symmetry:.0%} of the other's area"
        yield "lungs_asymmetric", f"{detail}, at least {ASYMMETRIC:.0%} is expected"


def coverage(mask: Mask | Floats, rows: int, columns: int) -> Floats:
    """Return the share of each cell of a map that is lung, for a map that spans the whole film.

    Args:
        mask: shape (r, c), bool, or the share of each pixel that is lung, 0..1.

    Returns:
        Shape (rows, columns), float32, 0..1; exact also if a cell ends within a pixel.
    """
    down, across = _overlaps(mask.shape[0], rows), _overlaps(mask.shape[1], columns)
    return np.asarray(down @ mask.astype(np.float32) @ across.T, np.float32)


def lung_evidence(evidence: Floats, mask: Mask) -> float | None:
    """Return the share of the evidence for pneumonia that lies inside the lungs.

    Each cell is weighted by its share of lung. Evidence against pneumonia does not count.

    Args:
        evidence: logits of each cell, before any calibration and any weighting by the lungs, shape
            (rows, columns).
        mask: shape (128, 128), bool.

    Returns:
        0..1, four decimals; None if no cell has evidence for pneumonia, or if a cell is NaN.
    """
    positive = np.maximum(evidence.astype(np.float64), 0)
    total = float(positive.sum())
    if not 0 < total < math.inf:
        return None
    inside = float((positive * coverage(mask, *evidence.shape)).sum())
    return round(min(inside / total, 1.0), 4)


def is_low(share: float | None, card: LungCard, *, called: bool) -> bool:
    """Return whether a film gets the warning `low_lung_evidence`.

    Args:
        share: its lung evidence; None if it has none.
        called: whether the film is classified as pneumonia; only such films get this warning.
    """
    return called and share is not None and share < card.low_evidence


def _sides(mask: Mask) -> tuple[Mask, Mask]:
    """Return the lung on the left of the image and the one on the right; one may be empty."""
    lungs = parts_of(mask).each()
    if len(lungs) == 2:
        first, second = lungs
        return (first, second) if _middle(first) <= _middle(second) else (second, first)
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return mask, mask
    low, high = int(columns[0]), int(columns[-1]) + 1
    left, right = mask.copy(), mask.copy()
    if high - low > _WIDEST_LUNG * mask.shape[1]:
        third = (high - low) // 3
        split = low + third + int(mask.sum(axis=0)[low + third : high - third].argmin())
    else:
        split = 0 if _middle(mask) > mask.shape[1] / 2 else mask.shape[1]
    left[:, split:], right[:, :split] = False, False
    return left, right


def _middle(mask: Mask) -> float:
    """Return the mean column of the pixels of a non-empty mask."""
    counts = mask.sum(axis=0)
    return float(counts @ np.arange(len(counts)) / counts.sum())


def _tilt(left: Mask, right: Mask) -> float:
    """Return the degrees by which the long axis of two lungs leans.

    Each lung leans towards the middle at its apex, and the lungs differ in length. Therefore the
    second moments of each are taken about its own centre, and added as shares.
    """
    across = down = both = 0.0
    for lung in (left, right):
        y, x = np.nonzero(lung)
        across, down = across + float(x.var()), down + float(y.var())
        both += float((x * y).mean() - x.mean() * y.mean())
    return math.degrees(math.atan2(2 * both, down - across) / 2)


@lru_cache(maxsize=32)
def _overlaps(pixels: int, cells: int) -> npt.NDArray[np.float32]:
    """Return the share of each cell that each pixel covers, (cells, pixels); rows add up to 1."""
    edges = np.arange(cells + 1) * (pixels / cells)
    at = np.arange(pixels)
    low = np.maximum(edges[:-1, np.newaxis], at)
    high = np.minimum(edges[1:, np.newaxis], at + 1)
    shares = np.asarray(np.maximum(high - low, 0) * (cells / pixels), np.float32)
    shares.flags.writeable = False
    return shares
