"""What every reader hands on: a header, and the grey values when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

#: Shape (rows, columns), float32, 0 = black to 1 = white as a reader would see the film.
Grey = npt.NDArray[np.float32]


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


@dataclass(frozen=True)
class Film:
    """An opened file.

    Attributes:
        header: what the file says about itself.
        decode: gives the grey values and warnings; raises
            :class:`~screening.errors.UnreadableFilm`. Costly, so a film refused by its
            header is never decoded.
    """

    header: Header
    decode: Callable[[], tuple[Grey, tuple[str, ...]]]
