"""Make folders of distinct films for benchmarks: ``python benchmarks/films.py KIND ORIGINALS OUT``.

ORIGINALS is any folder of chest films as PNG or JPEG. Each film is a different crop of an original
(up to 4 % off each side), so that all films are distinct and pass the gate:

- ``png``, ``jpeg``: 8-bit grey at full size; JPEG of quality 90.
- ``dicom``, ``j2k``: DICOM, raw (Explicit VR Little Endian) or JPEG 2000 lossless with five levels
  of resolution; 12 bits stored in 16. The 8 bits of the original are widened and get noise as from
  an X-ray dose in the low bits (Gaussian, 8 of 4,095); without noise they would compress too well.
  Every fifth film is a crop of a real film of 15 bits, RG1_UNCR.dcm of the package pydicom-data,
  whose low grey values are white. Every second film has a window; the others are displayed by
  percentiles.
- ``small``: 224 x 224 JPEG of quality 95, with a gamma of 0.9 to 1.1.

The same seed gives the same films. Each folder contains a thousand. Among very many films, a few
come close to what the gate refuses. With a REPORT of ``screening run ORIGINALS`` the originals of
such films are left out.
"""

import argparse
import csv
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

Pixels = npt.NDArray[Any]

#: Maximum share cropped from each side.
_CROP: Final = 0.04
_NOISE: Final = 8.0
_SIDE: Final = 224
_A_FOLDER: Final = 1000

#: Minimum gate score of an original; all crops of such originals pass the gate.
_CLEAR: Final = 0.999

_SUFFIXES: Final = {
    "png": ".png",
    "jpeg": ".jpeg",
    "dicom": ".dcm",
    "j2k": ".dcm",
    "small": ".jpeg",
}

#: One DICOM film in this many is a crop of the real film.
_EVERY: Final = 5
_PIXEL_DATA: Final = 0x7FE00010
_PADDING: Final = 0xFFFCFFFC


@dataclass(frozen=True)
class Maker:
    """Makes all films of one original.

    Attributes:
        kind: kind of film.
        out: folder to write to.
        seed: seed of the crops.
        originals: number of originals.
        films: number of films to make from all originals.
    """

    kind: str
    out: Path
    seed: int
    originals: int
    films: int

    def make(self, original: tuple[int, Path]) -> int:
        """Write the films of an original; return their number."""
        first, path = original
        with Image.open(path) as opened:
            image = opened.convert("L")
        made = 0
        for number in range(first, self.films, self.originals):
            chance = np.random.default_rng((self.seed, number))
            place = self.out / f"{number // _A_FOLDER:03}"
            _write(self.kind, image, place / f"{number:06}{_SUFFIXES[self.kind]}", number, chance)
            made += 1
        return made


def _write(
    kind: str, image: Image.Image, path: Path, number: int, chance: np.random.Generator
) -> None:
    if kind in ("png", "jpeg"):
        _cropped(image, chance).save(path, quality=90)
    elif kind == "small":
        box = _box(image.size, chance)
        small = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box)
        gamma = chance.uniform(0.9, 1.1)
        table = np.rint(255 * (np.arange(256) / 255) ** gamma)
        small.point(table.tolist()).save(path, quality=95)
    else:
        film = _real_film(chance) if number % _EVERY == _EVERY - 1 else _film(image, chance)
        _save(film, path, number, windowed=number % 2 == 0, packed=kind == "j2k")


def _box(size: tuple[int, int], chance: np.random.Generator) -> tuple[float, float, float, float]:
    """Choose a crop: left, upper, right, lower."""
    off = chance.uniform(0, _CROP, 4)
    width, height = size
    return width * off[0], height * off[1], width * (1 - off[2]), height * (1 - off[3])


def _cropped(image: Image.Image, chance: np.random.Generator) -> Image.Image:
    left, upper, right, lower = map(round, _box(image.size, chance))
    return image.crop((left, upper, right, lower))


def _film(image: Image.Image, chance: np.random.Generator) -> Dataset:
    """Make a 12-bit DICOM film from a crop of `image`."""
    cells = np.asarray(_cropped(image, chance), np.float32) * 16
    cells += chance.normal(0, _NOISE, cells.shape)
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.Modality = "DX"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    _fill(dataset, np.rint(cells).clip(0, 4095).astype(np.uint16))
    return dataset


def _real_film(chance: np.random.Generator) -> Dataset:
    dataset = dcmread(get_testdata_file("RG1_UNCR.dcm", download=False))
    shape = (dataset.Rows, dataset.Columns)
    cells = np.frombuffer(dataset.PixelData, "<u2", shape[0] * shape[1]).reshape(shape)
    left, upper, right, lower = map(round, _box((shape[1], shape[0]), chance))
    # These apply to the whole film; in the crop the edges of the collimator are elsewhere.
    for tag in (_PADDING, _PIXEL_DATA, "WindowCenter", "WindowWidth", *dataset.dir("Collimator")):
        del dataset[tag]
    _fill(dataset, np.ascontiguousarray(cells[upper:lower, left:right]))
    return dataset


def _fill(dataset: Dataset, cells: Pixels) -> None:
    dataset.Rows, dataset.Columns = cells.shape
    dataset.PixelData = cells.tobytes() + b"\0" * (cells.nbytes % 2)
    dataset["PixelData"].VR = "OW"


def _save(dataset: Dataset, path: Path, number: int, *, windowed: bool, packed: bool) -> None:
    cells = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["benchmark", str(number)])
    if windowed:
        low, high = np.percentile(cells, (1, 99))
        dataset.WindowCenter = float(round((low + high) / 2))
        dataset.WindowWidth = float(max(1, round(high - low)))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if packed:
        stream = imagecodecs.jpeg2k_encode(
            cells,
            codecformat="j2k",
            reversible=True,
            resolutions=6,
            bitspersample=dataset.BitsStored,
        )
        meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)


def main() -> None:
    """Make one folder of films."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=_SUFFIXES)
    parser.add_argument("originals", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--films", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    originals = _originals(arguments.originals)
    if arguments.report is not None:
        clear = _clear(arguments.report)
        originals = [o for o in originals if o.relative_to(arguments.originals).as_posix() in clear]
    originals = originals[: arguments.films]
    maker = Maker(arguments.kind, arguments.out, arguments.seed, len(originals), arguments.films)
    for folder in range(-(-arguments.films // _A_FOLDER)):
        (arguments.out / f"{folder:03}").mkdir(parents=True, exist_ok=True)
    with Pool() as pool:
        made = sum(pool.imap_unordered(maker.make, enumerate(originals)))
    print(made, "films in", arguments.out)


def _originals(folder: Path) -> list[Path]:
    suffixes = {".png", ".jpg", ".jpeg"}
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes]
    if not found:
        raise SystemExit(f"no PNG or JPEG in {folder}")
    return found


def _clear(report: Path) -> set[str]:
    """Return the films of a report that the gate clearly accepts as frontal chest films."""
    with (report / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return {row["film"] for row in rows if float(row["frontal"] or 0) >= _CLEAR}


if __name__ == "__main__":
    main()
