"""Measure start-up: time to a loaded model, and to the rows and report of ten films.

    python benchmarks/startup.py MODEL png=FOLDER dicom=FOLDER --out startup.csv

MODEL is a folder written by ``screening train`` with the architecture of the shipped model. Files
are in the page cache; every process is new.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from screenings import linked, screened, take_options

_ROUNDS: Final = 5
_FILMS: Final = 10

_SHIPPED: Final = (
    "from exports.bundle import SHIPPED; from exports.runtimes.load import load_target; "
)
_LOADED: Final = "from exports.targets import TARGETS; kept = load_target(SHIPPED, TARGETS['{}'])"

#: Programs that load a model in a new Python process, by name.
_WAYS: Final = {
    **{name: _SHIPPED + _LOADED.format(name) for name in ("onnx", "onnx-int8", "tflite-int8")},
    "Keras": "import sys, keras; kept = keras.saving.load_model(sys.argv[1] + '/model.keras')",
}

#: Prints the CPU time of the process since its start and its PSS in KiB, once the model is loaded.
_SAYING: Final = """
import json, time
pss = next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:"))
print(json.dumps([time.process_time(), int(pss.split()[1])]), flush=True)
"""

_HEADER: Final = ("what", "round", "seconds", "cpu_seconds", "pss_mib")


def main() -> None:
    """Measure, write the CSV and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("folders", nargs="*", metavar="KIND=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    take_options(parser)
    arguments = parser.parse_args()
    measured: dict[str, list[tuple[float, ...]]] = {}
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for number in range(1, _ROUNDS + 1):
            for what, *figures in [
                *_predictors(arguments.model),
                *_screenings(arguments.folders, arguments.options),
            ]:
                measured.setdefault(what, []).append(tuple(figures))
                writer.writerow([what, number, *(round(figure, 3) for figure in figures)])
                file.flush()
    for what, rows in measured.items():
        seconds, processor, mib = (median(column) for column in zip(*rows, strict=True))
        print(f"{what:34} {seconds:6.2f} s, {processor:6.2f} CPU-s, {mib:6.0f} MiB")


def _predictors(model: str) -> Iterator[tuple[Any, ...]]:
    for what, program in _WAYS.items():
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", program + _SAYING, model],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            said = process.stdout.readline() if process.stdout else ""
            seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"{what} could not be loaded")
        processor, kib = json.loads(said)
        yield what, seconds, processor, kib / 1024


def _screenings(folders: list[str], options: list[str]) -> Iterator[tuple[Any, ...]]:
    for word in folders:
        kind, folder = word.split("=", 1)
        with tempfile.TemporaryDirectory(dir=Path(folder).parent) as place:
            used = screened(linked(Path(folder), _FILMS, Path(place)), options)
        last = used.last
        yield f"{_FILMS} {kind}, last row", last.seconds, last.processor, last.pss / 2**20
        yield f"{_FILMS} {kind}, report", used.seconds, used.processor, used.pss / 2**20


if __name__ == "__main__":
    main()
