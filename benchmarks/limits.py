"""Measure upper limits of throughput on this machine: decoding alone and multiplying alone.

    python benchmarks/limits.py png=FOLDER jpeg=FOLDER dicom=FOLDER j2k=FOLDER --out limits.csv

Films are decoded at full size on all cores, by this project and, for formats that it supports, by
Pillow. They are also read as ``screening run`` reads them: hash, reduced decoding, gate, tensor.
Networks are treated as float32 matrix products: their multiplications (``cost.py``) at the speed of
NumPy's matrix product.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from screening.files import Found
from screening.imaging.readers import open_film
from screening.inference.reader import Reader
from screening.model.preprocess import Preprocessing
from screenings import files, warm

#: Multiplications per film, in millions.
_MACS: Final = {"efficientnet-lite0": 377, "reference CNN": 15_353}

_SIZE: Final = 4096
_TIMES: Final = 5


def main() -> None:
    """Measure, write the CSV and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", metavar="KIND=FOLDER")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sgemm", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sgemm:
        print(_sgemm())
        return
    cores = os.cpu_count() or 1
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "cores", "films_per_second", "cpu_ms_a_film"])
        for line in [*_decoding(arguments.folders, cores), *_products(cores)]:
            writer.writerow(line)
            print(*line, flush=True)


def _decoding(folders: list[str], cores: int) -> Iterator[tuple[str, int, float, float]]:
    for word in folders:
        kind, folder = word.split("=", 1)
        warm(Path(folder))
        found = files(Path(folder))
        ways: dict[str, Callable[[Path], float]] = {
            "decode": _decode,
            "read": partial(_read, Path(folder)),
        }
        if found[0].suffix != ".dcm":
            ways = {"decode by Pillow": _decode_with_pillow, **ways}
        for name, way in ways.items():
            with Pool(cores) as pool:
                pool.map(way, found[: 2 * cores])  # Imports everything before the timing starts.
                began = time.perf_counter()
                processor = sum(pool.imap_unordered(way, found, chunksize=4))
                seconds = time.perf_counter() - began
            yield (
                f"{kind}, {name}",
                cores,
                round(len(found) / seconds, 1),
                round(1000 * processor / len(found), 2),
            )


def _decode_with_pillow(path: Path) -> float:
    began = time.process_time()
    with Image.open(path) as image:
        image.load()
    return time.process_time() - began


def _decode(path: Path) -> float:
    began = time.process_time()
    open_film(path.read_bytes(), path.name).decode()
    return time.process_time() - began


def _read(folder: Path, path: Path) -> float:
    began = time.process_time()
    found = Found(path.relative_to(folder).as_posix(), path.stat().st_size)
    if Reader(folder, Preprocessing()).read(found).tensor is None:
        raise SystemExit(f"{path} was not read")
    return time.process_time() - began


def _products(cores: int) -> Iterator[tuple[str, int, float, float]]:
    for threads in sorted({1, cores}):
        environment = os.environ | {
            name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
        done = subprocess.run(
            [sys.executable, __file__, "--sgemm"],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        each_second = float(done.stdout)
        for network, millions in _MACS.items():
            films = each_second / (millions * 1e6)
            name = f"{network}, float32 at {2 * each_second / 1e9:.0f} GFLOP/s"
            yield name, threads, round(films, 1), round(1000 * threads / films, 2)


def _sgemm() -> float:
    """Multiply-adds per second, the best of several runs."""
    one, other = np.random.default_rng(0).random((2, _SIZE, _SIZE), np.float32)
    one @ other
    best = np.inf
    for _ in range(_TIMES):
        began = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - began)
    return float(_SIZE**3 / best)


if __name__ == "__main__":
    main()
