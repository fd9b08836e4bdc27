"""Tests that one signal to the supervisor stops all worker processes, whatever they are doing."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import exit_codes

#: Each process creates its file, runs `{first}` if it is the first with its number, and works on.
CREW = """
import os, signal, sys, time
from pathlib import Path
from jobs.cli.supervisor import Supervisor

def work(number):
    begun = Path(sys.argv[1], str(number))
    first = not begun.exists()
    begun.touch()
    if first:
        {first}
    time.sleep(60)
    return 0

sys.exit(Supervisor(2, work, lasting=True).run())
"""


@contextmanager
def supervisor_of_two(folder: Path, first: str = "pass") -> Iterator[subprocess.Popen[str]]:
    script = CREW.format(first=first)
    with subprocess.Popen(
        [sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        try:
            yield supervisor
        finally:
            # The kernel asks the worker processes to stop when the supervisor is killed.
            supervisor.kill()


def test_process_without_signal_handlers_yet_is_stopped(tmp_path):
    with supervisor_of_two(tmp_path) as supervisor:
        while len(list(tmp_path.iterdir())) < 2 and supervisor.poll() is None:
            time.sleep(0.01)
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(30) == exit_codes.INTERRUPTED


def test_no_process_is_replaced_after_stop_signal(tmp_path):
    with supervisor_of_two(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)") as supervisor:
        assert "worker_killed" in supervisor.stdout.readline()
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(30) == exit_codes.INTERRUPTED
