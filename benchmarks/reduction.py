"""Measure the effect of reduced-size decoding: ``python benchmarks/reduction.py KIND=FOLDER...``.

Every film is read twice, as by ``screening run`` and as by ``screening run --exact``, and scored by
the shipped model. Probabilities close to 0 or 1 hardly change, so the other films are counted
separately.
"""

import argparse
import csv
from functools import partial
from itertools import islice
from multiprocessing import Pool
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from exports.bundle import SHIPPED, Bundle
from exports.runtimes.load import load
from screening.files import Found
from screening.inference.reader import Reader, ReadFilm
from screenings import files

Pair = tuple[ReadFilm, ReadFilm]

_BATCH: Final = 8

#: The model is considered sure if the probability is closer to 0 or 1 than this.
_SURE: Final = 0.03

#: Maximum change of a probability that should occur.
_MOST: Final = 0.02


class Line(NamedTuple):
    """Figures of the films of a folder.

    Attributes:
        films: number of films.
        reduced: number of films decoded at a reduced size.
        unsure: number of these films that the model is not sure of.
        moved: number of films whose probability changed by more than 0.02.
        percentile: 95th percentile of the changes of the `unsure` films.
        largest: largest change of a probability.
        tensor: largest mean difference of a film's tensors, in 255ths.
        other: number of films with another status or finding.
    """

    films: int
    reduced: int
    unsure: int
    moved: int
    percentile: float
    largest: float
    tensor: float
    other: int


def main() -> None:
    """Measure, write the CSV and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="KIND=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", *Line._fields])
        for word in arguments.folders:
            kind, folder = word.split("=", 1)
            line = (kind, *_compared(Path(folder)))
            writer.writerow(line)
            file.flush()
            print(*line, flush=True)


def _compared(folder: Path) -> Line:
    card, predictor = Bundle.open(SHIPPED).card, load(SHIPPED)
    threshold, found = card.operating_point.threshold, files(folder)
    with Pool() as pool:
        read = pool.imap(partial(_read, folder), found, chunksize=4)
        pairs = [pair for pair in read if pair[0].decoding not in ("", "full")]
    other = sum(sooner.status is not full.status for sooner, full in pairs)
    scored = iter([pair for pair in pairs if all(read.tensor is not None for read in pair)])
    moves: list[npt.NDArray[np.float64]] = []
    while some := list(islice(scored, _BATCH)):
        both = [np.stack([pair[way].tensor for pair in some]) for way in (0, 1)]
        scores = [predictor.predict(tensors).scores for tensors in both]
        sooner, full = (np.asarray(card.calibration.probabilities(score)) for score in scores)
        apart = np.abs(both[0] - both[1]).mean(axis=(1, 2, 3)) / card.preprocessing.scale * 255
        found_otherwise = (sooner >= threshold) != (full >= threshold)
        moves.append(np.stack([full, np.abs(sooner - full), apart, found_otherwise], axis=-1))
    probability, moved, tensor, otherwise = np.concatenate(moves).T
    unsure = moved[np.abs(probability - 0.5) < 0.5 - _SURE]
    return Line(
        len(found),
        len(pairs),
        len(unsure),
        int((moved > _MOST).sum()),
        round(float(np.percentile(unsure, 95)) if len(unsure) else 0.0, 4),
        round(float(moved.max()), 4),
        round(float(tensor.max()), 3),
        other + int(otherwise.sum()),
    )


def _read(folder: Path, path: Path) -> Pair:
    preprocessing = Bundle.open(SHIPPED).card.preprocessing
    found = Found(path.relative_to(folder).as_posix(), path.stat().st_size)
    sooner, full = (Reader(folder, preprocessing, exact=exact) for exact in (False, True))
    return sooner.read(found), full.read(found)


if __name__ == "__main__":
    main()
