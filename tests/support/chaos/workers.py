"""Worker processes that are restarted whenever one ends."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from makers import COMMAND

#: Expected exit codes of a worker: nothing left to do, killed, asked to stop.
_EXPECTED = (0, -signal.SIGKILL, 130)


@dataclass
class Workers:
    """Several `screening worker --drain` processes on one queue.

    Attributes:
        place: folder for their output.
        queue: as on the command line.
        frozen: end time of the pause (SIGSTOP) by process ID.
        done: number of workers that found nothing left to do.
    """

    number: int
    place: Path
    queue: str
    lease: float
    environment: dict[str, str]
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    frozen: dict[int, float] = field(default_factory=dict)
    starts: int = 0
    done: int = 0
    complaints: list[str] = field(default_factory=list)

    def tend(self) -> None:
        """Start missing workers and resume paused ones when their time is over."""
        for pid, until in list(self.frozen.items()):
            if time.monotonic() >= until:
                del self.frozen[pid]
                os.kill(pid, signal.SIGCONT)
        for pid, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[pid]
            # It was already exiting when it was paused.
            self.frozen.pop(pid, None)
            if code == 0:
                self.done += 1
            elif code not in _EXPECTED:
                self.complaints.append(f"a worker ended with {code}; see {self.place}")
        while len(self.running) + self.done < self.number:
            self._start()

    def freeze(self, pid: int, seconds: float) -> None:
        """Pause a process for some time."""
        os.kill(pid, signal.SIGSTOP)
        self.frozen[pid] = time.monotonic() + seconds

    def end(self) -> None:
        """Kill all processes."""
        for process in self.running.values():
            process.kill()
            process.wait()

    def _start(self) -> None:
        self.starts += 1
        with (self.place / f"worker-{self.starts:04}.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(COMMAND, "worker", "--drain", "--log", "logfmt"),
                    *("--queue", self.queue, "--lease", str(self.lease)),
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.running[process.pid] = process
