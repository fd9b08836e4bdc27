"""The decoder process: reads one film after another for its parent, within limits.

The parent may kill it at any time; it ends by itself when the parent is gone.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import BinaryIO, Final

from screening.errors import UnreadableFilm
from screening.files import Found
from screening.imaging.film import DecodeLimits
from screening.inference.reader import Reader, ReadFilm, failed
from screening.inference.sandbox_messages import pack
from screening.model.preprocess import Preprocessing

#: Seconds beyond the limit after which the kernel ends a decoder whose parent has died.
_GRACE: Final = 5.0

#: The first message of a decoder.
READY: Final = b"ready\n"


def main() -> None:
    """Serve the parent: read a line per film from standard input, answer on standard output."""
    # Ctrl-C in a terminal, and some service managers, signal the whole group; the parent decides
    # what happens to its films.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    order = json.loads(sys.argv[1])
    limits = DecodeLimits(**order["limits"])
    # pydicom imports these to download sample files; importing them takes longer than decoding.
    for name in ("requests", "tqdm"):
        sys.modules[name] = None  # type: ignore[assignment]
    preprocessing = Preprocessing(**order["preprocessing"])
    reader = Reader(Path(order["folder"]), preprocessing, limits, order["exact"])
    answers = _private_output()
    _confine(limits)
    _write(answers, READY)
    for line in sys.stdin.buffer:
        # The default action of SIGALRM also ends a decoder that hangs in C code.
        signal.setitimer(signal.ITIMER_REAL, limits.seconds + _GRACE)
        answer = _read(reader, Found(**json.loads(line)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, pack(answer))


def _read(reader: Reader, found: Found) -> ReadFilm:
    try:
        return reader.read(found)
    except MemoryError:
        most = f"{reader.limits.memory // 1024**2:,} MiB are allowed"
        return failed(found.film, UnreadableFilm("out_of_memory", most))


def _private_output() -> BinaryIO:
    """Reserve standard output for answers; whatever C libraries print is discarded."""
    answers = os.fdopen(os.dup(1), "wb")
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    return answers


def _write(answers: BinaryIO, message: bytes) -> None:
    answers.write(message)
    answers.flush()


def _confine(limits: DecodeLimits) -> None:
    """Limit memory on top of what the modules take; forbid core files and writing files."""
    _limit(resource.RLIMIT_AS, _address_space() + limits.memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)


def _limit(what: int, most: int) -> None:
    _soft, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _address_space() -> int:
    """Return the bytes that this process has mapped; proc(5), statm."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
