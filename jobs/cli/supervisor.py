"""Run several worker processes on one machine and restart those that die."""

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

#: Seconds before a replacement process starts: doubled after each loss, up to a minute.
_PAUSES: Final = (1, 2, 4, 8, 16, 32, 60)

#: Seconds without a loss after which the pauses start over.
_CALM: Final = 3600.0

#: Exit code of a process that ended with an unexpected exception; EX_SOFTWARE in sysexits.h.
_CRASHED: Final = 70

#: Signals that ask a process to stop.
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Backoff:
    """Pauses before replacement processes start.

    Args:
        pauses: seconds, after the first loss, the second, and so on; the last value applies to all
            further ones.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, pauses: tuple[float, ...] = _PAUSES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pauses = pauses
        self._clock = clock
        self._losses = 0
        self._lost_at = clock()

    def next(self) -> float:
        """Return the pause after a loss that happened just now."""
        now = self._clock()
        if now - self._lost_at > _CALM:
            self._losses = 0
        self._lost_at = now
        self._losses += 1
        return self._pauses[min(self._losses, len(self._pauses)) - 1]


class Supervisor:
    """Runs the same work in several processes and replaces processes that are killed.

    Args:
        work: is called with the number of its process, from 0, and returns an exit code. It must
            handle SIGTERM.
        lasting: the work has no end, so that processes that crash are also replaced.
        pauses: see :class:`Backoff`.
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
        self._backoff = Backoff(pauses)
        self._running: dict[int, ForkProcess] = {}
        self._stopping = False

    def run(self) -> int:
        """Wait until all processes have ended, and return the exit code for the shell.

        Every stop signal is passed on: a process that gets a second one stops at once.
        """
        for each in _SIGNALS:
            signal.signal(each, self._pass_on)
        for number in range(self._number):
            self._start(number)
        codes = []
        while self._running:
            wait([process.sentinel for process in self._running.values()])
            for number, process in list(self._running.items()):
                code = process.exitcode
                if code is None:
                    continue
                del self._running[number]
                if self._stopping or not self._is_lost(code):
                    codes.append(_shell_code(code))
                    continue
                log = structlog.get_logger().bind(process=number)
                if code < 0:
                    log.error("worker_killed", by=signal.Signals(-code).name)
                else:
                    log.error("worker_broken")
                self._start(number, self._backoff.next())
        if self._stopping or exit_codes.INTERRUPTED in codes:
            return exit_codes.INTERRUPTED
        return exit_codes.most_severe(codes)

    def _is_lost(self, code: int) -> bool:
        """Return whether the process is to be replaced."""
        return code < 0 or (code == _CRASHED and self._lasting)

    def _start(self, number: int, pause: float = 0.0) -> None:
        # Forking is safe here: nothing is open yet, and the only threads are those of OpenBLAS,
        # which handles a fork itself.
        process = get_context("fork").Process(
            target=self._run_child, args=(number, os.getpid(), pause)
        )
        with _signals_blocked():
            if not self._stopping:
                process.start()
                self._running[number] = process

    def _run_child(self, number: int, parent: int, pause: float) -> None:
        """Run `work` in the new process.

        Signals are blocked at first; afterwards they end the process until `work` handles them.
        """
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Ctrl-C reaches all processes of a terminal's group. In a group of its own, the child gets
        # each signal only once, from its parent.
        os.setpgid(0, 0)
        _terminate_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        time.sleep(pause)
        try:
            code = self._run_work(number)
        except Exception:  # noqa: BLE001  # the supervisor must learn of any failure
            traceback.print_exc()
            code = _CRASHED
        sys.exit(code)

    def _run_work(self, number: int) -> int:
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


def _shell_code(code: int) -> int:
    """Convert the exit code of a process to the one for the shell."""
    if code < 0:
        return exit_codes.INTERRUPTED
    return exit_codes.ERROR if code == _CRASHED else code


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block stop signals within the block; those that arrive are delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _terminate_with(parent: int) -> None:
    """On Linux, have the kernel send SIGTERM to this process when its parent is killed."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(exit_codes.INTERRUPTED)
