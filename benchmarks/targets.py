"""Compare every target of a bundle with Keras: size, agreement and films per second of one core.

    python benchmarks/targets.py MODEL BUNDLE --out targets.csv

All targets are timed in turn in several rounds, so that other load on the machine affects them
equally. The figures are medians.
"""

import argparse
import csv
from pathlib import Path
from statistics import median
from typing import Any, Final

import keras

from exports.bundle import Bundle
from exports.selftest import targets_of
from screening.model.card import WEIGHTS
from speeds import Predict, limit_keras, speed, tensors, ways_of

_BATCHES: Final = (1, 8)
_ROUNDS: Final = 5


def main() -> None:
    """Print a table and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    limit_keras(1)
    bundle = Bundle.open(arguments.bundle)
    network = keras.saving.load_model(arguments.model / WEIGHTS, compile=False)
    ways = ways_of(network, bundle.path, targets_of(bundle.path))
    speeds = _speeds(ways, tensors(bundle.card.preprocessing, max(_BATCHES)))
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        header = ["architecture", "target", "MB", "largest_difference", "flips", "films"]
        writer.writerow([*header, *(f"films_per_second_batch_{batch}" for batch in _BATCHES)])
        for name in ways:
            figures = bundle.card.exports["targets"].get(name, {})
            size = figures.get("bytes", (arguments.model / WEIGHTS).stat().st_size)
            known = [figures.get(key, "") for key in ("largest_difference", "flips", "films")]
            line = [bundle.card.architecture, name, f"{size / 1e6:.2f}", *known]
            line += [f"{speeds[name, batch]:.1f}" for batch in _BATCHES]
            writer.writerow(line)
            print(*line)


def _speeds(ways: dict[str, Predict], films: Any) -> dict[tuple[str, int], float]:
    """Films per second of CPU time, by predict function and batch size."""
    measured: dict[tuple[str, int], list[float]] = {}
    for _round in range(_ROUNDS):
        for name, predict in ways.items():
            for batch in _BATCHES:
                of_processor, _of_time = speed(predict, films[:batch])
                measured.setdefault((name, batch), []).append(of_processor)
    return {which: median(speeds) for which, speeds in measured.items()}


if __name__ == "__main__":
    main()
