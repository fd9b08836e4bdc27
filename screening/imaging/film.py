"""A film as every reader returns it: header, pixel layout, size limits, and grey values on demand.

Warnings and log records of pydicom and Pillow are suppressed: they may quote header values, such
as a patient's name, on the terminal or in a log.
"""

import logging
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from screening.errors import UnreadableFilm


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
    warnings: tuple[str, ...]
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
    decode: Callable[[], tuple[Grey, tuple[str, ...]]]
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


_LONGEST: Final = 1024


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """Return all values of an attribute; empty if it is absent, empty or cannot be parsed."""
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # Invalid values raise arbitrary exceptions; a single attribute must not fail the film.
    except Exception:  # noqa: BLE001
        return ()
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        # pydicom could not resolve "US or SS": return words; the caller knows their sign.
        return tuple(int(word) for word in np.frombuffer(value[: len(value) // 2 * 2], "<u2"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return (value,)


def text(dataset: Dataset, keyword: str) -> str:
    """Return the first value as text without surrounding whitespace; empty if there is none.

    Valid text used here has at most 64 characters (LO, PS3.5 6.2), but damaged text may be longer.
    """
    found = values(dataset, keyword)
    return "" if not found else str(found[0])[:_LONGEST].strip(" \0\t\r\n")


def code(dataset: Dataset, keyword: str) -> str:
    """Return a code string (CS) in upper case, as the standard requires."""
    return text(dataset, keyword).upper()


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return all values as numbers, possibly not finite; empty if any value is not a number."""
    try:
        return tuple(float(value) for value in values(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return a single integer.

    Raises:
        UnreadableFilm: if it is absent and has no default, or is not a single integer.
    """
    if default is not None and _is_empty(dataset, keyword):
        return default
    found = numbers(dataset, keyword)
    if len(found) != 1 or not np.isfinite(found[0]) or found[0] != int(found[0]):
        raise UnreadableFilm("not_decodable", f"{keyword} is missing or not one whole number")
    return int(found[0])


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; empty if it is absent or not a sequence."""
    return tuple(item for item in values(dataset, keyword) if isinstance(item, Dataset))


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    if keyword not in dataset:
        return True
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # As above: the attribute has a value, although it cannot be parsed.
    except Exception:  # noqa: BLE001
        return False
    return value is None or value in ("", [])


# PS3.5 6.2, value representation CS.
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{1,16}")

# PS3.3 C.7.6.1.1.1: up to three letters, the main direction first.
_DIRECTION: Final = re.compile(r"[APRLHF]{1,3}")

# Limits for the header gate: characters of a text (LO has 64, PS3.5 6.2) and items of a sequence.
_MOST_CHARACTERS: Final = 1024
_MOST_ITEMS: Final = 16

_YEARS_IN: Final = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_header(dataset: Dataset) -> Header:
    """Read the metadata of a data set; absent or invalid attributes stay empty."""
    part = text(dataset, "BodyPartExamined").upper()
    return Header(
        modality=_code_string(dataset, "Modality"),
        body_part_examined=_code_string(dataset, "BodyPartExamined"),
        view_position=_code_string(dataset, "ViewPosition"),
        patient_sex=_sex(dataset),
        patient_age=_years(dataset),
        manufacturer=_printable(text(dataset, "Manufacturer")),
        patient_orientation=_orientation(dataset),
        burned_in_annotation=_code_string(dataset, "BurnedInAnnotation"),
        patient_id=text(dataset, "PatientID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        instance_uid=text(dataset, "SOPInstanceUID"),
        body_part_text="" if _CODE_STRING.fullmatch(part) else part[:_MOST_CHARACTERS],
        study_description=_free_text(dataset, "StudyDescription"),
        series_description=_free_text(dataset, "SeriesDescription"),
        protocol_name=_free_text(dataset, "ProtocolName"),
        requested_procedure_description=_free_text(dataset, "RequestedProcedureDescription"),
        performed_procedure_step_description=_free_text(
            dataset, "PerformedProcedureStepDescription"
        ),
        procedure_codes=_codes(dataset, "ProcedureCodeSequence"),
        anatomic_regions=_codes(dataset, "AnatomicRegionSequence"),
        views=_codes(dataset, "ViewCodeSequence"),
    )


def _code_string(dataset: Dataset, keyword: str) -> str:
    value = text(dataset, keyword).upper()
    return value if _CODE_STRING.fullmatch(value) else ""


def _free_text(dataset: Dataset, keyword: str) -> str:
    """Return all values of a text attribute, joined by spaces."""
    return " ".join(str(value) for value in values(dataset, keyword))[:_MOST_CHARACTERS]


def _sex(dataset: Dataset) -> str:
    value = text(dataset, "PatientSex").upper()
    return value if value in ("M", "F", "O") else ""


def _years(dataset: Dataset) -> int | None:
    """Return PatientAge (``045Y``, ``018M``, ``003W``, ``010D``; PS3.5 6.2) in whole years."""
    age = text(dataset, "PatientAge")
    if len(age) != 4 or not age[:3].isdecimal() or age[3] not in _YEARS_IN:
        return None
    return int(int(age[:3]) * _YEARS_IN[age[3]] + 1e-9)


def _orientation(dataset: Dataset) -> tuple[str, ...]:
    directions = tuple(str(value).strip() for value in values(dataset, "PatientOrientation"))
    sane = all(_DIRECTION.fullmatch(direction) for direction in directions)
    return directions if len(directions) == 2 and sane else ()


def _codes(dataset: Dataset, keyword: str) -> tuple[Code, ...]:
    parts = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    return tuple(
        Code(*(text(item, part)[:_MOST_CHARACTERS] for part in parts))
        for item in items(dataset, keyword)[:_MOST_ITEMS]
    )


def _printable(value: str) -> str:
    """Return at most 64 characters (LO, PS3.5 6.2) without control characters."""
    return "".join(character for character in value if character.isprintable())[:64]


MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE: Final = "PALETTE COLOR"
_ONE_SAMPLE: Final = MONOCHROME | {PALETTE}
_THREE_SAMPLES: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB"}
)


@dataclass(frozen=True)
class ImagePixel:
    """The attributes that describe how stored values are packed, checked for consistency.

    Attributes:
        planar: colour by plane instead of by pixel (Planar Configuration 1).
        allocated: bits of a cell; `stored` of them, the highest at `high`, hold the value.
        signed: two's complement (Pixel Representation 1).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: bool
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def subsampled(self) -> bool:
        """True if two neighbouring pixels share their chroma (YBR_FULL_422, PS3.3 C.7.6.3.1.2)."""
        return self.photometric.endswith("_422")


def read_image_pixel(dataset: Dataset) -> ImagePixel:
    """Read the pixel layout of a film.

    Raises:
        UnreadableFilm: if an attribute is missing, contradictory or not supported; the message
            names it.
    """
    allocated = whole(dataset, "BitsAllocated")
    stored = whole(dataset, "BitsStored", allocated)
    if allocated not in (1, 8, 16, 32):
        raise UnreadableFilm("unsupported", f"BitsAllocated {allocated}")
    if not 1 <= stored <= allocated:
        raise UnreadableFilm(
            "not_decodable", f"BitsStored {stored} does not fit BitsAllocated {allocated}"
        )
    samples = whole(dataset, "SamplesPerPixel", 1)
    photometric = _photometric(dataset, samples)
    high = whole(dataset, "HighBit", stored - 1)
    return ImagePixel(
        rows=whole(dataset, "Rows"),
        columns=whole(dataset, "Columns"),
        frames=max(1, whole(dataset, "NumberOfFrames", 1)),
        samples=samples,
        photometric=photometric,
        planar=samples > 1 and whole(dataset, "PlanarConfiguration", 0) == 1,
        allocated=allocated,
        stored=stored,
        # A high bit without room for the value is a writer's mistake (PS3.5 8.1.1).
        high=high if stored - 1 <= high < allocated else stored - 1,
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
    )


def _photometric(dataset: Dataset, samples: int) -> str:
    photometric = code(dataset, "PhotometricInterpretation")
    if not photometric:
        raise UnreadableFilm("not_decodable", "PhotometricInterpretation is missing")
    if samples not in (1, 3):
        raise UnreadableFilm("unsupported", f"SamplesPerPixel {samples}")
    if photometric not in _ONE_SAMPLE | _THREE_SAMPLES:
        raise UnreadableFilm("unsupported", "an unknown PhotometricInterpretation")
    if (samples == 1) != (photometric in _ONE_SAMPLE):
        raise UnreadableFilm("not_decodable", f"{photometric} with SamplesPerPixel {samples}")
    return photometric
