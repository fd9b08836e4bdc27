"""Who a worker is, whether it is still alive, and how many processors it may use."""

import getpass
import os
import platform
from pathlib import Path
from typing import Final

#: What this control group may use: microseconds of processor time in so many; cgroup v2, cpu.max.
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = _QUOTA) -> int:
    """Processors that this process may use: in a container often fewer than the machine has."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        allowed = os.cpu_count() or 1
    try:
        spent, period = map(int, quota.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # none, or "max"
        return allowed
    return max(1, min(allowed, -(-spent // period)))


def worker_name() -> str:
    """Who this process is: host, process and when it started, so that no two are the same."""
    return f"{platform.node()}:{os.getpid()}:{_started(os.getpid())}"


def user_name() -> str:
    """Who runs this; in a container the user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def user_and_host() -> str:
    """Who does something, and where, as a job's history says it."""
    return f"user {user_name()}, host {platform.node()}"


def is_dead(worker: str) -> bool:
    """True if `worker` was a process of this host that has ended; False if that is not known."""
    host, pid, started = worker.rsplit(":", 2)
    if host != platform.node():
        return False
    seen = _started(int(pid))
    return seen is None or (seen != _HIDDEN and started not in (seen, _HIDDEN))


#: Instead of when it started: there is such a process, and no more is known of it.
_HIDDEN: Final = "running"


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        # There is no /proc here, or it hides what other users run (hidepid, see proc(5)).
        return _HIDDEN if _exists(pid) else None
    # The second field is the program's name in brackets and may hold spaces; see proc(5).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
