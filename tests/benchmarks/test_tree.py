import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tree import cost, processes, processor

#: Computes in a child process, waits for it, and writes the CPU time of the child to a file.
PARENT = """
import os, sys
child = os.fork()
if child == 0:
    sum(number * number for number in range(3_000_000))
    os._exit(0)
_child, _status, used = os.wait4(child, 0)
open(sys.argv[1], "w").write(str(used.ru_utime + used.ru_stime))
"""


def test_cpu_time_of_a_child_is_counted(tmp_path: Path):
    said = tmp_path / "used"
    used = cost([sys.executable, "-c", PARENT, said])
    assert used.processor > float(said.read_text()) > 0


#: Creates one file after the other, each after the previous one was seen.
WORKER = """
import pathlib, sys, time
for number in (1, 2, 3):
    pathlib.Path(sys.argv[1], f"done-{number}").touch()
    while not pathlib.Path(sys.argv[1], f"seen-{number}").exists():
        time.sleep(0.01)
"""


def test_sample_is_taken_whenever_the_count_changes(tmp_path: Path):
    def done() -> int:
        number = len(list(tmp_path.glob("done-*")))
        (tmp_path / f"seen-{number}").touch()
        return number

    used = cost([sys.executable, "-c", WORKER, tmp_path], done)
    assert [look.done for look in used.looks] == [1, 2, 3]
    assert used.last == used.looks[-1]
    assert 0 < used.last.processor <= used.processor + 0.02  # two kernel ticks
    assert 0 < used.last.pss <= used.pss


def test_failing_command_ends_the_program_with_its_error():
    with pytest.raises(SystemExit, match="exit code 3\nno such film"):
        cost([sys.executable, "-c", "import sys; print('no such film', file=sys.stderr); exit(3)"])


def test_ended_process_has_no_cpu_time():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert processor(child.pid) == 0
    assert os.getpid() in list(processes(os.getpid()))
