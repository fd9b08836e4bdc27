"""Add studies to a watched folder for an hour, and check that all are screened: ``make soak``.

``python -m soak.hour --films 1500 --minutes 60`` in ``tests/support``. Films are made from those in
SCREENING_FILMS, or from the one real film included in pydicom-data.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from chaos.campaign import check, clear_films
from chaos.films import write_films
from chaos.ledger import Ledger
from jobs.exit_codes import INTERRUPTED
from jobs.queue.jobs import OPEN
from makers import COMMAND

#: Maximum of films per study.
_MOST: Final = 4

#: Maximum of seconds between two films of a study, like those from a scanner.
_APART: Final = 2.0

#: Seconds between two measurements.
_LOOK: Final = 5.0

#: Number of lines in the table.
_LINES: Final = 12

#: Seconds after the last film within which all films must be screened.
_PATIENCE: Final = 120.0

#: Maximum growth of memory after the first part.
_FLAT: Final = 1.1


@dataclass(frozen=True, order=True)
class Drop:
    """A film to be written into its study.

    Attributes:
        at: seconds after the start.
    """

    at: float
    film: Path
    study: Path


@dataclass(frozen=True)
class Look:
    """One measurement.

    Attributes:
        at: seconds after the start.
        worker: MiB of memory of the watching process.
        all: MiB of memory including its decoder processes.
    """

    at: float
    dropped: int
    read: int
    worker: float
    all: float


@dataclass
class Hour:
    """A worker that watches a folder, and measurements of it.

    Attributes:
        drops: the next one last.
        written: when the last film of each study was written; seconds since the epoch.
    """

    drops: list[Drop]
    ledger: Ledger
    worker: subprocess.Popen[bytes]
    written: dict[Path, float] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)

    def run(self) -> Iterator[str]:
        """Run until all films are screened or the time limit is reached; yield complaints."""
        begin, films = time.monotonic(), len(self.drops)
        until = begin + self.drops[0].at + _PATIENCE
        look = begin
        while time.monotonic() < until and not self._is_over(films):
            now = time.monotonic()
            while self.drops and self.drops[-1].at <= now - begin:
                self._drop(self.drops.pop())
            if self.worker.poll() is not None:
                yield f"the worker ended with {self.worker.returncode}"
                return
            if now >= look:
                read = self.ledger.committed()
                memory = _memory(self.worker.pid)
                self.looks.append(Look(now - begin, films - len(self.drops), read, *memory))
                look = now + _LOOK
            time.sleep(0.05)
        if not self._is_over(films):
            yield f"{len(self.ledger.store.jobs(*OPEN))} jobs are still open"

    def _drop(self, drop: Drop) -> None:
        drop.study.mkdir(exist_ok=True)
        shutil.copyfile(drop.film, drop.study / drop.film.name)
        self.written[drop.study] = time.time()

    def _is_over(self, films: int) -> bool:
        read = not self.drops and self.ledger.committed() == films
        return read and not self.ledger.store.jobs(*OPEN)

    def summary(self) -> Iterator[str]:
        """Yield the lines of a table of the measurements."""
        waits = sorted(
            datetime.fromisoformat(job.finished_at).timestamp() - self.written[job.folder]
            for job in self.ledger.store.jobs()
        )
        late = quantiles(waits, n=20)[-1]
        yield (
            f"{len(waits)} studies; from the last film of one to its report: median "
            f"{median(waits):.1f} s, 95 % within {late:.1f} s, at most {waits[-1]:.1f} s"
        )
        yield "| minute | films dropped | read | MiB, worker | MiB, with decoders |"
        yield "| --- | --- | --- | --- | --- |"
        step = -(-len(self.looks) // _LINES)
        for look in [*self.looks[step - 1 : -1 : step], self.looks[-1]]:
            numbers = f"{look.dropped} | {look.read} | {look.worker:.0f} | {look.all:.0f}"
            yield f"| {look.at / 60:.1f} | {numbers} |"

    def growth(self) -> float:
        """Return the memory of the last sixth of the time, divided by that of the second sixth."""
        sixth = len(self.looks) // 6
        first, last = self.looks[sixth : 2 * sixth], self.looks[-sixth:]
        return median(look.worker for look in last) / median(look.worker for look in first)


def _memory(pid: int) -> tuple[float, float]:
    """Return the MiB of a process without and with its children; proc_pid_status(5)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = _resident(str(pid))
    return own, own + sum(map(_resident, children))


def _resident(pid: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def drops(films: Sequence[Path], folder: Path, seconds: float, rng: random.Random) -> list[Drop]:
    """Return studies of one to four films at random times, in reverse order of time."""
    sizes: list[int] = []
    while sum(sizes) < len(films):
        sizes.append(rng.randint(1, min(_MOST, len(films) - sum(sizes))))
    coming = []
    for number, (size, end) in enumerate(zip(sizes, accumulate(sizes), strict=True)):
        at = rng.uniform(0, seconds)
        for film in films[end - size : end]:
            coming.append(Drop(at, film, folder / f"{number:05}"))
            at += rng.uniform(0, _APART)
    return sorted(coming, reverse=True)


def hour(place: Path, films: int, minutes: float, seed: int, queue: str | None) -> list[str]:
    """Run the watcher and add films; print a summary, and return all complaints."""
    rng = random.Random(seed)
    environment = dict(os.environ) | {"XDG_STATE_HOME": str(place / "state")}
    real = clear_films(place / "real", environment, rng)
    write_films([place / "made"], films, real, seed)
    folder, reports = place / "watched", place / "reports"
    folder.mkdir()
    coming = drops(sorted((place / "made").iterdir()), folder, 60 * minutes, rng)
    where = queue or place / "queue.sqlite"
    ledger = Ledger(where)
    try:
        worker = _watch(folder, reports, where, environment, place / "worker.log")
        whole = Hour(coming, ledger, worker)
        complaints = list(whole.run())
        worker.send_signal(signal.SIGTERM)
        if worker.wait(60) != INTERRUPTED:
            complaints.append(f"asked to stop, the worker ended with {worker.returncode}")
        complaints += check(ledger, sorted(folder.iterdir()), reports)
        if whole.growth() > _FLAT:
            complaints.append(f"memory has grown {whole.growth():.2f} times")
        lines = [
            f"{films} films in {minutes:g} minutes, seed {seed}",
            *whole.summary(),
            *(f"WRONG: {complaint}" for complaint in complaints),
            *([] if complaints else ["every film is in its report exactly once, scored"]),
        ]
    finally:
        ledger.close()
    sys.stdout.write("\n".join([*lines, ""]))
    return complaints


def _watch(
    folder: Path, reports: Path, queue: Path | str, environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    words = ("watch", folder, "--out", reports, "--queue", queue, "--log", "logfmt")
    with log.open("wb") as file:
        command = [COMMAND, *map(str, words)]
        return subprocess.Popen(command, env=environment, stdout=file, stderr=file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print a summary; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other films and times")
    parser.add_argument("--queue", help="postgresql://…; by default a new file")
    parser.add_argument("--keep", type=Path, help="a new folder for films, reports and logs")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        kept = asked.keep or Path(place)
        kept.mkdir(exist_ok=True)
        wrong = hour(kept, asked.films, asked.minutes, asked.seed, asked.queue)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
