"""Run the installed command over a folder of mutants and check everything that it promises."""

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

#: Time limit of a decoder, in seconds.
TIMEOUT: Final = 5.0

# Options as of a user; the memory suits two readers on a small machine.
_OPTIONS: Final = (
    *("--max-failure-rate", "1", "--decode-timeout", str(TIMEOUT), "--decode-memory", "1024"),
    *("--settle", "0"),
)

# Timeout of the command in seconds; a job of 2,500 films takes about 20 s.
_COMMAND_TIMEOUT: Final = 1800.0

# Seconds above the limit: for stopping the decoder, and for a busy machine.
_SLACK: Final = 30.0

# Maximum growth of resident memory from the second quarter of a run to the last: the C library
# keeps the memory of a film of 40 million pixels in every thread that read one. A leak shows in
# every run; see `Campaign.complaints`.
_GROWTH: Final = 192 << 20

# Peak memory of films decoded in the runner itself: several times 40 million pixels.
_PEAK: Final = 2 << 30

#: Files that may exist afterwards, in addition to films and report.
_STATE: Final = frozenset(
    {
        "home/state/screening/queue.sqlite",
        "home/state/screening/patient.key",
        "stderr",
        "stdout",
    }
)

#: Font cache of matplotlib.
_FONTS: Final = "home/state/screening/matplotlib/"

_STDERR: Final = re.compile(
    r"Screening (?P<listed>\d+) files in [^\n]+\n"
    r"(?P<files>\d+) files: (?P<scored>\d+) scored, (?P<refused>\d+) refused, "
    r"(?P<failed>\d+) failed, (?P<duplicate>\d+) duplicate; \d+ flagged as \w+\n"
    r"(?:Drift: [^\n]+\n)*"
    r"Report: [^\n]+\n"
)

#: Possible reasons; no film is removed, locked or replaced here, and no job fails.
_REASONS: Final = {
    Status.REFUSED: frozenset(REFUSALS) - {"not_followed"},
    Status.FAILED: frozenset(FAILURES) - {"vanished", "unreadable", "no_score", "not_screened"},
    Status.DUPLICATE: frozenset(DUPLICATES),
}


@dataclass(frozen=True)
class Night:
    """Result of one run.

    Attributes:
        rows: rows of the report.
        codecs: codec of each film, by file name.
        complaints: broken promises.
        watch: samples of the process.
        wall: wall-clock seconds.
    """

    rows: list[Row]
    codecs: dict[str, str]
    complaints: list[str]
    watch: Watch
    wall: float

    @property
    def quarters(self) -> tuple[float, ...]:
        """Resident bytes of the runner by quarter, from the first row to the last.

        The time before, when the model is loaded, and the time after, when pandas and SciPy are
        loaded for the report, do not count.
        """
        times = [datetime.fromisoformat(row.screened_at).timestamp() for row in self.rows]
        return self.watch.quarters(min(times), max(times)) if times else ()

    @property
    def growth(self) -> float:
        """Growth in bytes from the second to the last quarter."""
        return self.quarters[3] - self.quarters[1] if self.quarters else 0.0


def night(
    place: Path,
    mutants: Iterable[Mutant],
    *,
    flat: bool = True,
    command: Sequence[str | Path] = (COMMAND,),
) -> Night:
    """Write the mutants below `place`, screen them, and check all results.

    Args:
        place: a new folder for films, report, home and everything else that the command writes.
        flat: whether the memory of the runner must not grow, for films of similar size.
        command: command to run; another one than the default tests the checks.
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
    """Wait for the exit code; the command is killed after the timeout or on an exception."""
    try:
        return process.wait(_COMMAND_TIMEOUT)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def _stamps(films: Path) -> dict[str, tuple[int, int]]:
    entries = {path.name: path.stat() for path in films.iterdir()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in entries.items()}


def _speech(stdout: bytes, stderr: bytes) -> Iterator[str]:
    """Check the output: one line on standard output; three and any drift on standard error."""
    if b"Traceback" in stderr:
        yield f"traceback: {stderr[-3000:].decode(errors='replace')}"
    elif not _STDERR.fullmatch(stderr.decode(errors="replace")):
        yield f"said on standard error: {stderr[:1000]!r} ... {stderr[-1000:]!r}"
    if not re.fullmatch(rb"Job [^\n]+\n", stdout):
        yield f"said on standard output: {stdout[:1000]!r}"


def costs(done: Night, *, flat: bool) -> Iterator[str]:
    """Yield complaints about excessive memory or processes."""
    watch = done.watch
    if flat and done.growth > _GROWTH:
        yield f"memory grew by {done.growth / 2**20:.0f} MiB"
    if watch.peak > _PEAK:
        yield f"memory peaked at {watch.peak / 2**20:.0f} MiB"
    readers = os.cpu_count() or 1
    if watch.most_children > readers:
        yield f"{watch.most_children} children at once for {readers} readers"


def _litter(place: Path) -> Iterator[str]:
    """Yield unexpected files such as core dumps and temporary files."""
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        expected = name in _STATE or name.startswith(("films/", "report/", _FONTS))
        if not path.is_dir() and not expected:
            yield name


def _rows(rows: list[Row], films: Path) -> Iterator[str]:
    """Check that every file has one row and that every row is possible."""
    wanted = sorted(path.name for path in films.iterdir())
    if [row.film for row in rows] != wanted:
        missing = set(wanted).symmetric_difference(row.film for row in rows)
        yield f"{len(rows)} rows for {len(wanted)} files: {sorted(missing)[:10]}"
    for row in rows:
        fault = wrong(row, films)
        if fault:
            yield f"{row.film}: {fault}: {row.status}, {row.reason}, {row.seconds} s"


def wrong(row: Row, films: Path) -> str:
    """Return the fault of a row; empty if it is valid."""
    if not 0 <= row.seconds <= TIMEOUT + _SLACK:
        return "took too long"
    if row.sha256 != hashlib.sha256((films / row.film).read_bytes()).hexdigest():
        return "another hash"
    if row.status is Status.SCORED:
        valid = row.probability is not None and 0 <= row.probability <= 1
        return "" if valid and row.prediction and not row.reason else "no valid score"
    if row.probability is not None and row.status is Status.FAILED:
        return "a probability for a film that failed"
    return "" if row.reason_code in _REASONS[row.status] else "a reason that cannot be"
