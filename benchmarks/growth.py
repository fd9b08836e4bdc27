"""Measure time per film and memory by the number of films, separate from start-up and report.

    python benchmarks/growth.py FOLDER --films 100 1000 10000 100000 --out growth.csv

``films.py small`` makes FOLDER. Each run uses hard links to that many of its films, all of which
must be scored. Start-up ends with the first rows in the ledger, screening with the last, and the
report with the process. The largest number is screened once, the others several times.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from screenings import linked, screened, take_options

_HEADER: Final = (
    "films",
    "round",
    "startup_seconds",
    "startup_cpu_seconds",
    "ms_a_film",
    "cpu_ms_a_film",
    "report_seconds",
    "report_cpu_seconds",
    "pss_mib_to_last_row",
    "pss_mib",
)


def main() -> None:
    """Measure, write the CSV and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    take_options(parser)
    arguments = parser.parse_args()
    measured: dict[int, list[list[float]]] = {}
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for number in range(1, arguments.rounds + 1):
            for films in arguments.films:
                if number > 1 and films == max(arguments.films):
                    continue
                figures = _grown(arguments.folder, films, arguments.options)
                measured.setdefault(films, []).append(figures)
                writer.writerow([films, number, *(round(figure, 3) for figure in figures)])
                file.flush()
                print(films, number, *(f"{figure:.2f}" for figure in figures), flush=True)
    print("\nmedians\n", *_HEADER[:1], *_HEADER[2:])
    for films, rows in measured.items():
        print(films, *(f"{median(column):.2f}" for column in zip(*rows, strict=True)))


def _grown(folder: Path, films: int, options: list[str]) -> list[float]:
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        used = screened(linked(folder, films, Path(place)), options)
    first, last = used.looks[0], used.last
    between = max(1, last.done - first.done)
    return [
        first.seconds,
        first.processor,
        1000 * (last.seconds - first.seconds) / between,
        1000 * (last.processor - first.processor) / between,
        used.seconds - last.seconds,
        used.processor - last.processor,
        last.pss / 2**20,
        used.pss / 2**20,
    ]


if __name__ == "__main__":
    main()
