"""A PostgreSQL server that a test, a benchmark or the chaos campaign starts for itself."""

import ctypes
import os
import random
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final, Literal

from postgres_programs import Programs, account

#: Seconds within which a server starts, recovers or stops.
_PATIENCE: Final = 60.0

_USER: Final = "screening"

# How the postmaster is asked to stop: see "Shutting Down the Server" in PostgreSQL's manual.
_SIGNALS: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Below those that the kernel gives to clients: one that calls a stopped server again and again
# would in the end be given the very port it calls, and be connected to itself.
_PORTS: Final = range(20_000, 32_000)

# Shared memory lies in the folder, so that it goes with it.
_SETTINGS: Final = """\
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 100
dynamic_shared_memory_type = mmap
"""

_HASTE: Final = """\
fsync = off
synchronous_commit = off
full_page_writes = off
"""

# Whoever is on a network that this machine is on may come in.
_TRUST: Final = "host all all samenet trust\n"

Mode = Literal["fast", "immediate"]


# <linux/ipc.h>
_IPC_RMID: Final = 0


class ServerFailed(Exception):
    """The server did not do what it was asked to; the message holds the end of its log."""


class Server:
    """A server with a cluster of its own, on a port that it keeps.

    The user ``screening`` is its superuser and needs no password. See :func:`served`.

    Args:
        folder: an empty one for its files; as root, one that ``nobody`` owns.
        programs: PostgreSQL's.
        durable: whether a commit is on the disk when it returns, as in earnest. Otherwise a crash
            may lose the last commits.
        host: address of this machine that it listens on.

    Attributes:
        folder: as given; it holds the server's log.
    """

    def __init__(
        self, folder: Path, programs: Programs, *, durable: bool, host: str = "127.0.0.1"
    ) -> None:
        self.folder: Final = folder
        self._programs = programs
        self._host = host
        self._data = folder / "data"
        self._log = folder / "log"
        self._port = _free_port()
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._make(durable=durable)

    @property
    def url(self) -> str:
        """Of the database ``postgres``, which every cluster has, for SQLAlchemy."""
        return self._url("postgres")

    def database(self) -> str:
        """Make an empty database; its URL, for SQLAlchemy."""
        name = f"queue_{next(self._numbers)}"
        self._run("createdb", *self._address(), name)
        return self._url(name)

    def start(self) -> None:
        """Start, after a crash also recover, and wait until connections are accepted."""
        if self._postmaster and self._postmaster.poll() is None:
            return
        with self._log.open("ab") as log:
            postmaster = self._programs.start(
                "postgres", "-D", self._data, cwd=self.folder, log=log
            )
        self._postmaster = postmaster
        deadline = time.monotonic() + _PATIENCE
        ready = ["pg_isready", *self._address(), "--dbname=postgres"]
        while self._programs.run(*ready, cwd=self.folder).returncode:
            if postmaster.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"the server did not start:\n{self._log_end()}")
            time.sleep(0.02)

    def stop(self, mode: Mode = "fast") -> None:
        """Stop, as ``pg_ctl stop --mode`` does.

        Args:
            mode: ``fast`` ends all sessions and writes everything down; ``immediate`` drops them as
                they are, and the next start recovers.
        """
        if not self._postmaster:
            return
        self._postmaster.send_signal(_SIGNALS[mode])
        try:
            self._postmaster.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"the server did not stop:\n{self._log_end()}") from None
        self._postmaster = None

    def restart(self, mode: Mode = "fast") -> None:
        """Stop and start again."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Kill the postmaster and all its processes at once, and wait until they are dead.

        No process has a last word, as in a power cut; but what the kernel was told to write, it
        writes.
        """
        postmaster, self._postmaster = self._postmaster, None
        if not postmaster or postmaster.poll() is not None:
            return
        # A stopped parent neither starts processes nor lets the number of a dead one go.
        postmaster.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, postmaster.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        with ExitStack() as stack:
            handles = [os.pidfd_open(child) for child in _children(postmaster.pid)]
            for handle in handles:
                stack.callback(os.close, handle)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            postmaster.kill()
            postmaster.wait()
            for handle in handles:
                # Readable once the process is dead, whether or not somebody reaps it.
                select.select([handle], [], [], _PATIENCE)
        self._forget_memory()

    def _make(self, *, durable: bool) -> None:
        options = ["--encoding=UTF8", "--locale=C", "--auth=trust", f"--username={_USER}"]
        sync = [] if durable else ["--no-sync"]
        self._run("initdb", *options, *sync, f"--pgdata={self._data}")
        settings = _SETTINGS.format(host=self._host, port=self._port) + ("" if durable else _HASTE)
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(settings)
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write(_TRUST)

    def _forget_memory(self) -> None:
        """Remove the System V segment that marks the cluster as in use, and that nobody else will.

        The lock file names it in its seventh line: see ``utils/pidfile.h`` of PostgreSQL.
        """
        lock = self._data / "postmaster.pid"
        # A server that was killed early has no lock file yet, or not so many lines in it.
        for line in lock.read_text().splitlines()[6:7] if lock.exists() else ():
            _key, number = map(int, line.split())
            ctypes.CDLL(None).shmctl(number, _IPC_RMID, None)

    def _run(self, program: str, *arguments: str) -> None:
        done = self._programs.run(program, *arguments, cwd=self.folder)
        if done.returncode:
            raise ServerFailed(f"{program} failed: {done.stderr.strip()}")

    def _address(self) -> list[str]:
        return [f"--host={self._host}", f"--port={self._port}", f"--username={_USER}"]

    def _url(self, database: str) -> str:
        return f"postgresql+pg8000://{_USER}@{self._host}:{self._port}/{database}"

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])


@contextmanager
def served(
    *, durable: bool = True, within: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[Server]:
    """A server that runs until the block is left, however; then nothing of it stays.

    Args:
        durable: see :class:`Server`; `host` likewise.
        within: the folder for its folder; as root, one that ``nobody`` can reach.

    Raises:
        Unavailable: if PostgreSQL cannot be had here.
    """
    programs = Programs.found()
    with tempfile.TemporaryDirectory(prefix="screening-postgres-", dir=within) as place:
        folder = Path(place)
        owner = account()
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        server = Server(folder, programs, durable=durable, host=host)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _free_port() -> int:
    # Not the generator of `random` itself, which some seed before every test.
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerFailed(f"no port of {_PORTS} is free")


def _children(parent: int) -> list[int]:
    """Processes whose parent is `parent`, dead ones too while it has not been told."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # After the name, which may hold anything: the state, then the parent; see proc(5).
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(folder.name))
    return found
