"""Convert the lung network of a bundle, reopen it and compare it with the original."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from exports.convert.lungs import KerasLungs, convert_lungs
from exports.errors import ExportError
from exports.runtimes.load import load_lung_network
from exports.targets import FLIPS, LUNGS, Target
from screening.model.card import LUNG_WEIGHTS, Card, sha256_of
from screening.model.lungs import LungFields, LungNetwork, Mask, clean, lung_input, quality

#: Maximum size of a lung network file, in bytes.
LARGEST: Final = 1_000_000

#: Minimum agreement with the original: Dice over the masks of all compared films.
DICE: Final = 0.999

_BATCH: Final = 8


@dataclass(frozen=True)
class LungParity:
    """A converted lung network compared with the original, on the same films.

    Attributes:
        file: file name in the bundle.
        size: file size in bytes.
        weights: data type of the stored weights, ``float16`` or ``float32``.
        films: number of compared films.
        dice: twice the lung pixels common to both masks, divided by the sum of the lung pixels of
            each, over all films.
        lowest_dice: lowest Dice of a single film.
        flips: number of films whose image quality codes differ.
    """

    file: str
    size: int
    weights: str
    films: int
    dice: float
    lowest_dice: float
    flips: int

    @property
    def breaches(self) -> list[str]:
        """Messages on all violated limits; empty if there are none."""
        found = []
        if self.size > LARGEST:
            found.append(f"it has {self.size:,} bytes, at most {LARGEST:,} are allowed")
        if not self.dice >= DICE:
            found.append(
                f"the Dice coefficient of its masks is {self.dice:.5f}, {DICE:g} is needed"
            )
        allowed = max(1, int(FLIPS * self.films))
        if self.flips > allowed:
            found.append(f"the quality codes of {self.flips} films differ, {allowed} are allowed")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for the model card."""
        return {
            "bytes": self.size,
            "weights": self.weights,
            "films": self.films,
            "dice": round(self.dice, 6),
            "lowest_dice": round(self.lowest_dice, 6),
            "flips": self.flips,
        }


def original_lungs(model: Path, card: Card) -> KerasLungs | None:
    """Load the lung network of a MODEL; None if it has none.

    Raises:
        ExportError: if the file is missing, is not named in the card, or has another hash than the
            card states.
    """
    path = model / LUNG_WEIGHTS
    if card.lungs is None:
        if path.exists():
            raise ExportError(
                f"{path} exists, but the card of {model} has no lung network; delete the file, or train again"
            )
        return None
    if not path.is_file():
        raise ExportError(f"{path} is missing; the card of {model} names it")
    if sha256_of(path) != card.lungs.sha256:
        raise ExportError(f"{path} was changed: it does not have the hash in the card of {model}")
    return KerasLungs(path)


@dataclass(frozen=True, eq=False)
class ExpectedLungs:
    """The original lung network and its masks of n films.

    Attributes:
        original: the lung network in Keras.
        inputs: network inputs, shape (n, 128, 128, 1), from
            :func:`~screening.model.lungs.lung_input`.
        masks: one mask per film, shape (128, 128).
    """

    original: KerasLungs
    inputs: npt.NDArray[np.float32]
    masks: Sequence[Mask]

    @classmethod
    def on(cls, original: KerasLungs, films: Iterable[npt.NDArray[np.float32]]) -> Self:
        """Segment the lungs of `films`, each of shape (rows, columns) with values 0..1."""
        inputs = np.stack([lung_input(film) for film in films])
        return cls(original, inputs, _masks(original, inputs))


def write_lungs(
    folder: Path, expected: ExpectedLungs, targets: Sequence[Target]
) -> list[LungParity]:
    """Write the lung network into a bundle, once for each runtime of `targets`.

    Weights are stored in float16 if the result is within the limits, otherwise in float32.

    Raises:
        ExportError: if a conversion fails, is too large, or gives different masks.
    """
    runtimes = dict.fromkeys(target.runtime for target in targets)
    return [_written(folder, runtime, expected) for runtime in runtimes]


def compare(
    file: str, size: int, weights: str, expected: Sequence[Mask], given: Sequence[Mask]
) -> LungParity:
    """Compare two sets of masks of the same films."""
    pairs = list(zip(expected, given, strict=True))
    codes = [
        tuple(tuple(code for code, _ in quality(LungFields.of(mask))) for mask in pair)
        for pair in pairs
    ]
    return LungParity(
        file=file,
        size=size,
        weights=weights,
        films=len(pairs),
        dice=_dice(np.stack(expected), np.stack(given)),
        lowest_dice=min(_dice(one, other) for one, other in pairs),
        flips=sum(before != after for before, after in codes),
    )


def _written(folder: Path, runtime: str, expected: ExpectedLungs) -> LungParity:
    path = folder / LUNGS[runtime]
    found: list[str] = []
    for weights in ("float16", "float32"):
        convert_lungs(expected.original.network, path, half=weights == "float16")
        given = _masks(load_lung_network(path, runtime), expected.inputs)
        parity = compare(path.name, path.stat().st_size, weights, expected.masks, given)
        if not parity.breaches:
            return parity
        found += [f"with {weights} {breach}" for breach in parity.breaches]
    raise ExportError(f"no bundle was written; {path.name}: {'; '.join(found)}")


def _masks(network: LungNetwork, inputs: npt.NDArray[np.float32]) -> list[Mask]:
    parts = [
        network.find(inputs[start : start + _BATCH]) for start in range(0, len(inputs), _BATCH)
    ]
    return [clean(probability) for probability in np.concatenate(parts)]


def _dice(one: Mask, other: Mask) -> float:
    """Dice coefficient of two masks; 1 if both are empty."""
    pixels = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / pixels if pixels else 1.0
