"""A film as every reader returns it: header, pixel layout, limits, grey values on demand.

That may be somebody's name, and it would go to the terminal or into a log.
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
    """Frozen with the job.

    Attributes:
        pixels: of the film, checked before it is unpacked. A 43 cm detector at 100 um has
            18 million.
        seconds: until a decoder is stopped.
        memory: bytes that a decoder may ask for.
    """

    pixels: int = 100_000_000
    seconds: float = 30.0
    memory: int = 4 * 1024**3


#: Films larger than this many pixels are not decoded, unless the job says otherwise.
MAX_PIXELS: Final = DecodeLimits.pixels


def check_size(rows: int, columns: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a decompression bomb before it is unpacked.

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
    """Drop the warnings and log records of both libraries.

    Called whenever a film is opened or decoded, since whoever runs this may have set filters of
    his own after the import. ``warnings.catch_warnings`` would not do: it is one for all threads.
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
        low_pass: it was halved by a wavelet, see :mod:`screening.imaging.downscale`; else by means.
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
            :func:`~screening.imaging.downscale.halvings`); else None, also for a film that does not
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


_LONGEST: Final = 1024


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """All values of an attribute; none if it is absent, empty or does not parse."""
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # A value that does not parse raises whatever its type stumbles over; no film hangs on one.
    except Exception:  # noqa: BLE001
        return ()
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        # "US or SS" that pydicom could not decide: words, whose sign the caller knows.
        return tuple(int(word) for word in np.frombuffer(value[: len(value) // 2 * 2], "<u2"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return (value,)


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as text without surrounding blanks; empty if there is none.

    No text that matters here is longer than 64 characters (LO, PS3.5 6.2); a damaged one may be.
    """
    found = values(dataset, keyword)
    return "" if not found else str(found[0])[:_LONGEST].strip(" \0\t\r\n")


def code(dataset: Dataset, keyword: str) -> str:
    """A code string (CS) in upper case, as the standard has it."""
    return text(dataset, keyword).upper()


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """All values as numbers, perhaps not finite; none if one of them is no number."""
    try:
        return tuple(float(value) for value in values(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """One whole number.

    Raises:
        UnreadableFilm: if it is absent and has no default, or is no single whole number.
    """
    if default is not None and _is_empty(dataset, keyword):
        return default
    found = numbers(dataset, keyword)
    if len(found) != 1 or not np.isfinite(found[0]) or found[0] != int(found[0]):
        raise UnreadableFilm("not_decodable", f"{keyword} is missing or not one whole number")
    return int(found[0])


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; none if it is absent or no sequence."""
    return tuple(item for item in values(dataset, keyword) if isinstance(item, Dataset))


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    if keyword not in dataset:
        return True
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    # As above: there is something, though it does not parse.
    except Exception:  # noqa: BLE001
        return False
    return value is None or value in ("", [])


# PS3.5 6.2, value representation CS.
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{1,16}")

# PS3.3 C.7.6.1.1.1: up to three letters, the main direction first.
_DIRECTION: Final = re.compile(r"[APRLHF]{1,3}")

# What the gate looks at of a text (LO has 64 characters, PS3.5 6.2) and of a sequence.
_MOST_CHARACTERS: Final = 1024
_MOST_ITEMS: Final = 16

_YEARS_IN: Final = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_header(dataset: Dataset) -> Header:
    """What a data set says about its film; what is absent or makes no sense stays empty."""
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
    """All values of a text, one after the other."""
    return " ".join(str(value) for value in values(dataset, keyword))[:_MOST_CHARACTERS]


def _sex(dataset: Dataset) -> str:
    value = text(dataset, "PatientSex").upper()
    return value if value in ("M", "F", "O") else ""


def _years(dataset: Dataset) -> int | None:
    """PatientAge (``045Y``, ``018M``, ``003W``, ``010D``; PS3.5 6.2) in whole years."""
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
    """At most 64 characters (LO, PS3.5 6.2) without control characters."""
    return "".join(character for character in value if character.isprintable())[:64]


MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE: Final = "PALETTE COLOR"
_ONE_SAMPLE: Final = MONOCHROME | {PALETTE}
_THREE_SAMPLES: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB"}
)


@dataclass(frozen=True)
class ImagePixel:
    """The attributes that turn bytes into stored values, checked against each other.

    Attributes:
        planar: colour by plane rather than by pixel (Planar Configuration 1).
        allocated: bits of a cell; `stored` of them, the highest at `high`, are the value.
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
        """Two neighbours share their chroma (YBR_FULL_422, PS3.3 C.7.6.3.1.2)."""
        return self.photometric.endswith("_422")


def read_image_pixel(dataset: Dataset) -> ImagePixel:
    """The layout of a film's pixels.

    Raises:
        UnreadableFilm: naming the attribute that is missing, contradictory or not supported.
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
        # A high bit without room for the value is a slip of the pen (PS3.5 8.1.1).
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
