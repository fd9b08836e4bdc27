"""Generate damaged and hostile films, reproducible from a seed and a number."""

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

#: Hypothesis generates one in this many mutants.
_EVERY: Final = 10

#: Suffixes, which decide on the format of files that their bytes do not identify.
_SUFFIXES: Final = (".dcm", ".png", ".jpg", ".tif", ".bmp", "", ".dat")


@dataclass(frozen=True)
class Mutant:
    """One mutated file.

    Attributes:
        name: file name, made of its number, the original film and the mutations.
        codec: codec of the original film.
        data: content of the file.
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
        # Plain PNG and JPEG are decoded by the runner itself, so they are twice as frequent.
        self._by_codec = [*by_codec.values(), by_codec["PNG"], by_codec["JPEG file"]]

    def some(self, numbers: Sequence[int]) -> Iterator[Mutant]:
        """Generate the mutants with these numbers."""
        return map(self.one, numbers)

    def one(self, number: int) -> Mutant:
        """Generate the mutant with this number, independent of any others."""
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
        """Apply one mutation; return the bytes and the name of the mutation."""
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
        # Already damaged, not supported by this simple reader, or empty.
        except (IndexError, ValueError, StopIteration, zlib.error):
            change = rng.choice(BLUNT)
            return change(rng, data), change.__name__
