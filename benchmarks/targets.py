"""Every target of a bundle beside Keras: size, agreement, and films a second of one core.

    python benchmarks/targets.py MODEL BUNDLE --out targets.csv

All are timed in turn, several times over, and the median counts: what else the machine does slows
all of them alike.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from exports.bundle import Bundle
from exports.runtimes.litert import LiteRTPredictor
from exports.runtimes.onnx import OnnxPredictor
from exports.selftest import phantoms, targets_of
from exports.targets import ONNX, Target
from screening.card import WEIGHTS

Predict = Callable[[Any], Any]

_BATCHES: Final = (1, 8)
_ROUNDS: Final = 5

#: Processor time of each round, at the least, in seconds.
_SECONDS: Final = 1.0


def main() -> None:
    """Print a table, and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    bundle = Bundle.open(arguments.bundle)
    network = keras.saving.load_model(arguments.model / WEIGHTS, compile=False)
    function = tf.function(lambda films: network(films, training=False))
    ways: dict[str, Predict] = {"Keras predict": _predict(network), "tf.function": function}
    targets = {target.name: target for target in targets_of(bundle.path)}
    ways |= {name: _runtime(bundle.path, target) for name, target in targets.items()}
    preprocessing = bundle.card.preprocessing
    films = phantoms(preprocessing.rows, preprocessing.columns).astype(np.float32) / np.float32(255)
    tensors = np.concatenate([preprocessing.normalise(films)] * 2)
    speeds = _speeds(ways, tensors)
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


def _predict(network: keras.Model) -> Predict:
    return lambda films: network.predict(films, batch_size=len(films), verbose=0)


def _runtime(bundle: Path, target: Target) -> Predict:
    path = bundle / target.file
    kind = OnnxPredictor if target.runtime == ONNX else LiteRTPredictor
    return kind(path, target.name, threads=1).predict


def _speeds(ways: dict[str, Predict], tensors: Any) -> dict[tuple[str, int], float]:
    """Films a second of processor time, by way and batch."""
    measured: dict[tuple[str, int], list[float]] = {}
    for _round in range(_ROUNDS):
        for name, predict in ways.items():
            for batch in _BATCHES:
                speed = _speed(predict, tensors[:batch])
                measured.setdefault((name, batch), []).append(speed)
    return {which: median(speeds) for which, speeds in measured.items()}


def _speed(predict: Predict, films: Any) -> float:
    predict(films)
    started, calls = time.process_time(), 0
    while (spent := time.process_time() - started) < _SECONDS:
        predict(films)
        calls += 1
    return calls * len(films) / spent


if __name__ == "__main__":
    main()
