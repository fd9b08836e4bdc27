"""Write a folder with films in several encodings and files that are not films."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from exports.bundle import SHIPPED
from makers import chest_film, dicom_bytes, dicom_film, write_chest_film
from screening.model.card import Card
from screening.results import Status

#: Expected status of each file, on every machine.
EXPECTED = {
    "copy of film.png": Status.SCORED,
    "empty.png": Status.FAILED,
    "film.jpeg": Status.SCORED,
    "film.png": Status.DUPLICATE,
    "jpeg 2000.dcm": Status.SCORED,
    "jpeg ls.dcm": Status.SCORED,
    "leg.dcm": Status.REFUSED,
    "lossy jpeg 2000.dcm": Status.SCORED,
    "notes.txt": Status.REFUSED,
    "raw.dcm": Status.SCORED,
    "truncated.dcm": Status.FAILED,
}

#: A film at the size of the shipped model, so that it is not resampled.
EXACT = "copy of film.png"


def write_folder(folder: Path) -> None:
    """Write the files into `folder`."""
    rows, columns = Card.read(SHIPPED).preprocessing.shape[:2]
    exact = Image.fromarray(chest_film(0)).resize((columns, rows))
    for name in ("film.png", EXACT):
        exact.save(folder / name)
    write_chest_film(folder / "film.jpeg", 1)
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("call the engineer")
    for name, data in _dicoms().items():
        (folder / f"{name}.dcm").write_bytes(data)


def _dicoms() -> dict[str, bytes]:
    deep = [chest_film(seed).astype(np.uint16) * 257 for seed in range(2, 6)]
    raw = dicom_bytes(dicom_film(deep[0]))
    wavelet = imagecodecs.jpeg2k_encode
    return {
        "jpeg 2000": compressed(deep[1], uid.JPEG2000Lossless, wavelet, level=0),
        "jpeg ls": compressed(deep[2], uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        "leg": dicom_bytes(dicom_film(deep[0], BodyPartExamined="TIBIA")),
        "lossy jpeg 2000": compressed(deep[3], uid.JPEG2000, wavelet, level=60, reversible=False),
        "raw": raw,
        "truncated": raw[: len(raw) // 2],
    }


def compressed(
    film: npt.NDArray[np.uint16], syntax: uid.UID, encode: Any, **options: object
) -> bytes:
    """Make a DICOM file with one frame, compressed by `encode`."""
    dataset = dicom_film(film, syntax)
    dataset.PixelData = encapsulate([encode(film, **options)])
    dataset["PixelData"].VR = "OB"
    return dicom_bytes(dataset)
