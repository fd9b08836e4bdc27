"""Inference alone, by runtime, precision and batch, beside Keras.

    python benchmarks/inference.py --out inference.csv

The models of the shipped bundle; what it does not hold is converted from networks with random
weights, as ``screening export`` does it. These make no difference to time in float, nor in 8 bits to
a network without norms, such as the reference CNN. One process at a time: with one thread, and with
one a core. All ways take their turn in each round, on an idle machine.
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

#: Films from which 8-bit ranges are found.
_CALIBRATION: Final = 8

#: What the others are compared with.
_BESIDE: Final = ("tf.function", 8)

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
    """Measure, write the CSV, and print medians."""
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
    """Print a line for each way, batch and round; for a process of its own."""
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
    """Medians, and how many times as many films as ``tf.function`` reads eight at a time."""
    measured: dict[tuple[Any, ...], list[float]] = {}
    for architecture, threads, way, batch, _round, of_processor, of_time in lines:
        # One thread is worth what it takes of the processor, several what they give together.
        speed = of_processor if threads == 1 else of_time
        measured.setdefault((architecture, threads, way, batch), []).append(speed)
    for (architecture, threads, way, batch), speeds in measured.items():
        beside = median(measured[architecture, threads, *_BESIDE])
        print(
            f"{architecture:18} {threads} threads {way:14} batch {batch:2} "
            f"{median(speeds):8.1f} films/s, {median(speeds) / beside:.2f} x"
        )


if __name__ == "__main__":
    main()
