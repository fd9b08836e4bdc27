"""Pictures that ship with the package and teach the gate what is no frontal chest film."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from screening.pixels.film import Grey
from screening.pixels.raster import decode_raster
from screening.preprocess import Preprocessing

_FOLDER: Final = Path(__file__).parent / "pictures"
_LIST: Final = "SOURCES.csv"

#: Computed frontal projections stand among them, made from the same volumes and in the same way as
#: the lateral ones, so that what was computed is not told from what was exposed.
FRONTAL: Final = "frontal_chest"


@dataclass(frozen=True)
class Example:
    """One picture.

    Attributes:
        kind: what it shows, in a word.
        source: pictures of one source are held out together.
        grey: at the model's size, shape (rows, columns), 0..1.
    """

    kind: str
    source: str
    grey: Grey


def read_examples(preprocessing: Preprocessing) -> list[Example]:
    """All pictures that ship, at the model's size."""
    with (_FOLDER / _LIST).open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [
        Example(line["kind"], line["source"], _read(_FOLDER / line["file"], preprocessing))
        for line in lines
    ]


def _read(path: Path, preprocessing: Preprocessing) -> Grey:
    grey, _warnings = decode_raster(path.read_bytes())
    return preprocessing.resize(grey)
