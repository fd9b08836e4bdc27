"""Monitor a running command: its memory and the processes that it starts."""

import os
import select
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

#: Seconds between two samples.
_STEP: Final = 0.1


@dataclass(frozen=True)
class Look:
    """One sample.

    Attributes:
        at: seconds since 1970.
        memory: resident bytes of the command itself.
        children: process ids of all others in its session, including zombies.
    """

    at: float
    memory: int
    children: tuple[int, ...]


@dataclass
class Watch:
    """Samples a process and its session until the context ends.

    Args:
        process: leader of its own session.
    """

    process: int
    looks: list[Look] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(_STEP):
            memory = resident(self.process)
            if memory:
                self.looks.append(Look(time.time(), memory, together(self.process)))

    def quarters(self, start: float, end: float) -> tuple[float, ...]:
        """Median of the resident bytes in each quarter of a period; empty with too few samples."""
        looks = [look.memory for look in self.looks if start <= look.at <= end]
        if len(looks) < 4:
            return ()
        step = len(looks) / 4
        parts = (sorted(looks[int(at * step) : int((at + 1) * step)]) for at in range(4))
        return tuple(float(part[len(part) // 2]) for part in parts)

    @property
    def peak(self) -> int:
        """Maximum of the resident bytes in any sample."""
        return max((look.memory for look in self.looks), default=0)

    @property
    def most_children(self) -> int:
        """Maximum number of other processes in any sample."""
        return max((len(look.children) for look in self.looks), default=0)

    @property
    def started(self) -> int:
        """Number of different child processes in all samples."""
        return len({child for look in self.looks for child in look.children})


def resident(process: int) -> int:
    """Resident bytes of a process; 0 if it has ended; see statm in proc(5)."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def together(leader: int) -> tuple[int, ...]:
    """Return the other processes of a session that existed at the same moment.

    Reading the list takes a while. A process that ends meanwhile and one that starts afterwards may
    both be in it. Processes in two consecutive lists existed when the first list was complete.
    """
    return tuple(sorted({*session(leader)}.intersection(session(leader)) - {leader}))


def session(leader: int) -> list[int]:
    """List all processes of a session, including orphans; see stat in proc(5)."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                # The name in parentheses may contain any character, including parentheses.
                after = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(after[3]) == leader:
                found.append(int(place.name))
    return found


def end(process: int) -> None:
    """Kill an orphaned process and wait until it has ended."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [])
    finally:
        os.close(handle)
