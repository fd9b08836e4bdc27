"""Measure how faithful the heat maps are to the model: ``python benchmarks/heatmaps.py --help``.

Insertion and deletion (Petsiuk, Das and Saenko, BMVC 2018): the cells of a film are blurred one
after the other, or revealed on the blurred film, in the order of the map. With a faithful map, the
log odds fall quickly when its strongest cells are removed, and rise quickly when they are inserted.
Other orders are measured for comparison: random, from the centre of the film outwards, and by the
share of lung in a cell.
"""

import argparse
import csv
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from exports.bundle import Bundle
from exports.runtimes.load import load, load_lungs
from exports.targets import ONNX
from screening.inference.heatmap import evidence
from screening.model.calibration import logits
from screening.model.lungs import coverage, lung_evidence
from screening.results import POSITIVE
from screening.training.data.dataset import read_grey
from screening.training.data.manifest import read_manifest

Floats = npt.NDArray[np.float32]

#: Shares of the cells that are removed or inserted.
_STEPS: Final = np.linspace(0, 1, 15)

#: Radius of the blur as a share of the film's width; no finding remains visible.
_BLUR: Final = 0.07

_RANDOM: Final = 5

_COLUMNS: Final = (
    *("model", "data", "films", "lung_evidence", "order"),
    *("deletion", "insertion", "cells_to_lose_the_call"),
)


def main() -> None:
    """Measure the maps of a bundle on films with pneumonia that it detects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="as for `screening train`")
    parser.add_argument("--films", type=int, default=100, help="called films with pneumonia")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to add lines to")
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    card, predictor = bundle.card, load(given.bundle, heatmaps=True)
    reader = load_lungs(given.bundle, card, ONNX)

    def odds(greys: Floats) -> Floats:
        raw = logits(predictor.predict(card.preprocessing.normalise(greys)).scores)
        return np.asarray(card.calibration.log_odds(raw) - card.operating_point.log_odds)

    rng = np.random.default_rng(0)
    films = [film for film in read_manifest([given.data]) if film.label == POSITIVE]
    curves: dict[str, list[tuple[Floats, Floats]]] = {}
    shares: list[float | None] = []
    for index in rng.permutation(len(films)):
        if len(shares) == given.films:
            break
        grey = read_grey(films[index].path, card.preprocessing)
        if odds(grey[np.newaxis])[0] < 0:
            continue
        maps = predictor.predict(card.preprocessing.normalise(grey[np.newaxis])).maps
        assert maps is not None  # noqa: S101  # load() has checked for maps
        cells = evidence(maps[0])
        mask = None if reader is None else reader.masks([grey])[0]
        shares.append(None if mask is None else lung_evidence(cells, mask))
        for name, order in _orders(cells, mask, rng).items():
            curves.setdefault(name, []).append(_curves(odds, grey, order, cells.shape))
    _write(given, card.model, len(shares), curves, shares)


def _orders(cells: Floats, mask: Any, rng: np.random.Generator) -> dict[str, npt.NDArray[np.int64]]:
    """Return orders of the cells as flat indices, first removed first; ties in random order."""
    rows, columns = cells.shape
    down, across = np.mgrid[:rows, :columns]
    middle = -np.hypot(down - (rows - 1) / 2, across - (columns - 1) / 2)
    ranks = {"map": cells, "from the middle": middle}
    if mask is not None:
        ranks["by lung"] = coverage(mask, rows, columns)
    ranks |= {f"random {number}": np.zeros_like(cells) for number in range(_RANDOM)}
    noise = rng.random(cells.size)
    return {
        name: np.lexsort((rng.permutation(noise), -rank.ravel())) for name, rank in ranks.items()
    }


def _curves(
    odds: Any, grey: Floats, order: npt.NDArray[np.int64], shape: tuple[int, ...]
) -> tuple[Floats, Floats]:
    """Log odds above the threshold without the first cells, and with these alone; (steps,) each."""
    picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    blurred = picture.filter(ImageFilter.GaussianBlur(_BLUR * grey.shape[1]))
    empty = np.asarray(blurred, np.float32) / np.float32(255)
    size = (grey.shape[1], grey.shape[0])
    gone, alone = [], []
    for share in _STEPS:
        chosen = np.zeros(order.size, np.uint8)
        chosen[order[: round(share * order.size)]] = 255
        cells = Image.fromarray(chosen.reshape(shape)).resize(size, Image.Resampling.NEAREST)
        at = np.asarray(cells) > 0
        gone.append(np.where(at, empty, grey))
        alone.append(np.where(at, grey, empty))
    answers = odds(np.stack(gone + alone))
    return answers[: len(_STEPS)], answers[len(_STEPS) :]


def _write(
    given: argparse.Namespace,
    model: str,
    films: int,
    curves: dict[str, list[tuple[Floats, Floats]]],
    shares: list[float | None],
) -> None:
    known = [share for share in shares if share is not None]
    merged: dict[str, list[tuple[Floats, Floats]]] = {}
    for name, pairs in curves.items():
        merged.setdefault("random" if name.startswith("random") else name, []).extend(pairs)
    is_new = not given.out.exists()
    with given.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(_COLUMNS)
        for name, pairs in merged.items():
            gone = np.array([pair[0] for pair in pairs])
            alone = np.array([pair[1] for pair in pairs])
            # Relative to the difference between the whole and the blurred film.
            whole, none = gone[:, :1], gone[:, -1:]
            scale = np.where(np.abs(whole - none) < 1, np.nan, whole - none)
            line = [
                *(model, given.data.name, films),
                *(f"{np.median(known):.3f}" if known else "", name),
                f"{np.nanmean(((gone - none) / scale).mean(axis=1)):.3f}",
                f"{np.nanmean(((alone - none) / scale).mean(axis=1)):.3f}",
                f"{np.mean([_lost(each) for each in gone]):.3f}",
            ]
            writer.writerow(line)
            print(*line, sep="\t", flush=True)


def _lost(gone: Floats) -> float:
    """Share of cells whose removal makes the finding negative; 1 if it stays positive."""
    below = np.flatnonzero(gone < 0)
    return float(_STEPS[below[0]]) if len(below) else 1.0


if __name__ == "__main__":
    main()
