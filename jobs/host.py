"""This machine: its processes, users and file systems.

In WAL mode all who use a database share memory, so they must be on one machine
(https://sqlite.org/wal.html), and the locks of network filesystems are not to be relied on
(https://sqlite.org/useovernet.html). Such a queue works for weeks, and then it is damaged.
"""

import getpass
import os
import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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


_MOUNTINFO: Final = Path("/proc/self/mountinfo")

#: Types whose files several machines may have open at once. Of those in user space (FUSE) the
#: sub-type; a mount that says no more than ``fuse`` may be anything, and is taken for a local one.
_NETWORK: Final = frozenset(
    {
        # File servers.
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "coda", "ncpfs", "sshfs", "gvfsd-fuse"),
        *("davfs", "davfs2", "curlftpfs"),
        # Clusters: some have locks and memory maps that agree, at some settings; none says which.
        *("ceph", "ceph-fuse", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "pvfs2"),
        *("orangefs", "mfs", "wekafs", "panfs"),
        # Object stores.
        *("s3fs", "rclone", "goofys", "gcsfuse", "blobfuse2", "juicefs"),
        # Folders of the host in a virtual machine, and so in Docker Desktop: the host has another
        # kernel, and memory that is mapped on both sides does not agree.
        *("9p", "virtiofs", "vboxsf", "vmhgfs", "vmhgfs-fuse", "prl_fs"),
        *("fakeowner", "grpcfuse", "osxfs"),
    }
)

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo``.

    Attributes:
        number: of this mount.
        parent: number of the mount that it was put on; itself, or one not listed, at the top.
        point: where it is, absolute.
        filesystem: its type; of those in user space with a sub-type: ``fuse.sshfs``.
    """

    number: str
    parent: str
    point: PurePosixPath
    filesystem: str


def network_filesystem(path: Path) -> str | None:
    """The type of the network filesystem that `path` lies on, or will lie on.

    Returns:
        As the kernel calls it (``nfs4``, ``fuse.sshfs``); None if it is local or cannot be known.
    """
    # Before the mounts are read: the way there has mounted what is mounted on demand.
    real = PurePosixPath(os.path.realpath(path))
    try:
        # Not as text: Python would take a carriage return in a name for the end of a line.
        mountinfo = os.fsdecode(_MOUNTINFO.read_bytes())
    except OSError:
        return None
    mount = mount_of(real, parse_mounts(mountinfo))
    return mount.filesystem if mount and is_network(mount.filesystem) else None


def is_network(filesystem: str) -> bool:
    """True for a type that a file server, a cluster or the host of this machine is behind."""
    return filesystem.removeprefix("fuse.") in _NETWORK


def parse_mounts(mountinfo: str) -> Iterator[Mount]:
    r"""The mounts of a text like ``/proc/self/mountinfo``; proc_pid_mountinfo(5).

    ``36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue``: after the
    sixth field there may be others, until a hyphen. Space, tab, newline and backslash are ``\040``
    and the like. Lines of another form are left out.
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
    """The mount that `path` lies on, found as the kernel walks: from the top, mount by mount.

    That is the one with the longest mount point, and of two at the same point the later one, unless
    another was put over a folder further up and hides it.

    Args:
        path: absolute, without links.
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
