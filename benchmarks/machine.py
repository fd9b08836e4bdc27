"""Describe this machine for the tables: ``python benchmarks/machine.py --out machine.csv``."""

import argparse
import csv
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Final

_PACKAGES: Final = (
    "screening",
    "onnxruntime",
    "ai-edge-litert",
    "numpy",
    "pillow",
    "pydicom",
    "imagecodecs",
    "tensorflow",
    "keras",
)


def main() -> None:
    """Write one line per fact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    kib = int(_of("/proc/meminfo", r"MemTotal:\s*(\d+)"))
    family, model = (_of("/proc/cpuinfo", rf"{what}\s*: (\d+)") for what in ("cpu family", "model"))
    facts = {
        "processor": _of("/proc/cpuinfo", r"model name\s*: (.*)"),
        "family, model": f"{family}, {model}",
        "cores": str(os.cpu_count()),
        "8-bit instructions": ", ".join(_instructions()) or "none",
        "memory": f"{kib / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
    }
    with parser.parse_args().out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("what", "value"), *facts.items()])


def _of(file: str, pattern: str) -> str:
    found = re.search(pattern, Path(file).read_text(encoding="utf-8"))
    return found[1] if found else "unknown"


def _instructions() -> list[str]:
    """List this processor's instruction sets for 8-bit multiply-adds; see proc(5)."""
    flags = _of("/proc/cpuinfo", r"flags\s*: (.*)").split()
    return [name for name in ("avx512_vnni", "avx_vnni", "amx_int8") if name in flags]


if __name__ == "__main__":
    main()
