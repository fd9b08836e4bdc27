"""Worker: choice of jobs, their results, and detection of dead workers."""

import os
import platform
import subprocess
import sys
from itertools import combinations_with_replacement
from pathlib import Path

import pytest

from jobs import exit_codes
from jobs.errors import JobFailed
from jobs.exit_codes import most_severe
from jobs.host import is_dead, worker_name
from jobs.queue.jobs import State
from jobs.worker.job_run import LEASE
from jobs.worker.worker import work
from makers import write_film
from queue_makers import (
    PowerCut,
    SerialEngine,
    Witness,
    make_job,
    make_tools,
)

pytestmark = pytest.mark.usefixtures("naps")


@pytest.fixture
def submit(store, tmp_path):
    """Queue a job with its own folder of three films."""

    def submitted(name="job-1", failed=0):
        folder = tmp_path / name
        for number in range(3):
            write_film(folder / f"{number}.png", seed=number)
        for number in range(failed):
            (folder / f"empty-{number}.png").touch()
        job = make_job(name, folder)
        store.add(job)
        return job

    return submitted


@pytest.fixture
def process():
    """A process that runs until a line is written to it."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        yield child
        child.communicate(b"\n" if child.poll() is None else None)


def name_of(pid):
    """Return the worker name of process `pid`, which is running."""
    started = worker_name_field(pid)
    return f"{platform.node()}:{pid}:{started}"


def worker_name_field(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123
        return stat.read().rpartition(")")[2].split()[19]


def end(process):
    process.communicate(b"\n")


needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def test_this_process_is_not_dead():
    assert not is_dead(worker_name())


@needs_proc
def test_process_is_dead_only_after_it_ended(process):
    name = name_of(process.pid)
    assert not is_dead(name)
    end(process)
    assert is_dead(name)


@needs_proc
def test_zombie_process_is_dead(process):
    name = name_of(process.pid)
    process.stdin.write(b"\n")
    process.stdin.flush()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(name)


@needs_proc
def test_process_without_readable_proc_entry_is_not_dead(process, monkeypatch):
    name = name_of(process.pid)

    def hidden(*_arguments, **_options):
        raise FileNotFoundError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", hidden)
        assert not is_dead(name)
        end(process)
        process.wait()
        assert is_dead(name)


@needs_proc
def test_worker_is_dead_if_its_pid_was_reused():
    host, pid, started = worker_name().rsplit(":", 2)
    assert is_dead(f"{host}:{pid}:{int(started) - 1}")


def test_worker_on_other_host_is_never_dead():
    _host, _pid, started = worker_name().rsplit(":", 2)
    assert not is_dead(f"another-{platform.node()}:999999999:{started}")


def test_worker_drains_queue_in_order(store, submit, screener):
    jobs = [submit("b"), submit("a", failed=1), submit("c")]
    ended = [(job.name, job.exit_code) for job in work(make_tools(store, screener), drain=True)]
    assert ended == [("b", 0), ("a", 3), ("c", 0)]
    for job in jobs:
        assert store.get(job.name).state is State.DONE
        assert (job.report / "predictions.csv").exists()


def test_job_is_held_under_name_of_worker(store, submit, screener):
    submit()
    (job,) = work(make_tools(store, screener), drain=True)
    assert job.worker == worker_name()


def test_empty_queue_is_drained_at_once(store, screener):
    assert list(work(make_tools(store, screener), drain=True)) == []


def test_worker_for_one_job_ignores_others(store, submit, screener):
    for name in ("a", "b", "c"):
        submit(name)
    ended = list(work(make_tools(store, screener), drain=False, only="b"))
    assert [job.name for job in ended] == ["b"]
    assert [job.state for job in store.jobs()] == [State.QUEUED, State.DONE, State.QUEUED]


@needs_proc
def test_job_of_dead_worker_is_taken_over_at_once(store, submit, screener, clock, process):
    job = submit()
    dead = name_of(process.pid)
    first = store.claim(dead, LEASE)
    end(process)
    (taken,) = work(make_tools(store, screener), drain=True)
    assert (taken.name, taken.fence, taken.exit_code) == (job.name, first.fence + 1, exit_codes.OK)
    assert clock.seconds < first.lease_until
    assert store.get(job.name).state is State.DONE


@needs_proc
def test_only_job_of_dead_worker_is_taken_over(store, submit, screener, process):
    submit("of the living")
    submit("of the dead")
    living = store.claim(name_of(os.getppid()), LEASE)
    store.claim(name_of(process.pid), LEASE)
    end(process)
    taken = next(iter(work(make_tools(store, screener), drain=True)))
    assert taken.name == "of the dead"
    assert store.get("of the living") == living


def test_job_with_expired_lease_on_other_host_is_taken_over(store, submit, screener, clock):
    submit()
    store.claim("another-host:1:1", LEASE)
    clock.seconds += LEASE + 1
    (job,) = work(make_tools(store, screener), drain=True)
    assert (job.name, job.fence, job.exit_code) == ("job-1", 2, exit_codes.OK)


def test_draining_worker_waits_for_job_on_other_host(store, submit, screener, clock, naps):
    submit()
    store.claim("another-host:1:1", LEASE)

    def wait_for_long():
        clock.seconds += LEASE + 1

    naps += [lambda: None, wait_for_long]
    (job,) = work(make_tools(store, screener), drain=True)
    assert (job.fence, job.exit_code) == (2, exit_codes.OK)
    assert naps == []


def test_worker_without_drain_waits_for_next_job(store, submit, screener, naps):
    def interrupt():
        raise KeyboardInterrupt

    naps += [lambda: submit("a"), lambda: submit("b"), interrupt]
    ended = work(make_tools(store, screener), drain=False)
    assert [next(ended).name, next(ended).name] == ["a", "b"]
    with pytest.raises(KeyboardInterrupt):
        next(ended)


@pytest.mark.parametrize("dies_at", [0, 1])
def test_interrupted_job_is_released_with_its_rows(store, submit, screener, dies_at):
    job = submit()
    engine = SerialEngine(dies_at, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        list(work(make_tools(store, screener, engine=engine), drain=True))
    left = store.get(job.name)
    assert (left.state, left.worker, left.committed) == (State.QUEUED, "", 2 * dies_at)
    assert [job.exit_code for job in work(make_tools(store, screener), drain=True)] == [0]
    assert sum(screener.predictor.batches) == 3


def test_job_that_cannot_be_run_fails_with_message(store, submit, screener):
    job = submit()

    def refuse(_job):
        raise JobFailed("the bundle is not the same")

    tools = make_tools(store, screener, open_screener=refuse)
    assert [job.exit_code for job in work(tools, drain=True)] == [exit_codes.ERROR]
    ended = store.get(job.name)
    assert (ended.state, ended.exit_code) == (State.FAILED, exit_codes.ERROR)
    assert ended.message == "the bundle is not the same"
    assert ended.finished_at


def test_failed_job_does_not_stop_the_next(store, submit, screener):
    lost = submit("a")
    submit("b")
    for film in lost.folder.iterdir():
        film.unlink()
    lost.folder.rmdir()
    ended = [(job.name, job.exit_code) for job in work(make_tools(store, screener), drain=True)]
    assert ended == [("a", exit_codes.ERROR), ("b", exit_codes.OK)]
    assert str(lost.folder) in store.get("a").message


def test_unknown_error_leaves_job_running_for_next_worker(store, submit, screener, clock):
    job = submit()
    tools = make_tools(store, screener, engine=SerialEngine(1, PowerCut()))
    with pytest.raises(PowerCut):
        list(work(tools, drain=True))
    assert store.get(job.name).state is State.RUNNING
    clock.seconds += LEASE + 1
    assert [job.exit_code for job in work(make_tools(store, screener), drain=True)] == [0]


class Takeover(Witness):
    """Another worker takes over and finishes the job while the first is stuck."""

    def __init__(self, store, clock):
        super().__init__()
        self._store, self._clock = store, clock

    def committed(self, rows, seconds):
        super().committed(rows, seconds)
        if len(self.batches) == 1:
            self._clock.seconds += LEASE + 1
            robbed = self._store.claim("another-host:1:1", LEASE, only="a")
            self._store.finish(robbed, exit_codes.SYSTEMIC_FAILURE, "as the other one saw it")


def test_worker_that_lost_its_job_continues_with_next(store, submit, screener, clock):
    submit("a")
    submit("b")
    tools = make_tools(store, screener, watcher=Takeover(store, clock))
    codes = {job.name: job.exit_code for job in work(tools, drain=True)}
    assert codes["b"] == exit_codes.OK
    assert store.get("a").message == "as the other one saw it"


ORDER = (0, 3, 1, 4)


@pytest.mark.parametrize(
    "codes",
    [list(pair) for size in (1, 2, 3) for pair in combinations_with_replacement(ORDER, size)],
)
def test_exit_code_is_that_of_most_severe_job(codes):
    expected = max(codes, key=ORDER.index)
    assert most_severe(codes) == most_severe(codes[::-1]) == expected


def test_worker_without_jobs_exits_with_0():
    assert most_severe([]) == exit_codes.OK
