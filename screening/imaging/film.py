"""A film as every reader returns it: header, size limits, and grey values on demand.

Warnings and log records of pydicom and Pillow are suppressed: they may quote header values, such
as a patient's name, on the terminal or in a log.
"""

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from screening.errors import UnreadableFilm
from screening.results import FilmWarning


@dataclass(frozen=True)
class DecodeLimits:
    """Limits of decoding; fixed when the job is submitted.

    Attributes:
        pixels: pixels of a film, checked before it is decompressed. A 43 cm detector with 100 um
            pixels has 18 million.
        seconds: time after which a decoder is stopped.
        memory: bytes that a decoder may allocate.
    """

    pixels: int = 100_000_000
    seconds: float = 30.0
    memory: int = 4 * 1024**3


#: Films with more pixels are not decoded, unless the job sets another limit.
MAX_PIXELS: Final = DecodeLimits.pixels


def check_size(rows: int, columns: int, max_pixels: int = MAX_PIXELS) -> None:
    """Reject a decompression bomb before it is decompressed.

    Raises:
        UnreadableFilm: if the film has no pixels, or more than `max_pixels`.
    """
    if rows < 1 or columns < 1:
        raise UnreadableFilm("not_decodable", f"{rows} x {columns} pixels")
    if rows * columns > max_pixels:
        raise UnreadableFilm(
            "too_large", f"{rows} x {columns} pixels, {max_pixels:,} pixels are allowed"
        )


_OURS: Final = ("ignore", None, Warning, re.compile(r"(pydicom|PIL)(\.|\Z)"), 0)


def silence() -> None:
    """Suppress the warnings of pydicom and Pillow, which may quote header values.

    Must be called whenever a film is opened or decoded, since the host program may have changed the
    filters after the import. ``warnings.catch_warnings`` does not work here: it affects all
    threads.
    """
    if not warnings.filters or warnings.filters[0] != _OURS:
        warnings.filterwarnings("ignore", module=_OURS[3].pattern)


def _silence_logs() -> None:
    for name in ("pydicom", "PIL"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


_silence_logs()
silence()


#: Shape (rows, columns), float32, 0 = black to 1 = white as displayed to a reader.
Grey = npt.NDArray[np.float32]

#: Value of :attr:`Decoded.decoding` for a film decoded at full size.
FULL: Final = "full"

# Standard deviation of the grey values below which a film is nearly blank. Such a film is decoded
# in full, because only all of its pixels show whether it has any content.
_EVEN: Final = 0.03


@dataclass(frozen=True)
class Code:
    """An item of a code sequence (PS3.3 8.8): code value, coding scheme and meaning."""

    value: str = field(default="", repr=False)
    scheme: str = field(default="", repr=False)
    meaning: str = field(default="", repr=False)


@dataclass(frozen=True)
class Header:
    """The metadata of a film, named as in DICOM PS3.6; fields that the file lacks are empty.

    `modality`, `body_part_examined` and `view_position` are code strings (PS3.5 6.2: upper-case
    letters, digits, space and underscore, at most 16); `patient_sex` is M, F or O.

    `burned_in_annotation` is YES if the pixels hold text that identifies people (PS3.3 C.7.6.1).

    `patient_id`, `study_uid` and `instance_uid` identify people: they are only ever written
    out as keyed hashes (:mod:`screening.privacy`). Codes and free text are for the header gate,
    which searches them for its keywords; they may hold names and are never written out at all.
    `body_part_text` is a Body Part Examined that is not a valid code string.
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
        """Return a copy without codes and free text, which may hold names; used after the gate."""
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
        grey: shape (rows, columns), or smaller if the film was reduced.
        rows: rows of the film as stored.
        columns: columns of the film as stored.
        decoding: :data:`FULL`, or how the film was reduced and by which factor: ``jpeg/2``,
            ``jpeg2000/4``, ``mean/4``.
        power: a value of `grey` stands for 2**power rows and columns of the film.
        low_pass: True if the film was halved by a wavelet, see :mod:`screening.imaging.downscale`;
            False if by block means.
    """

    grey: Grey
    warnings: tuple[FilmWarning, ...]
    rows: int
    columns: int
    decoding: str = FULL
    power: int = 0
    low_pass: bool = False

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of the grey values, estimated from every other row and column."""
        return float(np.std(self.grey[::2, ::2]))


@dataclass(frozen=True)
class Film:
    """An opened file.

    Attributes:
        header: metadata of the file.
        decode: returns the grey values and warnings; raises
            :class:`~screening.errors.UnreadableFilm`. Decoding is expensive, so a film rejected by
            its header is never decoded.
        reduce: returns the film at a fraction of its size, if that is cheaper and equivalent (see
            :func:`~screening.imaging.downscale.halvings`); otherwise None, also for a film that
            cannot be decoded.
    """

    header: Header
    decode: Callable[[], tuple[Grey, tuple[FilmWarning, ...]]]
    reduce: Callable[[int], Decoded | None] = lambda _side: None

    def decoded(self, side: int | None = None) -> Decoded:
        """Decode the film, at a reduced size if possible.

        Args:
            side: rows and columns beyond which a larger size has no benefit; None for the full
                size.

        Raises:
            UnreadableFilm: if the film cannot be decoded.
        """
        reduced = None if side is None else self.reduce(side)
        if reduced is not None and reduced.deviation >= _EVEN:
            return reduced
        grey, warnings = self.decode()
        return Decoded(grey, warnings, *grey.shape)
