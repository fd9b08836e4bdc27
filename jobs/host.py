"""This machine: its processors, processes, users and filesystems.

In WAL mode all users of an SQLite database share memory, so they must be on one machine
(https://sqlite.org/wal.html), and locks of network filesystems are not reliable
(https://sqlite.org/useovernet.html). A queue there works for weeks, and is then corrupted.
"""

import getpass
import os
import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

#: CPU limit of this control group: microseconds of CPU time per period; cgroup v2, cpu.max.
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = _QUOTA) -> int:
    """Return the number of CPUs this process may use; in a container often fewer than exist."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        allowed = os.cpu_count() or 1
    try:
        spent, period = map(int, quota.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no such file, or "max"
        return allowed
    return max(1, min(allowed, -(-spent // period)))


def worker_name() -> str:
    """Return a unique name for this process: host, process ID and start time."""
    return f"{platform.node()}:{os.getpid()}:{_started(os.getpid())}"


def user_name() -> str:
    """Return the current user's name, or the user ID: in a container the user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def user_and_host() -> dict[str, str]:
    """Return the user and host as fields of an event in a job's history."""
    return {"user": user_name(), "host": platform.node()}


def is_dead(worker: str) -> bool:
    """Return True if `worker` was a process of this host that has ended; False if unknown."""
    host, pid, started = worker.rsplit(":", 2)
    if host != platform.node():
        return False
    seen = _started(int(pid))
    return seen is None or (seen != _HIDDEN and started not in (seen, _HIDDEN))


#: Used in place of the start time if the process exists but its start time cannot be read.
_HIDDEN: Final = "running"


def _started(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        # The system has no /proc, or hides other users' processes (hidepid, see proc(5)).
        return _HIDDEN if _exists(pid) else None
    # The second field is the program's name in parentheses and may contain spaces; see proc(5).
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


_MOUNTINFO: Final = Path("/proc/self/mountinfo")

#: Filesystem types whose files several machines may have open at once. For FUSE, the subtype; a
#: mount with the plain type ``fuse`` may be anything, and is treated as local.
_NETWORK: Final = frozenset(
    {
        # File servers.
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "coda", "ncpfs", "sshfs", "gvfsd-fuse"),
        *("davfs", "davfs2", "curlftpfs"),
        # Cluster filesystems: some have coherent locks and memory maps in some configurations, but
        # the type does not show that.
        *("ceph", "ceph-fuse", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "pvfs2"),
        *("orangefs", "mfs", "wekafs", "panfs"),
        # Object stores.
        *("s3fs", "rclone", "goofys", "gcsfuse", "blobfuse2", "juicefs"),
        # Folders shared by the host of a virtual machine, also in Docker Desktop: the host has a
        # different kernel, and memory mapped on both sides is not coherent.
        *("9p", "virtiofs", "vboxsf", "vmhgfs", "vmhgfs-fuse", "prl_fs"),
        *("fakeowner", "grpcfuse", "osxfs"),
    }
)

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo``.

    Attributes:
        number: mount ID.
        parent: ID of the parent mount; at the top, its own ID or one that is not listed.
        point: mount point, absolute.
        filesystem: type, with the subtype for FUSE: ``fuse.sshfs``.
    """

    number: str
    parent: str
    point: PurePosixPath
    filesystem: str


def network_filesystem(path: Path) -> str | None:
    """Return the type of the network filesystem that holds `path`, which need not exist yet.

    Returns:
        The kernel's name for it (``nfs4``, ``fuse.sshfs``); None if it is local or unknown.
    """
    # Before reading the mounts: resolving the path triggers automounts.
    real = PurePosixPath(os.path.realpath(path))
    try:
        # Read as bytes: text mode would treat a carriage return in a name as a line end.
        mountinfo = os.fsdecode(_MOUNTINFO.read_bytes())
    except OSError:
        return None
    mount = mount_of(real, parse_mounts(mountinfo))
    return mount.filesystem if mount and is_network(mount.filesystem) else None


def is_network(filesystem: str) -> bool:
    """Return True for a filesystem type backed by a file server, a cluster or the host of a VM."""
    return filesystem.removeprefix("fuse.") in _NETWORK


def parse_mounts(mountinfo: str) -> Iterator[Mount]:
    r"""Parse a text in the format of ``/proc/self/mountinfo``; see proc_pid_mountinfo(5).

    ``36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue``: optional
    fields may follow the sixth, up to a hyphen. Space, tab, newline and backslash are escaped as
    ``\040`` and so on. Lines in another format are skipped.
    """
    for line in mountinfo.split("\n"):
        fields = line.split(" ")
        try:
            filesystem = fields[fields.index("-", 6) + 1]
        except (ValueError, IndexError):
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        yield Mount(fields[0], fields[1], PurePosixPath(point), filesystem)


def mount_of(path: PurePosixPath, mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount that contains `path`, resolved like the kernel does, from the root down.

    That is the mount with the longest mount point, and of two at the same point the later one,
    unless a mount over a parent folder hides it.

    Args:
        path: absolute, without symlinks.
    """
    ways = [mount for mount in mounts if path.is_relative_to(mount.point)]
    numbers = {mount.number for mount in ways}
    nearest = [way for way in ways if way.parent not in numbers or way.parent == way.number]
    here = None
    while nearest:
        here = min(reversed(nearest), key=lambda way: len(way.point.parts))
        ways.remove(here)
        nearest = [way for way in ways if way.parent == here.number]
    return here
