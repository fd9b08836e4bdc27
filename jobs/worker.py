"""Take jobs from the queue, one after the other."""

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from jobs import exit_codes
from jobs.errors import LeaseLost, SystemicFailure
from jobs.job import Job
from jobs.runner import LEASE, Tools, carry_out
from jobs.states import OPEN, State
from screening.errors import ScreeningError

#: Seconds between looks at an empty queue.
_POLL = 2.0


def worker_name() -> str:
    """Who this process is: host, process and when it started, so that no two are the same."""
    return f"{platform.node()}:{os.getpid()}:{_started(os.getpid())}"


def is_dead(worker: str) -> bool:
    """True if `worker` was a process of this host that has ended; False if that is not known."""
    host, pid, started = worker.rsplit(":", 2)
    return host == platform.node() and started != _started(int(pid))


def work(tools: Tools, drain: bool, only: str | None = None) -> Iterator[tuple[Job, int]]:
    """Carry out jobs as they come, and yield each with its exit code.

    Args:
        drain: stop when no job is waiting or running; otherwise wait for more.
        only: carry out this job and no other.

    A job whose worker has died is taken over: at once if that was on this machine, else when its
    lease has run out.
    """
    store, me = tools.store, worker_name()
    while True:
        job = store.claim(me, LEASE, only)
        if job is not None:
            try:
                code = _carry_out(job, tools)
            except LeaseLost:
                # Another worker has it now, and will finish it. If it has done so already, the
                # heat maps that were drawn meanwhile are nobody's.
                if store.get(job.name).state not in OPEN:
                    _clear_up(job)
                continue
            yield job, code
            continue
        left = [job for job in store.jobs(*OPEN) if only in (None, job.name)]
        if not left and (drain or only):
            return
        dead = [job for job in left if job.state is State.RUNNING and is_dead(job.worker)]
        for job in dead:
            store.expire(job)
        if not dead:
            time.sleep(_POLL)


def most_severe(codes: list[int]) -> int:
    """The exit code of a worker, from those of its jobs."""
    order = (
        exit_codes.SYSTEMIC_FAILURE,
        exit_codes.ERROR,
        exit_codes.SOME_FAILED,
        exit_codes.OK,
    )
    return next((code for code in order if code in codes), exit_codes.OK)


def _carry_out(job: Job, tools: Tools) -> int:
    try:
        code, message = carry_out(job, tools), ""
    except LeaseLost:
        raise
    except SystemicFailure as error:
        code, message = exit_codes.SYSTEMIC_FAILURE, str(error)
    except ScreeningError as error:
        code, message = exit_codes.ERROR, str(error)
    except KeyboardInterrupt:
        tools.store.release(job)
        raise
    tools.store.finish(job, code, message)
    _clear_up(job)
    return code


def _clear_up(job: Job) -> None:
    """A job that ended without a report leaves no pictures behind."""
    if job.gallery is not None:
        job.gallery.clear()


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return _exists(pid)
    # The second field is the program's name in brackets and may hold spaces; see proc(5).
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _exists(pid: int) -> str:
    """Where there is no /proc, all that can be said is whether the process exists."""
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
