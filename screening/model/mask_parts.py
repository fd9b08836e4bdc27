"""Connected parts of a mask, and what cleans one, with NumPy alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Parts:
    """The connected parts of a mask; pixels that share a side belong together.

    Attributes:
        shape: rows and columns of the mask.
        sizes: pixels of each part, shape (parts,), the largest first.
        starts: where the runs of pixels start, shape (runs,), in a flat array whose rows have one
            column more than the mask.
        ends: where they end, shape (runs,).
        part_of: the part of each run, shape (runs,).
    """

    shape: tuple[int, int]
    sizes: Numbers
    starts: Numbers
    ends: Numbers
    part_of: Numbers

    def drawn(self, kept: Mask) -> Mask:
        """The parts that are `kept`, shape (parts,), as one mask."""
        rows, columns = self.shape
        runs = kept[self.part_of]
        steps = np.zeros(rows * (columns + 1), np.int8)
        steps[self.starts[runs]] = 1
        steps[self.ends[runs]] = -1
        return np.cumsum(steps, dtype=np.int8).reshape(rows, columns + 1)[:, :-1] > 0

    def each(self) -> list[Mask]:
        """One mask for each part, the largest first."""
        return [self.drawn(kept) for kept in np.eye(len(self.sizes), dtype=np.bool_)]


def parts_of(mask: Mask) -> Parts:
    """The connected parts of `mask`, shape (rows, columns).

    Runs of pixels in the same row are taken together first: there are few of them.
    """
    starts, ends = _runs(mask)
    width = mask.shape[1] + 1
    # Of the next row, a run touches the runs that end after its start and start before its end.
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
    """The mask without what is thinner than three pixels.

    What reaches an edge is taken to go on beyond it.
    """
    return _grown(~_grown(~mask))


def filled(mask: Mask) -> Mask:
    """The mask without its holes; a hole touches no edge."""
    rows, columns = mask.shape
    around = np.ones((rows + 2, columns + 2), np.bool_)
    around[1:-1, 1:-1] = ~mask
    outside = parts_of(around)
    kept = np.zeros(len(outside.sizes), np.bool_)
    kept[outside.part_of[0]] = True
    return ~outside.drawn(kept)[1:-1, 1:-1]


def _runs(mask: Mask) -> tuple[Numbers, Numbers]:
    """Where runs start and end; see :class:`Parts`."""
    rows, columns = mask.shape
    padded = np.zeros(rows * (columns + 1) + 1, np.int8)
    padded[1:].reshape(rows, columns + 1)[:, :-1] = mask
    steps = np.diff(padded)
    return np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)


def _part_numbers(first: list[int], last: list[int]) -> list[int]:
    """A number for the part of each run; run k touches the runs `first[k]` to `last[k]` - 1."""
    found = [-1] * len(first)
    # A new branch may prove to belong to another: then it stands for that.
    stands_for: list[int] = []
    for run, (low, high) in enumerate(zip(first, last, strict=True)):
        branch = found[run]
        if branch < 0:
            branch = found[run] = len(stands_for)
            stands_for.append(branch)
        for other in range(low, high):
            if found[other] < 0:
                found[other] = branch
            elif found[other] != branch:
                _join(stands_for, branch, found[other])
    roots = [_root(stands_for, branch) for branch in range(len(stands_for))]
    numbers = {root: number for number, root in enumerate(dict.fromkeys(roots))}
    compact = [numbers[root] for root in roots]
    return [compact[branch] for branch in found]


def _join(stands_for: list[int], one: int, other: int) -> None:
    one, other = _root(stands_for, one), _root(stands_for, other)
    stands_for[max(one, other)] = min(one, other)


def _root(stands_for: list[int], branch: int) -> int:
    while stands_for[branch] != branch:
        branch = stands_for[branch]
    return branch


def _grown(mask: Mask) -> Mask:
    """The mask with the eight neighbours of each of its pixels."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide
