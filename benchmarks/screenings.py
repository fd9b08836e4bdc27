"""Run the installed ``screening`` in a temporary folder and measure its cost."""

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
    """Measure ``screening run`` with a new queue; the samples count the rows in the ledger.

    Args:
        folder: folder to screen.
        options: further options of the command.
        films: number of films that must be scored; None for all in the folder.
    """
    with tempfile.TemporaryDirectory(prefix="screening-") as place:
        queue, report = Path(place) / "queue.sqlite", Path(place) / "report"
        words = ["--queue", queue, "--out", report, "--key", Path(place) / "key", "--settle", "0"]
        with committed(queue) as rows:
            used = cost([SCREENING, "run", folder, *words, *options], rows)
        check(report, len(files(folder)) if films is None else films)
    return used


def take_options(parser: ArgumentParser) -> None:
    """Add ``--options`` to `parser`, options for the timed command."""
    parser.add_argument(
        "--options",
        nargs="*",
        default=[],
        type="--{}".format,
        help="of screening, without their dashes: precision=int8 exact",
    )


@contextmanager
def committed(queue: Path) -> Iterator[Callable[[], int]]:
    """Yield a function that counts the rows in the ledger of a queue, which may not exist yet."""
    known, ledgers = 0, ExitStack()
    ledger: sqlite3.Connection | None = None

    def ask() -> int:
        nonlocal known, ledger
        # The queue does not exist before the command has created it.
        with suppress(sqlite3.OperationalError):
            if ledger is None:
                opened = sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=0)
                ledger = ledgers.enter_context(closing(opened))
            known = ledger.execute("SELECT sum(committed) FROM jobs").fetchone()[0] or 0
        return known

    with ledgers:
        yield ask


def check(report: Path, films: int) -> None:
    """End the program unless the report has exactly this many films and all were scored."""
    with (report / "predictions.csv").open(encoding="utf-8", newline="") as file:
        statuses = Counter(row["status"] for row in csv.DictReader(file))
    if statuses != {"scored": films}:
        raise SystemExit(f"{films} films should be scored, but there are {dict(statuses)}")


def files(folder: Path) -> list[Path]:
    """List all files of a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def linked(folder: Path, number: int, place: Path, first: int = 0) -> Path:
    """Hard-link `number` evenly spaced films of `folder`, starting at `first`, into `place`."""
    found = files(folder)
    if first + number > len(found):
        raise SystemExit(f"{folder} has {len(found)} films, not {first + number}")
    step = (len(found) - first) // number
    for path in found[first::step][:number]:
        (place / path.name).hardlink_to(path)
    return place


def warm(folder: Path) -> None:
    """Read every file once, so that all timed programs find them in the page cache."""
    with Path("/dev/null").open("wb") as nowhere:
        for path in files(folder):
            with path.open("rb") as file:
                shutil.copyfileobj(file, nowhere, 1 << 20)
