"""Measure the cost of running on the edge: ``python -m emulation.figures`` in ``tests/support``.

Prints the size of the installed requirements on two architectures, and CPU time and memory on this
machine, because the cost in an emulator says nothing about a device. Each runtime has a new
environment without other packages.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from emulation.arm64 import for_arm, install
from emulation.folder import compressed
from exports.bundle import SHIPPED
from exports.documents import PROGRAM
from makers import chest_film, write_chest_film

_RUNTIMES: Final = {"LiteRT": "ai-edge-litert", "ONNX Runtime": "onnxruntime"}

#: Number of runs; the fastest counts, because the first reads from a cold disk.
_RUNS: Final = 5

_MANY: Final = 64

_MB: Final = 1_000_000


def main() -> None:
    """Print one line per runtime."""
    sys.stdout.write(
        f"{'':12} | {platform.machine()} MB | aarch64 MB | selftest | PNG film | DICOM film | "
        f"{_MANY} PNG films\n"
    )
    with tempfile.TemporaryDirectory(prefix="figures-") as place:
        films = _films(Path(place) / "films")
        for name, package in _RUNTIMES.items():
            sizes, costs = _measure(Path(place) / package, package, films)
            cells = [*(f"{size:.0f}" for size in sizes), *costs]
            sys.stdout.write(" | ".join([f"{name:12}", *cells]) + "\n")


def _films(place: Path) -> list[Path]:
    """Write folders: one small PNG, one DICOM film of the size in a hospital, many small PNGs."""
    folders = [place / "png", place / "dicom", place / "many"]
    for seed in range(_MANY):
        write_chest_film(folders[2] / f"{seed}.png", seed)
    write_chest_film(folders[0] / "film.png", 0)
    folders[1].mkdir()
    large = np.asarray(Image.fromarray(chest_film(0)).resize((2500, 2048))).astype(np.uint16) * 16
    data = compressed(large, JPEG2000Lossless, imagecodecs.jpeg2k_encode, level=0)
    (folders[1] / "film.dcm").write_bytes(data)
    return folders


def _measure(place: Path, package: str, films: Sequence[Path]) -> tuple[list[float], list[str]]:
    """Measure megabytes here and on Arm, and the cost of the self-test and of each of `films`."""
    lines = (SHIPPED / "requirements.txt").read_text(encoding="utf-8").split()
    needs = [line for line in lines if not line.startswith(tuple(_RUNTIMES.values()))]
    venv.create(place / "venv", with_pip=False)
    version = sysconfig.get_python_version()
    sites = [place / "venv" / "lib" / f"python{version}" / "site-packages", place / "arm"]
    for site, options in zip(sites, ([], for_arm(version)), strict=True):
        install(site, *options, *needs, package)
    program = [place / "venv" / "bin" / "python", SHIPPED / PROGRAM]
    words = [[folder, "--out", place / "report"] for folder in films]
    return [_size(site) / _MB for site in sites], [
        _cost(place, [*program, *call]) for call in (["selftest"], *words)
    ]


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _cost(place: Path, command: Sequence[str | Path]) -> str:
    """Measure CPU time, which other load does not affect, and memory of the largest process."""
    seconds, peaks = [], []
    for _ in range(_RUNS):
        shutil.rmtree(place / "report", ignore_errors=True)
        with subprocess.Popen(
            command, env={"HOME": str(place)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            error = process.stderr.read() if process.stderr else b""
            _process, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds.append(used.ru_utime + used.ru_stime)
        peaks.append(used.ru_maxrss * 1024 / _MB)
        if status:
            sys.exit(error.decode())
    return f"{min(seconds):.2f} s {max(peaks):.0f} MB"


if __name__ == "__main__":
    main()
