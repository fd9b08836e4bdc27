"""Runs the installed ``screening`` in a place of its own, and says what it cost."""

import csv
import shutil
import sqlite3
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from tree import Cost, cost

SCREENING: Final = Path(sys.executable).with_name("screening")


def screened(folder: Path, options: Sequence[str] = (), films: int | None = None) -> Cost:
    """What ``screening run`` costs, with a queue of its own; the looks count rows in the ledger.

    Args:
        films: how many must come out scored; None for all that are in the folder.
    """
    with tempfile.TemporaryDirectory(prefix="screening-") as place:
        queue, report = Path(place) / "queue.sqlite", Path(place) / "report"
        words = ["--queue", queue, "--out", report, "--key", Path(place) / "key", "--settle", "0"]
        with committed(queue) as rows:
            used = cost([SCREENING, "run", folder, *words, *options], rows)
        check(report, len(files(folder)) if films is None else films)
    return used


def take_options(parser: ArgumentParser) -> None:
    """Let `parser` take ``--options``, for the command that is timed."""
    parser.add_argument(
        "--options",
        nargs="*",
        default=[],
        type="--{}".format,
        help="of screening, without their dashes: precision=int8 exact",
    )


@contextmanager
def committed(queue: Path) -> Iterator[Callable[[], int]]:
    """What says how many rows are in the ledger of a queue that is perhaps not there yet."""
    known, ledgers = 0, ExitStack()
    ledger: sqlite3.Connection | None = None

    def ask() -> int:
        nonlocal known, ledger
        # Before it is made there is nothing to ask.
        with suppress(sqlite3.OperationalError):
            if ledger is None:
                opened = sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=0)
                ledger = ledgers.enter_context(closing(opened))
            known = ledger.execute("SELECT sum(committed) FROM jobs").fetchone()[0] or 0
        return known

    with ledgers:
        yield ask


def check(report: Path, films: int) -> None:
    """End the program unless so many films were scored, and none was not."""
    with (report / "predictions.csv").open(encoding="utf-8", newline="") as file:
        statuses = Counter(row["status"] for row in csv.DictReader(file))
    if statuses != {"scored": films}:
        raise SystemExit(f"{films} films should be scored, but there are {dict(statuses)}")


def files(folder: Path) -> list[Path]:
    """Those that are screened."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def linked(folder: Path, number: int, place: Path, first: int = 0) -> Path:
    """`place` with hard links to `number` films of `folder`, evenly spread, from `first` on."""
    found = files(folder)
    if first + number > len(found):
        raise SystemExit(f"{folder} has {len(found)} films, not {first + number}")
    step = (len(found) - first) // number
    for path in found[first::step][:number]:
        (place / path.name).hardlink_to(path)
    return place


def warm(folder: Path) -> None:
    """Read every file once, so that all that is timed finds them in memory."""
    with Path("/dev/null").open("wb") as nowhere:
        for path in files(folder):
            with path.open("rb") as file:
                shutil.copyfileobj(file, nowhere, 1 << 20)
