"""DICOM films from phantoms, for encoders and rendering tests."""

from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from golden.streams import BITS, PHANTOMS

_STORAGE: Final = DigitalXRayImageStorageForPresentation
#: Fixed, so that the same film has the same bytes: 2.25 is the root for UUIDs (PS3.5 B.2).
_INSTANCE: Final = UID("2.25.1")


def dicom(stored: npt.NDArray[np.generic], **attributes: object) -> FileDataset:
    """A radiograph with the pixels `stored`: (rows, columns), or (rows, columns, 3) for RGB.

    `attributes` are by keyword; they override those derived from the samples.
    """
    bits = stored.dtype.itemsize * 8
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _STORAGE
    meta.MediaStorageSOPInstanceUID = _INSTANCE
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    defaults: dict[str, object] = {
        "SOPClassUID": _STORAGE,
        "SOPInstanceUID": _INSTANCE,
        "StudyInstanceUID": UID("2.25.2"),
        "SeriesInstanceUID": UID("2.25.3"),
        "Modality": "DX",
        "PatientName": "Phantom",
        "SamplesPerPixel": 3 if stored.ndim == 3 else 1,
        "PhotometricInterpretation": "RGB" if stored.ndim == 3 else "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }
    if stored.ndim == 3:
        defaults["PlanarConfiguration"] = 0
    for keyword, value in (defaults | attributes).items():
        setattr(dataset, keyword, value)
    if "HighBit" not in dataset:
        dataset.HighBit = dataset.BitsStored - 1
    if "PixelData" not in dataset:
        samples = stored.tobytes()
        dataset.PixelData = samples + b"\0" * (len(samples) % 2)
    dataset["PixelData"].VR = "OW"
    return dataset


def dicom_of(name: str) -> FileDataset:
    """A phantom by name, rendered over the full range of its bits."""
    stored = PHANTOMS[name]
    if stored.ndim == 3:
        return dicom(stored)
    bits = BITS[name]
    centre = 0 if stored.dtype.kind == "i" else 2 ** (bits - 1)
    return dicom(stored, BitsStored=bits, WindowCenter=centre, WindowWidth=2**bits)


def item(**attributes: object) -> Sequence:
    """A sequence with one item."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return Sequence([dataset])


def as_bytes(dataset: FileDataset) -> bytes:
    """Return the bytes of the file."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def save(dataset: FileDataset, path: Path) -> None:
    """Write the file."""
    path.write_bytes(as_bytes(dataset))
