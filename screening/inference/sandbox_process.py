"""The decoder process: reads one film after the other as its parent asks, within limits.

Its parent may kill it at any time, and it ends by itself when the parent has gone.
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

#: Seconds beyond the limit after which the kernel ends a decoder whose parent died meanwhile.
_GRACE: Final = 5.0

#: The first thing a decoder says.
READY: Final = b"ready\n"


def main() -> None:
    """Serve the parent: a line with a film on standard input, an answer on standard output."""
    # Ctrl-C at a terminal, and some service managers, reach the whole group; the parent decides what
    # becomes of its films.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    order = json.loads(sys.argv[1])
    limits = DecodeLimits(**order["limits"])
    # With these pydicom would download films of its own; to import them takes longer than to decode.
    for name in ("requests", "tqdm"):
        sys.modules[name] = None  # type: ignore[assignment]
    preprocessing = Preprocessing(**order["preprocessing"])
    reader = Reader(Path(order["folder"]), preprocessing, limits, order["exact"])
    answers = _private_output()
    _confine(limits)
    _say(answers, READY)
    for line in sys.stdin.buffer:
        # The default action of SIGALRM needs no cooperation of a decoder that hangs in C.
        signal.setitimer(signal.ITIMER_REAL, limits.seconds + _GRACE)
        answer = _read(reader, Found(**json.loads(line)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(answers, pack(answer))


def _read(reader: Reader, found: Found) -> ReadFilm:
    try:
        return reader.read(found)
    except MemoryError:
        most = f"{reader.limits.memory // 1024**2:,} MiB are allowed"
        return failed(found.film, UnreadableFilm("out_of_memory", most))


def _private_output() -> BinaryIO:
    """Standard output for the answers alone: what C libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return answers


def _say(answers: BinaryIO, message: bytes) -> None:
    answers.write(message)
    answers.flush()


def _confine(limits: DecodeLimits) -> None:
    """Memory on top of what the modules take; no core files, and no file may be written."""
    _limit(resource.RLIMIT_AS, _address_space() + limits.memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)


def _limit(what: int, most: int) -> None:
    _soft, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _address_space() -> int:
    """Bytes that this process has mapped; proc(5), statm."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
