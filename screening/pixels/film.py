"""What every reader hands on: a header, and the grey values when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt

#: Shape (rows, columns), float32, 0 = black to 1 = white as a reader would see the film.
Grey = npt.NDArray[np.float32]

#: How a film is decoded where nothing is left out.
FULL: Final = "full"

# Standard deviation of the grey values below which a film has next to nothing on it: whether it
# has anything is for all of its pixels to say.
_EVEN: Final = 0.03


@dataclass(frozen=True)
class Code:
    """An item of a code sequence (PS3.3 8.8): what was coded, by which scheme, in words."""

    value: str = field(default="", repr=False)
    scheme: str = field(default="", repr=False)
    meaning: str = field(default="", repr=False)


@dataclass(frozen=True)
class Header:
    """What a file says about its film, named as in DICOM PS3.6; empty where it says nothing.

    `modality`, `body_part_examined` and `view_position` are code strings (PS3.5 6.2: upper-case
    letters, digits, space and underscore, at most 16); `patient_sex` is M, F or O.

    `burned_in_annotation` is YES if the pixels hold text that identifies people (PS3.3 C.7.6.1).

    `patient_id`, `study_uid` and `instance_uid` identify people: they are only ever written
    out as keyed hashes (:mod:`screening.privacy`). Codes and free text are for the gate, which
    looks for words of its own in them; they may hold names and are never written out at all.
    `body_part_text` is a Body Part Examined that is no code string.
    """

    modality: str = ""
    body_part_examined: str = ""
    view_position: str = ""
    patient_sex: str = ""
    patient_age: int | None = None
    manufacturer: str = ""
    patient_orientation: tuple[str, ...] = ()
    burned_in_annotation: str = ""
    patient_id: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)
    instance_uid: str = field(default="", repr=False)
    body_part_text: str = field(default="", repr=False)
    study_description: str = field(default="", repr=False)
    series_description: str = field(default="", repr=False)
    protocol_name: str = field(default="", repr=False)
    requested_procedure_description: str = field(default="", repr=False)
    performed_procedure_step_description: str = field(default="", repr=False)
    procedure_codes: tuple[Code, ...] = field(default=(), repr=False)
    anatomic_regions: tuple[Code, ...] = field(default=(), repr=False)
    views: tuple[Code, ...] = field(default=(), repr=False)

    def without_text(self) -> Self:
        """A copy for everything behind the gate: codes and free text, which may hold names, gone."""
        return replace(
            self,
            body_part_text="",
            study_description="",
            series_description="",
            protocol_name="",
            requested_procedure_description="",
            performed_procedure_step_description="",
            procedure_codes=(),
            anatomic_regions=(),
            views=(),
        )


@dataclass(frozen=True, eq=False)
class Decoded:
    """The grey values of a film.

    Attributes:
        grey: shape (rows, columns), or less if it was reduced.
        rows: of the film as it is stored.
        columns: likewise.
        decoding: :data:`FULL`; or what reduced it and by how much: ``jpeg/2``, ``jpeg2000/4``,
            ``mean/4``.
        power: a value of `grey` stands for 2**power rows and columns of the film.
        low_pass: it was halved by a wavelet, see :mod:`screening.pixels.jpeg_2000`; else by means.
    """

    grey: Grey
    warnings: tuple[str, ...]
    rows: int
    columns: int
    decoding: str = FULL
    power: int = 0
    low_pass: bool = False

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of the grey values: of every other row and column, which is as good."""
        return float(np.std(self.grey[::2, ::2]))


@dataclass(frozen=True)
class Film:
    """An opened file.

    Attributes:
        header: what the file says about itself.
        decode: gives the grey values and warnings; raises
            :class:`~screening.errors.UnreadableFilm`. Costly, so a film refused by its
            header is never decoded.
        reduce: the same at a fraction of its size, where that is cheaper and comes to the same (see
            :func:`~screening.pixels.reduction.halvings`); else None, also for a film that does not
            decode.
    """

    header: Header
    decode: Callable[[], tuple[Grey, tuple[str, ...]]]
    reduce: Callable[[int], Decoded | None] = lambda _side: None

    def decoded(self, side: int | None = None) -> Decoded:
        """The film's grey values.

        Args:
            side: rows and columns beyond which nothing is gained; None for all there are.

        Raises:
            UnreadableFilm: if it does not decode.
        """
        reduced = None if side is None else self.reduce(side)
        if reduced is not None and reduced.deviation >= _EVEN:
            return reduced
        grey, warnings = self.decode()
        return Decoded(grey, warnings, *grey.shape)
