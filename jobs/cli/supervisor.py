"""Several worker processes on one machine, and one that looks after them."""

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import Final

import click
import structlog

from jobs import exit_codes
from screening.errors import ScreeningError

#: See prctl(2).
_PR_SET_PDEATHSIG: Final = 1

#: Seconds until a process that replaces one that was killed begins: doubled each time.
_PAUSES: Final = (1, 2, 4, 8, 16, 32, 60)

#: Exit code of a process that ended by an error that nobody thought of; sysexits.h.
_BROKEN: Final = 70

#: What asks a process to stop.
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Runs the same work in several processes, and replaces one that was killed.

    Args:
        work: given the number of its process, from 0; returns an exit code. It listens to SIGTERM.
        lasting: the work has no end, so that a process that broke down is replaced, too.
        pauses: seconds until a process that replaces another begins: after the first that was
            lost, the second, and so on; then the last.
    """

    def __init__(
        self,
        processes: int,
        work: Callable[[int], int],
        lasting: bool,
        pauses: tuple[float, ...] = _PAUSES,
    ) -> None:
        self._work = work
        self._lasting = lasting
        self._number = processes
        self._pauses = pauses
        self._running: dict[int, ForkProcess] = {}
        self._stopping = False

    def run(self) -> int:
        """Wait until all have ended; the exit code for the shell.

        Signals to stop are passed on, each of them: a process that is asked twice stops at once.
        """
        for each in _SIGNALS:
            signal.signal(each, self._pass_on)
        for number in range(self._number):
            self._start(number)
        codes, lost = [], 0
        while self._running:
            wait([process.sentinel for process in self._running.values()])
            for number, process in list(self._running.items()):
                code = process.exitcode
                if code is None:
                    continue
                del self._running[number]
                if self._stopping or not self._is_lost(code):
                    codes.append(_shown(code))
                    continue
                log = structlog.get_logger().bind(process=number)
                if code < 0:
                    log.error("worker_killed", by=signal.Signals(-code).name)
                else:
                    log.error("worker_broken")
                self._start(number, self._pauses[min(lost, len(self._pauses) - 1)])
                lost += 1
        if self._stopping or exit_codes.INTERRUPTED in codes:
            return exit_codes.INTERRUPTED
        return exit_codes.most_severe(codes)

    def _is_lost(self, code: int) -> bool:
        """True if the process is to be replaced."""
        return code < 0 or (code == _BROKEN and self._lasting)

    def _start(self, number: int, pause: float = 0.0) -> None:
        # Nothing is open yet, and no thread runs but those of OpenBLAS, which knows how to be
        # copied: a copy of this process is as good as new.
        process = get_context("fork").Process(target=self._begin, args=(number, os.getpid(), pause))
        with _signals_wait():
            if not self._stopping:
                process.start()
                self._running[number] = process

    def _begin(self, number: int, parent: int, pause: float) -> None:
        """The new process; signals wait, and will end it until it listens to them by itself."""
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Ctrl-C reaches all processes of a terminal's group; these hear it from their parent, once.
        os.setpgid(0, 0)
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        time.sleep(pause)
        try:
            code = self._code(number)
        except Exception:  # noqa: BLE001  # whatever it is, the crew is to hear of it
            traceback.print_exc()
            code = _BROKEN
        sys.exit(code)

    def _code(self, number: int) -> int:
        try:
            return self._work(number)
        except KeyboardInterrupt:
            return exit_codes.INTERRUPTED
        except ScreeningError as error:
            click.echo(f"Error: {error}", err=True)
            return exit_codes.ERROR

    def _pass_on(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True
        for process in self._running.values():
            if process.exitcode is None:
                process.terminate()


def _shown(code: int) -> int:
    """The exit code of a process, as the shell is told."""
    if code < 0:
        return exit_codes.INTERRUPTED
    return exit_codes.ERROR if code == _BROKEN else code


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals to stop that come meanwhile are heard afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """If the parent is killed, the kernel asks this process to stop; on Linux."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(exit_codes.INTERRUPTED)
