"""DICOM films: the header as plain data, and the pixels rendered as PS3.14 would show them."""

from io import BytesIO
from typing import Any, Final

import numpy as np
import pydicom.config
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from screening.errors import NotAFilm, UnreadableFilm
from screening.pixels import codecs
from screening.pixels.film import Film, Grey, Header
from screening.pixels.raster import check_size
from screening.pixels.rendering import render

# What pydicom has to say about a value quotes the value, and that may be somebody's name.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


_IDENTIFYING: Final = frozenset({"SOPClassUID", "Modality", "PixelData"})


def open_dicom(data: bytes) -> Film:
    """A film from the bytes of a DICOM file, with or without preamble and File Meta.

    Raises:
        UnreadableFilm: if the data set does not parse.
        NotAFilm: if it parses but holds no pixels (a report, a DICOMDIR).
    """
    try:
        dataset = dcmread(BytesIO(data), force=True)
        header = read_header(dataset)
    # Damaged files raise whatever the parser stumbled over (struct.error, zlib.error, KeyError);
    # pydicom names no root for them, and one bad film must never cost the night.
    except Exception as error:
        raise UnreadableFilm("not_decodable", f"DICOM {type(error).__name__}") from error
    # Told to read anything, pydicom makes elements of any letter; these at least must be there.
    if not (_IDENTIFYING & set(dataset.dir()) or "MediaStorageSOPClassUID" in dataset.file_meta):
        raise UnreadableFilm("not_decodable", "no DICOM data set")
    if "PixelData" not in dataset:
        if "Rows" in dataset:
            raise UnreadableFilm("not_decodable", "the pixel data are missing or cut off")
        raise NotAFilm("DICOM without pixel data")
    return Film(header, lambda: decode_dicom(dataset))


def read_header(dataset: Dataset) -> Header:
    """The attributes that the gate, the report and its subsets need; absent ones stay empty."""
    return Header(
        modality=_text(dataset, "Modality").upper(),
        body_part_examined=_text(dataset, "BodyPartExamined").upper(),
        view_position=_text(dataset, "ViewPosition").upper(),
        patient_sex=_text(dataset, "PatientSex").upper(),
        patient_age=_years(dataset),
        manufacturer=_text(dataset, "Manufacturer"),
        patient_id=_text(dataset, "PatientID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        instance_uid=_text(dataset, "SOPInstanceUID"),
    )


def decode_dicom(dataset: FileDataset) -> tuple[Grey, tuple[str, ...]]:
    """Decode the first frame and render it to grey values.

    Raises:
        UnreadableFilm: naming the transfer syntax, if the pixel data do not decode.
    """
    name = "DICOM"
    try:
        syntax = _transfer_syntax(dataset)
        name = syntax.name
        frames = int(dataset.get("NumberOfFrames") or 1)
        warnings = (f"multi-frame: first of {frames} frames read",) if frames > 1 else ()
        check_size(int(dataset.Rows), int(dataset.Columns))
        stored = pixel_array(dataset, index=0, decoding_plugin=_plugin(syntax))
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)
        return render(dataset, stored), warnings
    except UnreadableFilm:
        raise
    # Each codec has errors of its own; see above.
    except Exception as error:
        detail = f"{name}: {type(error).__name__}"
        raise UnreadableFilm("not_decodable", detail) from error


def _transfer_syntax(dataset: FileDataset) -> UID:
    """The stated transfer syntax or, in a file without File Meta, the one it was parsed with."""
    meta = dataset.file_meta
    if "TransferSyntaxUID" not in meta:
        implicit, _little = dataset.original_encoding
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return UID(meta.TransferSyntaxUID)


def _plugin(syntax: UID) -> str:
    """Never the decoder that happens to be installed: the same film gives the same answer."""
    if codecs.is_available(syntax):
        return codecs.PLUGIN
    return "pydicom" if syntax == RLELossless else ""


def _text(dataset: Dataset, keyword: str) -> str:
    value: Any = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def _years(dataset: Dataset) -> int | None:
    """PatientAge (``045Y``, ``018M``, ``003W``, ``010D``; PS3.5 6.2) in whole years."""
    age = _text(dataset, "PatientAge")
    years_in = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    if len(age) != 4 or not age[:3].isdecimal() or age[3] not in years_in:
        return None
    return int(np.floor(int(age[:3]) * years_in[age[3]] + 1e-9))
