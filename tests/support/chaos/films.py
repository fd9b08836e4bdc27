"""Any number of different films, generated with a seed from a few real ones."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from makers import dicom_bytes, dicom_film, encoded
from screening.imaging.readers import open_film

Grey = npt.NDArray[np.uint8]

#: Mixture of file formats; DICOM is decoded in a separate process.
_KINDS = ("JPEG", "JPEG", "JPEG", "JPEG", "JPEG", "JPEG", "JPEG", "PNG", "PNG", "DICOM")

_SIDE = 256


def real_films(folder: Path | None) -> list[Grey]:
    """Return real films as 8-bit grey values, 256 pixels a side.

    Args:
        folder: JPEG or PNG films; None for the one included in pydicom-data.
    """
    if folder is None:
        path = get_testdata_file("RG1_UNCR.dcm", download=False)
        grey, _warnings = open_film(Path(str(path)).read_bytes(), "film", max_pixels=10**8).decode()
        return [_small(np.asarray(grey, np.float64) * 255)]
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".jpeg", ".jpg", ".png"})
    return [_small(np.asarray(Image.open(path).convert("L"), np.float64)) for path in paths]


def write_films(folders: Sequence[Path], each: int, real: Sequence[Grey], seed: int) -> None:
    """Write `each` films into each of `folders`; no two have the same pixels."""
    seen: set[str] = set()
    variants = _variants(real, np.random.default_rng(seed))
    for folder in folders:
        folder.mkdir(parents=True)
        for number in range(each):
            kind = _KINDS[number % len(_KINDS)]
            while True:
                data = _file(next(variants), kind)
                pixels, _warnings = open_film(data, "film", max_pixels=10**8).decode()
                digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
                if digest not in seen:
                    break
            seen.add(digest)
            (folder / f"{number:05}.{kind.lower()}").write_bytes(data)


def _variants(real: Sequence[Grey], rng: np.random.Generator) -> Iterator[Grey]:
    """Cycle through the real films, slightly shifted, darkened and with random noise."""
    while True:
        for film in real:
            top, left = rng.integers(0, 9, 2)
            cut = film[top : top + _SIDE - 8, left : left + _SIDE - 8].astype(np.float64)
            grey = cut * rng.uniform(0.93, 1) + rng.normal(0, 1.5, cut.shape)
            yield np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _file(grey: Grey, kind: str) -> bytes:
    if kind != "DICOM":
        return encoded(grey, kind)
    return dicom_bytes(dicom_film(grey, PatientID=generate_uid()))


def _small(grey: npt.NDArray[np.float64]) -> Grey:
    picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX))
