"""Make films, cards and predictors for tests."""

import csv
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

import screening.training
from screening.model.calibration import Calibration, OperatingPoint
from screening.model.card import Card
from screening.model.predictor import Prediction
from screening.model.preprocess import Preprocessing

#: The installed command.
COMMAND = Path(sys.executable).parent / "screening"


#: The images that train the gate of each model.
PICTURES = Path(screening.training.__path__[0]) / "gate_pictures"

#: Frontal projections that are dim, inverted or cut off.
UNCLEAR = tuple(f"frontal_chest_{n:03}.jpg" for n in (12, 21, 31, 35, 36, 37, 41, 45, 51))


class BrightnessPredictor:
    """Predicts pneumonia for bright films: P is the mean grey value. It needs no network."""

    target = "fake"
    runtime = "fake/brightness 1"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        self.batches.append(len(tensors))
        p = tensors.mean(axis=(1, 2, 3))
        scores = np.stack([1 - p, p], axis=1).astype(np.float32)
        return Prediction(scores, np.zeros((len(tensors), 4), np.float32))


def make_card(threshold: float = 0.5) -> Card:
    """Make a card for :class:`BrightnessPredictor`: tensors are films at 32 x 32, 0..1."""
    return Card(
        architecture="brightness",
        preprocessing=Preprocessing(rows=32, columns=32),
        operating_point=OperatingPoint(threshold, "given by the test"),
        calibration=Calibration(),
    ).with_weights("0" * 64)


def grey_film(seed: int, brightness: float = 0.5, side: int = 128) -> npt.NDArray[np.uint8]:
    """Make a smooth random film; `brightness` is about its mean grey value."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 0.12, (8, 8)) + brightness
    small = Image.fromarray(np.clip(coarse * 255, 0, 255).astype(np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def chest_film(seed: int) -> npt.NDArray[np.uint8]:
    """Make a film that the gate of the shipped model accepts; it is computed, so no patient's.

    It is one of the frontal projections among the gate's images, a little darker or lighter.
    """
    with (PICTURES / "SOURCES.csv").open(newline="", encoding="utf-8") as file:
        names = [line["file"] for line in csv.DictReader(file) if line["kind"] == "frontal_chest"]
    clear = [name for name in names if name not in UNCLEAR]
    rng = np.random.default_rng(seed)
    with Image.open(PICTURES / clear[seed % len(clear)]) as picture:
        grey = np.asarray(picture.convert("L"), np.float64)
    return np.clip(
        np.rint(grey * rng.uniform(0.9, 1) + rng.normal(0, 1, grey.shape)), 0, 255
    ).astype(np.uint8)


def encoded(film: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """Encode a film as PNG or JPEG."""
    buffer = BytesIO()
    Image.fromarray(film).save(buffer, kind)
    return buffer.getvalue()


def write_film(path: Path, seed: int, brightness: float = 0.5) -> Path:
    """Write a PNG or JPEG film, by the suffix of `path`; PNG without one."""
    return _write(path, grey_film(seed, brightness))


def write_chest_film(path: Path, seed: int) -> Path:
    """Write a :func:`chest_film` in the same way; each seed gives another film."""
    return _write(path, chest_film(seed))


def _write(path: Path, film: npt.NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(film, "JPEG" if path.suffix in {".jpg", ".jpeg"} else "PNG"))
    return path


def dicom_film(
    stored: npt.NDArray[np.integer],
    syntax: UID = ExplicitVRLittleEndian,
    **attributes: object,
) -> FileDataset:
    """Make a computed radiograph with pixels `stored`; attributes are given as keywords."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    bits = stored.dtype.itemsize * 8
    defaults: dict[str, object] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CR",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }
    for keyword, value in (defaults | attributes).items():
        setattr(dataset, keyword, value)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def dicom_bytes(dataset: FileDataset) -> bytes:
    """Encode a DICOM file with preamble and File Meta."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
