"""What a command costs with all processes that it starts: time, processor time and memory.

Memory is PSS, in which a page that several processes share counts once; proc_pid_smaps(5).
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

#: Seconds between two looks, and between two that measure memory, which costs the kernel more.
_LOOK: Final = 0.02
_MEMORY: Final = 0.2

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Look:
    """What was used so far.

    Attributes:
        seconds: since the command was started.
        processor: seconds of it, of all processes of the tree.
        pss: most bytes of the tree at any look.
        done: what the caller counts, such as rows.
    """

    seconds: float
    processor: float
    pss: int
    done: int


@dataclass(frozen=True)
class Cost:
    """What a command used from its start to its end.

    Attributes:
        looks: one for each time that `done` had changed, in order.
    """

    seconds: float
    processor: float
    pss: int
    looks: tuple[Look, ...]

    @property
    def last(self) -> Look:
        """When all was done that the caller counts; for a caller that counts nothing, the end."""
        if self.looks:
            return self.looks[-1]
        return Look(self.seconds, self.processor, self.pss, 0)


def cost(
    command: Sequence[str | Path],
    done: Callable[[], int] = lambda: 0,
    accepted: Sequence[int] = (0,),
) -> Cost:
    """Run `command` and wait for it; its output goes nowhere.

    Args:
        done: asked at every look.
        accepted: exit codes. With another one this program ends, and says what the command said.
    """
    before = _waited_for()
    began = time.perf_counter()
    looks: list[Look] = []
    most, memory_at, counted = 0, 0.0, 0
    with TemporaryFile("w+", encoding="utf-8") as said:
        words = [str(word) for word in command]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said) as process:
            while process.poll() is None:
                now = time.perf_counter() - began
                if (count := done()) != counted:
                    counted = count
                    looks.append(Look(now, processor(process.pid), most, count))
                if now >= memory_at:
                    most = max(most, sum(map(_pss, processes(process.pid))))
                    memory_at = now + _MEMORY
                time.sleep(_LOOK)
        seconds = time.perf_counter() - began
        if process.returncode not in accepted:
            said.seek(0)
            raise SystemExit(f"{words}: exit code {process.returncode}\n{said.read()}")
    return Cost(seconds, _waited_for() - before, most, tuple(looks))


def _waited_for() -> float:
    """Processor seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processes(root: int) -> Iterator[int]:
    """A process and all that descend from it, as far as they live; proc(5)."""
    yield root
    with suppress(OSError):
        for task in Path(f"/proc/{root}/task").iterdir():
            with suppress(OSError):
                children = (task / "children").read_text(encoding="ascii")
                for child in children.split():
                    yield from processes(int(child))


def processor(root: int) -> float:
    """Seconds used by a process, by all that descend from it, and by those they have waited for."""
    while True:
        tree, ticks = list(processes(root)), 0
        for process in tree:
            with suppress(OSError):
                line = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
                ticks += sum(map(int, line.rpartition(")")[2].split()[11:15]))
        # What one that ended had used moves to its parent: it must not be missed, nor counted twice.
        if list(processes(root)) == tree:
            return ticks / _TICKS


def _pss(process: int) -> int:
    """Bytes; 0 for a process that has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
