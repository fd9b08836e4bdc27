"""A crew is stopped by one signal to its first process, whatever its others are doing just then."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import exit_codes

#: Each process says that it is there, does `{first}` if it is the first of its number, and works on.
CREW = """
import os, signal, sys, time
from pathlib import Path
from jobs.cli.supervisor import Crew

def work(number):
    begun = Path(sys.argv[1], str(number))
    first = not begun.exists()
    begun.touch()
    if first:
        {first}
    time.sleep(60)
    return 0

sys.exit(Crew(2, work, lasting=True).run())
"""


@contextmanager
def crew_of_two(folder: Path, first: str = "pass") -> Iterator[subprocess.Popen[str]]:
    script = CREW.format(first=first)
    with subprocess.Popen(
        [sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True
    ) as crew:
        try:
            yield crew
        finally:
            # Its processes are asked to stop when it is killed.
            crew.kill()


def test_a_process_that_does_not_listen_yet_is_stopped_too(tmp_path):
    with crew_of_two(tmp_path) as crew:
        while len(list(tmp_path.iterdir())) < 2 and crew.poll() is None:
            time.sleep(0.01)
        crew.send_signal(signal.SIGTERM)
        assert crew.wait(30) == exit_codes.INTERRUPTED


def test_no_process_is_replaced_after_a_signal_to_stop(tmp_path):
    with crew_of_two(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)") as crew:
        assert "worker_killed" in crew.stdout.readline()
        crew.send_signal(signal.SIGTERM)
        assert crew.wait(30) == exit_codes.INTERRUPTED
