import os
import subprocess
import sys
from pathlib import Path

import pytest

from tree import cost, processes, processor

#: Works a little, in a child that it waits for, and says in a file how much that child used.
PARENT = """
import os, sys
child = os.fork()
if child == 0:
    sum(number * number for number in range(3_000_000))
    os._exit(0)
_child, _status, used = os.wait4(child, 0)
open(sys.argv[1], "w").write(str(used.ru_utime + used.ru_stime))
"""


def test_what_a_child_of_the_command_used_is_counted(tmp_path: Path):
    said = tmp_path / "used"
    used = cost([sys.executable, "-c", PARENT, said])
    assert used.processor > float(said.read_text()) > 0


#: Does one thing after the other, each when the one before was seen.
WORKER = """
import pathlib, sys, time
for number in (1, 2, 3):
    pathlib.Path(sys.argv[1], f"done-{number}").touch()
    while not pathlib.Path(sys.argv[1], f"seen-{number}").exists():
        time.sleep(0.01)
"""


def test_a_look_is_taken_whenever_more_is_done(tmp_path: Path):
    def done() -> int:
        number = len(list(tmp_path.glob("done-*")))
        (tmp_path / f"seen-{number}").touch()
        return number

    used = cost([sys.executable, "-c", WORKER, tmp_path], done)
    assert [look.done for look in used.looks] == [1, 2, 3]
    assert used.last == used.looks[-1]
    assert 0 < used.last.processor <= used.processor + 0.02  # a tick of the kernel, twice
    assert 0 < used.last.pss <= used.pss


def test_a_command_that_fails_ends_the_program_with_what_it_said():
    with pytest.raises(SystemExit, match="exit code 3\nno such film"):
        cost([sys.executable, "-c", "import sys; print('no such film', file=sys.stderr); exit(3)"])


def test_a_process_that_has_ended_used_nothing():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert processor(child.pid) == 0
    assert os.getpid() in list(processes(os.getpid()))
