"""Measure the time, CPU time and memory of a command and all processes that it starts.

Memory is PSS, which counts a page shared by several processes once; see proc_pid_smaps(5).
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

#: Seconds between two samples, and between two samples of memory, which cost the kernel more.
_LOOK: Final = 0.02
_MEMORY: Final = 0.2

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Look:
    """Resources used up to one moment.

    Attributes:
        seconds: seconds since the start of the command.
        processor: CPU seconds of all processes of the tree.
        pss: peak memory of the tree in any sample, in bytes.
        done: the caller's count, for example of rows.
    """

    seconds: float
    processor: float
    pss: int
    done: int


@dataclass(frozen=True)
class Cost:
    """Resources used by a command from its start to its end.

    Attributes:
        seconds: wall-clock seconds.
        processor: CPU seconds of all processes.
        pss: peak memory of all processes, in bytes.
        looks: one sample for each change of `done`, in order.
    """

    seconds: float
    processor: float
    pss: int
    looks: tuple[Look, ...]

    @property
    def last(self) -> Look:
        """The sample at the last change of `done`; the totals if the caller counts nothing."""
        if self.looks:
            return self.looks[-1]
        return Look(self.seconds, self.processor, self.pss, 0)


def cost(
    command: Sequence[str | Path],
    done: Callable[[], int] = lambda: 0,
    accepted: Sequence[int] = (0,),
) -> Cost:
    """Run `command` and wait for it; its standard output is discarded.

    Args:
        done: called at every sample.
        accepted: accepted exit codes.

    Raises:
        SystemExit: with the command's standard error, if it ends with another exit code.
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
    """CPU seconds of all children that have ended, and of their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processes(root: int) -> Iterator[int]:
    """Yield a process and its living descendants; see proc(5)."""
    yield root
    with suppress(OSError):
        for task in Path(f"/proc/{root}/task").iterdir():
            with suppress(OSError):
                children = (task / "children").read_text(encoding="ascii")
                for child in children.split():
                    yield from processes(int(child))


def processor(root: int) -> float:
    """CPU seconds of a process, its descendants, and the children that these have waited for."""
    while True:
        tree, ticks = list(processes(root)), 0
        for process in tree:
            with suppress(OSError):
                line = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
                ticks += sum(map(int, line.rpartition(")")[2].split()[11:15]))
        # The time of an ended process moves to its parent: do not miss it or count it twice.
        if list(processes(root)) == tree:
            return ticks / _TICKS


def _pss(process: int) -> int:
    """PSS of a process in bytes; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
