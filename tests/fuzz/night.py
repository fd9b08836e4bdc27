"""One run of the installed command over a folder of mutants, and what it must keep to."""

import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fuzz.mutants import Mutant
from fuzz.watch import Watch, end, session
from makers import COMMAND
from screening.results import DUPLICATES, FAILURES, PREDICTIONS, REFUSALS, Row, Status, read_rows

#: Seconds that a decoder has.
TIMEOUT: Final = 5.0

# A user's options; the memory is what two readers of a small machine have.
_OPTIONS: Final = (
    *("--max-failure-rate", "1", "--decode-timeout", str(TIMEOUT), "--decode-memory", "1024"),
    *("--settle", "0"),
)

# Seconds after which a command hangs; a job of 2,500 films takes some 20.
_PATIENCE: Final = 1800.0

# What a film may take beyond: the kernel's grace for a decoder, and a machine that is busy.
_SLACK: Final = 30.0

# What the resident memory may grow from the second quarter of a run to the last: the C library
# keeps what a film of 40 million pixels has had, in every thread that read one. A leak is in every
# run; see `Campaign.complaints`.
_GROWTH: Final = 192 << 20

# The most that films decoded in the runner itself may take: 40 million pixels, several times.
_PEAK: Final = 2 << 30

#: What may be there afterwards, beside films and report.
_STATE: Final = frozenset(
    {
        "home/state/screening/queue.sqlite",
        "home/state/screening/patient.key",
        "stderr",
        "stdout",
    }
)

#: What matplotlib knows of the fonts.
_FONTS: Final = "home/state/screening/matplotlib/"

_SAID: Final = re.compile(
    r"Screening (?P<listed>\d+) files in [^\n]+\n"
    r"(?P<files>\d+) files: (?P<scored>\d+) scored, (?P<refused>\d+) refused, "
    r"(?P<failed>\d+) failed, (?P<duplicate>\d+) duplicate; \d+ called \w+\n"
    r"(?:Drift: [^\n]+\n)*"
    r"Report: [^\n]+\n"
)

#: Nobody removes, locks or replaces a film here, and no job is given up.
_REASONS: Final = {
    Status.REFUSED: frozenset(REFUSALS) - {"not_followed"},
    Status.FAILED: frozenset(FAILURES) - {"vanished", "unreadable", "no_score", "not_screened"},
    Status.DUPLICATE: frozenset(DUPLICATES),
}


@dataclass(frozen=True)
class Night:
    """What came of one run.

    Attributes:
        codecs: of the films, by file name.
        complaints: what it did not keep to.
        wall: seconds.
    """

    rows: list[Row]
    codecs: dict[str, str]
    complaints: list[str]
    watch: Watch
    wall: float

    @property
    def quarters(self) -> tuple[float, ...]:
        """The runner's resident bytes by quarter, from the first row to the last.

        Before, the model is loaded; afterwards pandas and SciPy are, for the report.
        """
        times = [datetime.fromisoformat(row.screened_at).timestamp() for row in self.rows]
        return self.watch.quarters(min(times), max(times)) if times else ()

    @property
    def growth(self) -> float:
        """Bytes by which the last quarter has more than the second."""
        return self.quarters[3] - self.quarters[1] if self.quarters else 0.0


def night(
    place: Path,
    mutants: Iterable[Mutant],
    *,
    flat: bool = True,
    command: Sequence[str | Path] = (COMMAND,),
) -> Night:
    """Write the mutants below `place`, screen them, and look at everything that is left.

    Args:
        place: a new folder for films, report, home and what else the command writes.
        flat: the memory of the runner must not grow; for a run over films of about one size.
        command: another one than that under test, to test the checks.
    """
    films, work, home, tmp = (place / name for name in ("films", "work", "home", "tmp"))
    for folder in (films, work, home, tmp):
        folder.mkdir(parents=True)
    codecs = {}
    for mutant in mutants:
        (films / mutant.name).write_bytes(mutant.data)
        codecs[mutant.name] = mutant.codec
    before = _stamps(films)
    started = time.monotonic()
    with (place / "stdout").open("wb") as stdout, (place / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*command, "run", films, *_OPTIONS, "--out", place / "report"],
            env=_environment(home, tmp),
            cwd=work,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        with Watch(process.pid) as watch:
            code = _ended(process)
    wall = time.monotonic() - started
    left = session(process.pid)
    for child in left:
        end(child)
    complaints = [] if code in (0, 3) else [f"exit code {code}"]
    complaints += [f"processes left behind: {left}"] if left else []
    complaints += _speech((place / "stdout").read_bytes(), (place / "stderr").read_bytes())
    if _stamps(films) != before:
        complaints.append("the folder of films was changed")
    complaints += [f"written: {name}" for name in _litter(place)]
    rows: list[Row] = []
    if (place / "report" / PREDICTIONS).exists():
        rows = read_rows(place / "report" / PREDICTIONS)
    complaints += _rows(rows, films)
    result = Night(rows, codecs, complaints, watch, wall)
    complaints += costs(result, flat=flat)
    return result


def _environment(home: Path, tmp: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCREENING")}
    return kept | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "TMPDIR": str(tmp)}


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code; a command that never ends, or nobody waits for any more, is killed."""
    try:
        return process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def _stamps(films: Path) -> dict[str, tuple[int, int]]:
    entries = {path.name: path.stat() for path in films.iterdir()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in entries.items()}


def _speech(stdout: bytes, stderr: bytes) -> Iterator[str]:
    """One line on standard output, three and what has drifted on standard error, and nothing else."""
    if b"Traceback" in stderr:
        yield f"traceback: {stderr[-3000:].decode(errors='replace')}"
    elif not _SAID.fullmatch(stderr.decode(errors="replace")):
        yield f"said on standard error: {stderr[:1000]!r} ... {stderr[-1000:]!r}"
    if not re.fullmatch(rb"Job [^\n]+\n", stdout):
        yield f"said on standard output: {stdout[:1000]!r}"


def costs(done: Night, *, flat: bool) -> Iterator[str]:
    """What it took too much of: memory or processes."""
    watch = done.watch
    if flat and done.growth > _GROWTH:
        yield f"memory grew by {done.growth / 2**20:.0f} MiB"
    if watch.peak > _PEAK:
        yield f"memory peaked at {watch.peak / 2**20:.0f} MiB"
    readers = os.cpu_count() or 1
    if watch.most_children > readers:
        yield f"{watch.most_children} children at once for {readers} readers"


def _litter(place: Path) -> Iterator[str]:
    """Files that are neither films nor report nor queue: core dumps, temporary files."""
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        expected = name in _STATE or name.startswith(("films/", "report/", _FONTS))
        if not path.is_dir() and not expected:
            yield name


def _rows(rows: list[Row], films: Path) -> Iterator[str]:
    """Every file is one row, and every row is one of those that there may be."""
    wanted = sorted(path.name for path in films.iterdir())
    if [row.film for row in rows] != wanted:
        missing = set(wanted).symmetric_difference(row.film for row in rows)
        yield f"{len(rows)} rows for {len(wanted)} files: {sorted(missing)[:10]}"
    for row in rows:
        fault = wrong(row, films)
        if fault:
            yield f"{row.film}: {fault}: {row.status}, {row.reason}, {row.seconds} s"


def wrong(row: Row, films: Path) -> str:
    """What is wrong with a row; empty if nothing is."""
    if not 0 <= row.seconds <= TIMEOUT + _SLACK:
        return "took too long"
    if row.sha256 != hashlib.sha256((films / row.film).read_bytes()).hexdigest():
        return "another hash"
    if row.status is Status.SCORED:
        valid = row.probability is not None and 0 <= row.probability <= 1
        return "" if valid and row.prediction and not row.reason else "no valid score"
    if row.probability is not None and row.status is Status.FAILED:
        return "a probability for a film that failed"
    return "" if code_of(row) in _REASONS[row.status] else "a reason that cannot be"


def code_of(row: Row) -> str:
    """The reason code of a row, empty for a scored film."""
    return row.reason.partition(":")[0]
