"""Measure several worker processes: ``python benchmarks/scaling.py FOLDER --processes 1 2 4``.

Equal jobs with the films of FOLDER are enqueued and processed by that many processes with
``screening worker --drain``. The measurement runs from the first to the last rows in the ledger and
includes the reports of all jobs except the last. The number of busy cores shows what limits the
throughput.
"""

import argparse
import csv
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from screenings import SCREENING, check, committed, files, linked, take_options, warm
from tree import cost

_HEADER: Final = (
    "processes",
    "round",
    "films_per_second",
    "cpu_ms_a_film",
    "cores_busy",
    "seconds_to_first_row",
    "pss_mib",
)


def main() -> None:
    """Measure, write the CSV and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--films", type=int, help="of each job; by default all that there are")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    take_options(parser)
    arguments = parser.parse_args()
    each = arguments.films or len(files(arguments.folder)) // arguments.jobs
    warm(arguments.folder)
    measured: dict[int, list[list[float]]] = {}
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder.parent) as place,
        arguments.out.open("w", newline="", encoding="utf-8") as file,
    ):
        folders = [
            linked(arguments.folder, each, _made(Path(place) / str(n)), n * each)
            for n in range(arguments.jobs)
        ]
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for number in range(1, arguments.rounds + 1):
            for processes in arguments.processes:
                figures = _worked(folders, each, processes, arguments.options)
                measured.setdefault(processes, []).append(figures)
                writer.writerow([processes, number, *(round(figure, 3) for figure in figures)])
                file.flush()
                print(processes, number, *(f"{figure:.2f}" for figure in figures), flush=True)
    print("\nmedians\n", *_HEADER[:1], *_HEADER[2:])
    for processes, rows in measured.items():
        print(processes, *(f"{median(column):.2f}" for column in zip(*rows, strict=True)))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _worked(folders: list[Path], each: int, processes: int, options: list[str]) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="screening-") as place:
        queue = Path(place) / "queue.sqlite"
        for folder in folders:
            out, key = Path(place) / folder.name, Path(place) / "key"
            words = ["--queue", queue, "--out", out, "--key", key, "--settle", "0"]
            subprocess.run(
                [SCREENING, "submit", folder, *words, *options], check=True, capture_output=True
            )
        words = ["--queue", queue, "--drain", "--processes", str(processes)]
        with committed(queue) as rows:
            used = cost([SCREENING, "worker", *words], rows)
        for folder in folders:
            check(Path(place) / folder.name, each)
    first, last = used.looks[0], used.last
    films, seconds = last.done - first.done, last.seconds - first.seconds
    processor = last.processor - first.processor
    rate, busy = films / seconds, processor / seconds
    return [rate, 1000 * processor / films, busy, first.seconds, used.pss / 2**20]


if __name__ == "__main__":
    main()
