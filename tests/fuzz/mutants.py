"""Films that are damaged, or lie: each from a seed and a number, so that it can be made again."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from random import Random
from typing import Final

from fuzz.blunt import BLUNT, splice
from fuzz.coded import recode
from fuzz.corpus import Film, corpus
from fuzz.elements import Dicom
from fuzz.headers import rewrite
from fuzz.hostile import BLOCK, made_up

#: Every so many mutants Hypothesis makes one up.
_EVERY: Final = 10

#: The suffix says what a file is that its bytes say nothing of.
_SUFFIXES: Final = (".dcm", ".png", ".jpg", ".tif", ".bmp", "", ".dat")


@dataclass(frozen=True)
class Mutant:
    """One file.

    Attributes:
        name: of the file: its number, the film it was, and what was done to it.
        codec: of the film it was.
    """

    name: str
    codec: str
    data: bytes = field(repr=False)


class Mutants:
    """All mutants of a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._films = corpus()
        by_codec: dict[str, list[Film]] = {}
        for film in self._films:
            by_codec.setdefault(film.codec, []).append(film)
        # Plain PNG and JPEG are decoded by the runner itself, so they come up twice as often.
        self._by_codec = [*by_codec.values(), by_codec["PNG"], by_codec["JPEG file"]]

    def some(self, numbers: Sequence[int]) -> Iterator[Mutant]:
        """The mutants with these numbers."""
        return map(self.one, numbers)

    def one(self, number: int) -> Mutant:
        """The mutant with this number, whatever others were made before."""
        if number % _EVERY == 0:
            block, at = divmod(number // _EVERY, BLOCK)
            films = made_up(self.seed * 1_000_003 + block)
            return Mutant(f"{number:06}-made-up.dcm", "Hypothesis", films[at % len(films)])
        rng = Random(f"{self.seed}/{number}")
        film = rng.choice(rng.choice(self._by_codec))
        data, done = film.data, []
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
            data, name = self._changed(rng, data or b"\0", film)
            done.append(name)
        original = PurePath(film.name)
        suffix = rng.choice(_SUFFIXES) if rng.random() < 0.05 else original.suffix
        name = f"{number:06}-{original.stem}-{'+'.join(done)}{suffix}"
        return Mutant(name, film.codec, data)

    def _changed(self, rng: Random, data: bytes, film: Film) -> tuple[bytes, str]:
        """The bytes after one change, and its name."""
        if rng.random() < 0.03:
            return splice(rng, data, rng.choice(self._films).data), "splice"
        if rng.random() < 0.35:
            change = rng.choice(BLUNT)
            return change(rng, data), change.__name__
        if not film.name.endswith(".dcm"):
            return recode(rng, data), "recode"
        try:
            parts = Dicom.read(data)
            done = rewrite(rng, parts)
            return parts.write(), done
        # Damaged before, none that this simple reader reads, or nothing is left of it.
        except (IndexError, ValueError, StopIteration, zlib.error):
            change = rng.choice(BLUNT)
            return change(rng, data), change.__name__
