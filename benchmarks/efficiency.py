"""Measure the efficiency of the pipeline: ``python benchmarks/efficiency.py png=FOLDER``.

Each stage is measured alone, one film after the other: reading (in a decoder process if the format
needs one), scoring in batches, and committing rows. The CPU time of all three gives the maximum
number of films per second on all cores. The efficiency is the share of this maximum that
``screening run`` reaches between its first and its last rows. Use a thousand films or more on an
idle machine.
"""

import argparse
import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from jobs.sources.submission import Opener
from screening.files import discover
from screening.inference.pipeline import Screener, Seen
from screenings import screened, warm
from stores import Bench, commit_cost
from tree import processor

_HEADER: Final = (
    "films",
    "round",
    "read_cpu_ms",
    "score_cpu_ms",
    "commit_cpu_ms",
    "films_per_second_at_most",
    "films_per_second",
    "efficiency",
)


def main() -> None:
    """Measure, write the CSV and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="KIND=FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for word in arguments.folders:
            kind, folder = word.split("=", 1)
            warm(Path(folder))
            measured = []
            for number in range(1, arguments.rounds + 1):
                figures = _efficiency(Path(folder))
                measured.append(figures)
                writer.writerow([kind, number, *(round(figure, 3) for figure in figures)])
                file.flush()
            figures = [median(column) for column in zip(*measured, strict=True)]
            for name, figure in zip(_HEADER[2:], figures, strict=True):
                print(f"{kind} {name} {figure:.2f}")


def _efficiency(folder: Path) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="screening-") as place:
        bench = Bench(folder, Path(place), Opener(lambda _job, _sha256: ""))
        with closing(bench.opener.open(bench.job("alone"))) as screener:
            stages = _alone(screener, bench, Path(place) / "queue.sqlite")
    at_most = 1000 * (os.cpu_count() or 1) / sum(stages)
    used = screened(folder)
    first, last = used.looks[0], used.last
    reached = (last.done - first.done) / (last.seconds - first.seconds)
    return [*stages, at_most, reached, reached / at_most]


def _alone(screener: Screener, bench: Bench, queue: Path) -> list[float]:
    """CPU milliseconds per film for reading, scoring and committing."""
    found, seen = discover(screener.folder), Seen()
    screener.examine(found[:1], seen)  # Loads everything and starts a decoder.
    with _processor_ms() as reading:
        films = [screener.reader.read(one) for one in found]
    batch, rows = bench.job("batch").options.batch, []
    with _processor_ms() as scoring:
        for start in range(0, len(films), batch):
            rows += screener.rows(screener.examiner.examine(films[start : start + batch]), seen)
    _seconds, committing = commit_cost(queue, bench, rows)
    return [reading[0] / len(found), scoring[0] / len(found), committing]


@contextmanager
def _processor_ms() -> Iterator[list[float]]:
    """Measure the CPU milliseconds of this process and its children in the `with` block.

    The yielded list contains the figure after the block has ended.
    """
    took: list[float] = []
    before = processor(os.getpid())
    yield took
    took.append(1000 * (processor(os.getpid()) - before))


if __name__ == "__main__":
    main()
