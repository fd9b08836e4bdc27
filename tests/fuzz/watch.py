"""What a running command costs: its memory, and the processes it has started."""

import os
import select
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

#: Seconds between two looks.
_STEP: Final = 0.1


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes:
        at: seconds since 1970.
        memory: resident bytes of the command itself.
        children: process ids of all others in its session, zombies among them.
    """

    at: float
    memory: int
    children: tuple[int, ...]


@dataclass
class Watch:
    """Looks at a process and its session until it is told to stop.

    Args:
        process: leader of a session of its own.
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
        """The middle of the resident bytes in each quarter of a time."""
        looks = [look.memory for look in self.looks if start <= look.at <= end]
        if len(looks) < 4:
            return ()
        step = len(looks) / 4
        parts = (sorted(looks[int(at * step) : int((at + 1) * step)]) for at in range(4))
        return tuple(float(part[len(part) // 2]) for part in parts)

    @property
    def peak(self) -> int:
        """The most resident bytes at any look."""
        return max((look.memory for look in self.looks), default=0)

    @property
    def most_children(self) -> int:
        """The most processes beside the command at any look."""
        return max((len(look.children) for look in self.looks), default=0)

    @property
    def started(self) -> int:
        """How many different children were seen."""
        return len({child for look in self.looks for child in look.children})


def resident(process: int) -> int:
    """Resident bytes of a process, 0 if it has gone; proc(5), statm."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def together(leader: int) -> tuple[int, ...]:
    """The others of a session that were there at one moment.

    A list takes a while to read: one that ends meanwhile and one that then begins may both be in it.
    Those that are in two lists were there when the first was done.
    """
    return tuple(sorted({*session(leader)}.intersection(session(leader)) - {leader}))


def session(leader: int) -> list[int]:
    """All processes of a session, also those whose parent has gone; proc(5), stat."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                # The name in brackets may hold anything, brackets too.
                after = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(after[3]) == leader:
                found.append(int(place.name))
    return found


def end(process: int) -> None:
    """Kill a process that is nobody's child any more, and wait until it has ended."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [])
    finally:
        os.close(handle)
