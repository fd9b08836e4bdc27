"""Several processes and the one that looks after them: whoever dies, and whoever is asked to stop."""

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
from jobs.cli.supervisor import Supervisor

#: Seconds for what takes a moment.
PATIENCE = 60

# What each process of the crew does: writes down who it is and what it hears, until it is told to
# end by a file. The second SIGTERM ends it.
WORK = """
import os, signal, sys, time
from pathlib import Path
from jobs.cli.supervisor import Crew
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

sys.exit(Crew(int(sys.argv[2]), work, sys.argv[3] == "lasting", pauses=(0.0,)).run())
"""


class Processes:
    """A crew in a process group of its own, as a shell would start it."""

    def __init__(self, place: Path, number: int, lasting: bool) -> None:
        self.place = place
        self.parent = subprocess.Popen(
            [sys.executable, "-c", WORK, str(place), str(number), "lasting" if lasting else ""],
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self.wait_for(number)

    def pids(self) -> dict[int, int]:
        """The number of each process that has begun, by its process id."""
        names = [path.stem.split(".") for path in self.place.glob("*.pid")]
        return {int(pid): int(number) for number, pid in names}

    def heard(self) -> list[list[str]]:
        """What each process has heard."""
        return [path.read_text().split() for path in self.place.glob("*.heard")]

    def wait_for(self, number: int) -> None:
        until(lambda: len(self.pids()) == number)

    def code(self) -> int:
        return self.parent.wait(PATIENCE)


def until(condition):
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from jobs.cli.main import cli; cli()", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
        check=False,
    )


def is_gone(pid: int) -> bool:
    """True if the process has ended, whether or not somebody has asked how."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def start(tmp_path):
    """Start a crew; whatever is left of it in the end is killed."""
    crews = []

    def started(number: int = 2, lasting: bool = True) -> Processes:
        place = tmp_path / f"crew-{len(crews)}"
        place.mkdir()
        crews.append(Processes(place, number, lasting))
        return crews[-1]

    yield started
    for crew in crews:
        for pid in [crew.parent.pid, *crew.pids()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        crew.parent.communicate()


@pytest.fixture
def quiet_signals():
    """Handlers as they were."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("quiet_signals")
@pytest.mark.parametrize(
    ("codes", "code"),
    [((0, 0), 0), ((0, 3), 3), ((3, 1), 1), ((1, 4), 4), ((4, 130), 130)],
)
def test_the_most_severe_exit_code_is_that_of_the_crew(codes, code):
    assert Supervisor(2, lambda number: codes[number], lasting=True).run() == code


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_to_each(start, how):
    crew = start(3)
    crew.parent.send_signal(how)
    until(lambda: len(crew.heard()) == 3)
    (crew.place / "obey").touch()
    assert crew.code() == exit_codes.INTERRUPTED
    assert crew.heard() == [["SIGTERM"]] * 3
    assert len(crew.pids()) == 3


def test_ctrl_c_on_a_terminal_reaches_each_process_once(start):
    crew = start()
    os.killpg(crew.parent.pid, signal.SIGINT)
    until(lambda: len(crew.heard()) == 2)
    (crew.place / "obey").touch()
    assert crew.code() == exit_codes.INTERRUPTED
    assert crew.heard() == [["SIGTERM"]] * 2


def test_a_second_signal_stops_at_once(start):
    crew = start()
    crew.parent.send_signal(signal.SIGTERM)
    until(lambda: len(crew.heard()) == 2)
    crew.parent.send_signal(signal.SIGTERM)
    # Nothing allows them to end otherwise.
    assert crew.code() == exit_codes.INTERRUPTED
    assert b"Traceback" not in crew.parent.stderr.read()


def test_a_process_that_is_killed_is_replaced(start):
    crew = start()
    killed = next(pid for pid, number in crew.pids().items() if number == 1)
    os.kill(killed, signal.SIGKILL)
    crew.wait_for(3)
    assert sorted(crew.pids().values()) == [0, 1, 1]
    (crew.place / "end").touch()
    assert crew.code() == exit_codes.SOME_FAILED
    assert b"by=SIGKILL" in crew.parent.stderr.read()


def test_a_process_of_a_lasting_crew_that_breaks_down_is_replaced(start):
    crew = start()
    (crew.place / "1.break").touch()
    crew.wait_for(3)
    assert sorted(crew.pids().values()) == [0, 1, 1]
    (crew.place / "end").touch()
    assert crew.code() == exit_codes.SOME_FAILED
    said = crew.parent.stderr.read()
    assert b"RuntimeError: nobody thought of that" in said
    assert b"worker_broken" in said


def test_a_process_that_breaks_down_is_not_replaced_where_the_work_has_an_end(start):
    crew = start(lasting=False)
    (crew.place / "1.break").touch()
    until(lambda: not (crew.place / "1.break").exists())
    (crew.place / "end").touch()
    assert crew.code() == exit_codes.ERROR
    assert len(crew.pids()) == 2


def test_a_process_that_is_killed_after_a_signal_to_stop_is_not_replaced(start):
    crew = start()
    crew.parent.send_signal(signal.SIGTERM)
    until(lambda: len(crew.heard()) == 2)
    for pid in crew.pids():
        os.kill(pid, signal.SIGKILL)
    assert crew.code() == exit_codes.INTERRUPTED
    assert len(crew.pids()) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does not tell")
def test_processes_whose_parent_is_killed_are_asked_to_stop(start):
    crew = start()
    crew.parent.kill()
    crew.code()
    until(lambda: len(crew.heard()) == 2)
    (crew.place / "obey").touch()
    until(lambda: all(is_gone(pid) for pid in crew.pids()))


def test_an_error_of_every_process_is_one_line_each(home):
    (home / "file").write_text("no queue")
    done = command("worker", "--processes", "2", "--queue", "file")
    assert done.returncode == exit_codes.ERROR
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Error: the queue file cannot be opened") for line in lines)


def test_no_thread_runs_when_processes_are_copied():
    # A lock that a thread holds would be held for ever in the copy. OpenBLAS sees to its own.
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
