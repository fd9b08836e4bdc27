"""Tests for the supervisor: replacing worker processes that die, and passing on stop signals."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from command import screening
from jobs import exit_codes
from jobs.cli.supervisor import Backoff, Supervisor

#: Seconds to wait for something that normally takes a moment.
PATIENCE = 60

# Each worker process writes down its number and the signals it receives, and runs until a file
# tells it to stop. The second SIGTERM interrupts it.
WORK = """
import os, signal, sys, time
from pathlib import Path
from jobs.cli.supervisor import Supervisor
from jobs.outputs.logs import configure

configure(json=False, stream=sys.stderr)
place = Path(sys.argv[1])

def work(number):
    heard = place / f"{os.getpid()}.heard"
    def hear(_signal, _frame):
        with heard.open("a") as file:
            file.write("SIGTERM\\n")
        if len(heard.read_text().splitlines()) == 2:
            raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, hear)
    (place / f"{number}.{os.getpid()}.pid").touch()
    broken = place / f"{number}.break"
    while not (place / "end").exists():
        if broken.exists():
            broken.unlink()
            raise RuntimeError("nobody thought of that")
        if heard.exists() and (place / "obey").exists():
            return 130
        time.sleep(0.01)
    return 3 if number else 0

sys.exit(Supervisor(int(sys.argv[2]), work, sys.argv[3] == "lasting", pauses=(0.0,)).run())
"""


class SupervisedProcesses:
    """A supervisor in a process group of its own, as a shell would start it."""

    def __init__(self, place: Path, number: int, lasting: bool) -> None:
        self.place = place
        self.parent = subprocess.Popen(
            [sys.executable, "-c", WORK, str(place), str(number), "lasting" if lasting else ""],
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self.wait_for(number)

    def pids(self) -> dict[int, int]:
        """Return the number of each process that has started, by process id."""
        names = [path.stem.split(".") for path in self.place.glob("*.pid")]
        return {int(pid): int(number) for number, pid in names}

    def heard(self) -> list[list[str]]:
        """Return the signals that each process has received."""
        return [path.read_text().split() for path in self.place.glob("*.heard")]

    def wait_for(self, number: int) -> None:
        wait_until(lambda: len(self.pids()) == number)

    def code(self) -> int:
        return self.parent.wait(PATIENCE)


def wait_until(condition):
    """Wait until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from jobs.cli.main import cli; cli()", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
        check=False,
    )


def is_gone(pid: int) -> bool:
    """Return whether the process has ended; zombies count as ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def start(tmp_path):
    """Start supervisors; kill all remaining processes at the end."""
    all_supervised = []

    def started(number: int = 2, lasting: bool = True) -> SupervisedProcesses:
        place = tmp_path / f"crew-{len(all_supervised)}"
        place.mkdir()
        all_supervised.append(SupervisedProcesses(place, number, lasting))
        return all_supervised[-1]

    yield started
    for supervised in all_supervised:
        for pid in [supervised.parent.pid, *supervised.pids()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        supervised.parent.communicate()


@pytest.fixture
def signal_handlers_restored():
    """Restore the signal handlers afterwards."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_pauses_grow_and_start_over_after_an_hour_without_losses():
    times = iter([0, 1, 2, 3, 3603, 7204])
    backoff = Backoff((1, 2, 4), lambda: next(times))
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 4, 1]


@pytest.mark.usefixtures("signal_handlers_restored")
@pytest.mark.parametrize(
    ("codes", "code"),
    [((0, 0), 0), ((0, 3), 3), ((3, 1), 1), ((1, 4), 4), ((4, 130), 130)],
)
def test_supervisor_returns_most_severe_exit_code(codes, code):
    assert Supervisor(2, lambda number: codes[number], lasting=True).run() == code


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_passed_on_once_to_each_process(start, how):
    supervised = start(3)
    supervised.parent.send_signal(how)
    wait_until(lambda: len(supervised.heard()) == 3)
    (supervised.place / "obey").touch()
    assert supervised.code() == exit_codes.INTERRUPTED
    assert supervised.heard() == [["SIGTERM"]] * 3
    assert len(supervised.pids()) == 3


def test_ctrl_c_on_terminal_reaches_each_process_once(start):
    supervised = start()
    os.killpg(supervised.parent.pid, signal.SIGINT)
    wait_until(lambda: len(supervised.heard()) == 2)
    (supervised.place / "obey").touch()
    assert supervised.code() == exit_codes.INTERRUPTED
    assert supervised.heard() == [["SIGTERM"]] * 2


def test_second_signal_stops_at_once(start):
    supervised = start()
    supervised.parent.send_signal(signal.SIGTERM)
    wait_until(lambda: len(supervised.heard()) == 2)
    supervised.parent.send_signal(signal.SIGTERM)
    # Only the second signal can end them.
    assert supervised.code() == exit_codes.INTERRUPTED
    assert b"Traceback" not in supervised.parent.stderr.read()


def test_killed_process_is_replaced(start):
    supervised = start()
    killed = next(pid for pid, number in supervised.pids().items() if number == 1)
    os.kill(killed, signal.SIGKILL)
    supervised.wait_for(3)
    assert sorted(supervised.pids().values()) == [0, 1, 1]
    (supervised.place / "end").touch()
    assert supervised.code() == exit_codes.SOME_FAILED
    assert b"by=SIGKILL" in supervised.parent.stderr.read()


def test_crashed_process_is_replaced_if_work_is_endless(start):
    supervised = start()
    (supervised.place / "1.break").touch()
    supervised.wait_for(3)
    assert sorted(supervised.pids().values()) == [0, 1, 1]
    (supervised.place / "end").touch()
    assert supervised.code() == exit_codes.SOME_FAILED
    output = supervised.parent.stderr.read()
    assert b"RuntimeError: nobody thought of that" in output
    assert b"worker_broken" in output


def test_crashed_process_is_not_replaced_if_work_ends(start):
    supervised = start(lasting=False)
    (supervised.place / "1.break").touch()
    wait_until(lambda: not (supervised.place / "1.break").exists())
    (supervised.place / "end").touch()
    assert supervised.code() == exit_codes.ERROR
    assert len(supervised.pids()) == 2


def test_process_killed_after_stop_signal_is_not_replaced(start):
    supervised = start()
    supervised.parent.send_signal(signal.SIGTERM)
    wait_until(lambda: len(supervised.heard()) == 2)
    for pid in supervised.pids():
        os.kill(pid, signal.SIGKILL)
    assert supervised.code() == exit_codes.INTERRUPTED
    assert len(supervised.pids()) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does not tell")
def test_processes_get_sigterm_when_parent_is_killed(start):
    supervised = start()
    supervised.parent.kill()
    supervised.code()
    wait_until(lambda: len(supervised.heard()) == 2)
    (supervised.place / "obey").touch()
    wait_until(lambda: all(is_gone(pid) for pid in supervised.pids()))


def test_error_in_every_process_prints_one_line_each(home):
    (home / "file").write_text("no queue")
    done = command("worker", "--processes", "2", "--queue", "file")
    assert done.returncode == exit_codes.ERROR
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Error: the queue file cannot be opened") for line in lines)


def test_only_one_thread_runs_before_forking():
    # A lock that a thread holds during the fork would stay locked forever in the child. OpenBLAS
    # handles its own threads.
    script = (
        "import os, jobs.cli.main, jobs.cli.bootstrap, jobs.cli.supervisor; "
        "print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == "1\n"


def test_several_processes_drain_a_queue_together(store, films, home):
    for number in range(4):
        assert screening("submit", films, "--out", f"report-{number}", "--settle", 0).exit_code == 0
    done = command("worker", "--drain", "--processes", "2")
    assert done.returncode == exit_codes.OK, done.stderr
    assert {job.state.value for job in store.jobs()} == {"done"}
    assert len(list(home.glob("report-*/predictions.csv"))) == 4
