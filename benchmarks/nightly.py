"""Measure ``screening run`` end to end and compare it with simple baseline programs.

    python benchmarks/nightly.py MODEL png=FOLDER jpeg=FOLDER dicom=FOLDER j2k=FOLDER --out nightly.csv

MODEL is a folder written by ``screening train`` with the architecture of the shipped model; its
weights do not affect the time. ``films.py`` makes the folders. In each round, all programs run one
after the other on an idle machine: the installed ``screening run`` with its queue, hashes, gate,
isolated decoders, audit and report, and the programs in ``baselines/``, which have none of these.
Everything is measured from the start of the process: CPU time of all processes and their peak total
memory (PSS). For ``screening run`` the figures up to the last row in the ledger are listed
separately from the totals, which include the report.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Final

from screenings import files, screened, warm
from tree import Cost, cost

#: Measured variants of ``screening run`` with their options.
SCREENING: Final = {
    "screening": [],
    "screening int8": ["--precision", "int8"],
    "screening exact": ["--exact"],
}

_BASELINES: Final = Path(__file__).with_name("baselines")
_KERAS: Final = {"Keras folder": ["keras_folder.py"]}
_PYDICOM: Final = {
    f"pydicom loop, {call}": ["pydicom_loop.py", call]
    for call in ("predict", "call", "predict_on_batch")
}

_MIB: Final = 2**20


@dataclass(frozen=True)
class Run:
    """Figures of one program on one folder. If only rows are written, both sets are the same."""

    kind: str
    way: str
    round: int
    films: int
    seconds: float
    cpu_seconds: float
    seconds_to_last_row: float
    cpu_seconds_to_last_row: float
    pss_mib: float
    pss_mib_to_last_row: float

    @classmethod
    def of(cls, kind: str, way: str, number: int, films: int, used: Cost) -> "Run":
        """Create a row of the table from the measurements."""
        last = used.last
        return cls(
            kind,
            way,
            number,
            films,
            *(round(value, 3) for value in (used.seconds, used.processor)),
            *(round(value, 3) for value in (last.seconds, last.processor)),
            *(round(value / _MIB, 1) for value in (used.pss, last.pss)),
        )


def main() -> None:
    """Measure, write the CSV and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("folders", nargs="+", metavar="KIND=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", help="by default all", metavar="WAY")
    parser.add_argument("--python", default=sys.executable, help="for the baselines")
    arguments = parser.parse_args()
    folders = dict(word.split("=", 1) for word in arguments.folders)
    runs: list[Run] = []
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Run))
        for kind, folder in folders.items():
            measured = _rounds(kind, Path(folder), arguments)
            for run in measured:
                runs.append(run)
                writer.writerow(astuple(run))
                file.flush()
                print(*astuple(run), flush=True)
    _show(runs)


def _rounds(kind: str, folder: Path, arguments: argparse.Namespace) -> Iterator[Run]:
    films = files(folder)
    warm(folder)
    baselines = _PYDICOM if films[0].suffix == ".dcm" else _KERAS
    ways = [way for way in [*SCREENING, *baselines] if not arguments.ways or way in arguments.ways]
    for number in range(1, arguments.rounds + 1):
        for way in ways:
            if way in SCREENING:
                used = screened(folder, SCREENING[way])
            else:
                used = _baseline(baselines[way], folder, len(films), arguments)
            yield Run.of(kind, way, number, len(films), used)


def _baseline(words: list[str], folder: Path, films: int, arguments: argparse.Namespace) -> Cost:
    program, *rest = words
    with tempfile.NamedTemporaryFile("r", suffix=".csv", encoding="utf-8") as out:
        used = cost(
            [arguments.python, _BASELINES / program, arguments.model, folder, out.name, *rest]
        )
        if len(out.readlines()) != films:
            raise SystemExit(f"{program} has not given a probability for each of {films} films")
    return used


def _show(runs: Iterable[Run]) -> None:
    """Print medians, and the CPU time of the baselines as a multiple of ours."""
    by_way: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        by_way.setdefault(run.kind, {}).setdefault(run.way, []).append(run)
    for kind, ways in by_way.items():
        print(f"\n{kind}: medians of each way")
        for way, some in ways.items():
            whole, rows = _median(some, "cpu_seconds"), _median(some, "cpu_seconds_to_last_row")
            line = f"{way:34} {some[0].films / whole:7.1f} films a CPU-second"
            line += f", {some[0].films / rows:7.1f} to the last row"
            line += f"; {some[0].films / _median(some, 'seconds'):7.1f} films/s"
            line += f"; {_median(some, 'pss_mib_to_last_row'):6.0f} MiB to it"
            line += f", {_median(some, 'pss_mib'):6.0f} in all"
            print(line)
        for own in [way for way in ways if way in SCREENING]:
            for other in [way for way in ways if way not in SCREENING]:
                pairs = list(zip(ways[own], ways[other], strict=True))  # round by round
                whole = median(b.cpu_seconds / a.cpu_seconds for a, b in pairs)
                rows = median(b.cpu_seconds / a.cpu_seconds_to_last_row for a, b in pairs)
                memory = median(a.pss_mib_to_last_row / b.pss_mib for a, b in pairs)
                print(
                    f"{own} beside {other}: {rows:.2f} x to the last row, {whole:.2f} x with the "
                    f"report; memory {memory:.2f} x"
                )


def _median(runs: Iterable[Run], what: str) -> float:
    return median(getattr(run, what) for run in runs)


if __name__ == "__main__":
    main()
