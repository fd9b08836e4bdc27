"""What every reader hands on: a header, and the grey values when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

#: Shape (rows, columns), float32, 0 = black to 1 = white as a reader would see the film.
Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Header:
    """What a file says about its film, named as in DICOM PS3.6; empty where it says nothing.

    `patient_id`, `study_uid` and `instance_uid` identify people: they are only ever written
    out as keyed hashes (:mod:`screening.privacy`).
    """

    modality: str = ""
    body_part_examined: str = ""
    view_position: str = ""
    patient_sex: str = ""
    patient_age: int | None = None
    manufacturer: str = ""
    patient_id: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)
    instance_uid: str = field(default="", repr=False)


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
