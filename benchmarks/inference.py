"""Measure inference alone by runtime, precision and batch size, compared with Keras.

    python benchmarks/inference.py --out inference.csv

The models are those of the shipped bundle. Missing ones are converted from networks with random
weights in the same way as by ``screening export``. The weights do not affect the time in float, nor
in 8 bits for a network without normalisation layers such as the reference CNN. One process runs at
a time, with one thread and with one per core. In each round, all variants are measured one after
the other on an idle machine.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

_ARCHITECTURES: Final = ("efficientnet-lite0", "reference")
_TARGETS: Final = ("onnx", "onnx-int8", "tflite-float32", "tflite-int8")
_BATCHES: Final = (1, 8, 32)

#: Number of films for finding 8-bit ranges.
_CALIBRATION: Final = 8

#: Reference for all comparisons: variant and batch size.
_REFERENCE: Final = ("tf.function", 8)

_HEADER: Final = (
    "architecture",
    "threads",
    "way",
    "batch",
    "round",
    "films_per_cpu_second",
    "films_per_second",
)


def main() -> None:
    """Measure, write the CSV and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        architecture, threads, folder = arguments.one
        _measure(architecture, int(threads), Path(folder), arguments.rounds)
        return
    lines: list[list[Any]] = []
    with (
        tempfile.TemporaryDirectory() as place,
        arguments.out.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for architecture in _ARCHITECTURES:
            for threads in sorted({1, os.cpu_count() or 1}):
                one = [architecture, str(threads), place, "--rounds", str(arguments.rounds)]
                words = [sys.executable, __file__, "--one", *one]
                with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
                    for line in process.stdout or ():
                        lines.append([architecture, threads, *json.loads(line)])
                        writer.writerow(lines[-1])
                        file.flush()
                if process.returncode:
                    raise SystemExit(f"{architecture} could not be measured")
    _show(lines)


def _measure(architecture: str, threads: int, place: Path, rounds: int) -> None:
    """Print one line per variant, batch size and round; runs in a separate process."""
    from exports.bundle import SHIPPED
    from exports.convert.convert import Converter
    from exports.targets import target
    from screening.training.networks import DEFAULT, PREPROCESSING, build
    from speeds import limit_keras, speed, tensors, ways_of

    limit_keras(threads)
    preprocessing = PREPROCESSING[architecture]
    network = build(architecture, preprocessing.shape)
    targets = [target(name) for name in _TARGETS]
    folder = place / architecture
    if not folder.exists():
        folder.mkdir()
        converter = Converter(network, preprocessing, tensors(preprocessing, _CALIBRATION))
        for one in targets:
            shipped = SHIPPED / one.file
            if architecture == DEFAULT and shipped.exists():
                shutil.copy(shipped, folder)
            else:
                converter.write(one, folder)
    ways = ways_of(network, folder, targets, threads)
    films = tensors(preprocessing, max(_BATCHES))
    for number in range(1, rounds + 1):
        for name, predict in ways.items():
            for batch in _BATCHES:
                speeds = [round(each, 2) for each in speed(predict, films[:batch])]
                print(json.dumps([name, batch, number, *speeds]), flush=True)


def _show(lines: list[list[Any]]) -> None:
    """Print medians, and the ratio to ``tf.function`` with a batch size of eight."""
    measured: dict[tuple[Any, ...], list[float]] = {}
    for architecture, threads, way, batch, _round, of_processor, of_time in lines:
        # One thread is judged by its CPU time, several by their total throughput.
        speed = of_processor if threads == 1 else of_time
        measured.setdefault((architecture, threads, way, batch), []).append(speed)
    for (architecture, threads, way, batch), speeds in measured.items():
        beside = median(measured[architecture, threads, *_REFERENCE])
        print(
            f"{architecture:18} {threads} threads {way:14} batch {batch:2} "
            f"{median(speeds):8.1f} films/s, {median(speeds) / beside:.2f} x"
        )


if __name__ == "__main__":
    main()
