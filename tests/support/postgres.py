"""Start a PostgreSQL server for a test, a benchmark or the chaos campaign."""

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

#: Seconds within which a server must start, recover or stop.
_PATIENCE: Final = 60.0

_USER: Final = "screening"

# Signals that stop the postmaster: see "Shutting Down the Server" in PostgreSQL's manual.
_SIGNALS: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# These lie below the ports that the kernel gives to clients. Otherwise a client that keeps calling
# a stopped server could be given that very port and be connected to itself.
_PORTS: Final = range(20_000, 32_000)

# Shared memory is kept in the folder, so that it is deleted with it.
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

# Accept connections from every network that this machine is on.
_TRUST: Final = "host all all samenet trust\n"

Mode = Literal["fast", "immediate"]


# See <linux/ipc.h>.
_IPC_RMID: Final = 0


class ServerFailed(Exception):
    """The server did not do what was requested; the message contains the end of its log."""


class Server:
    """A PostgreSQL server with its own cluster and a fixed port.

    The user ``screening`` is its superuser and needs no password. See :func:`served`.

    Args:
        folder: an empty folder for its files; for root, one that ``nobody`` owns.
        programs: PostgreSQL's programs.
        durable: whether a commit is on disk when it returns, as in production. Otherwise a crash
            may lose the last commits.
        host: address of this machine to listen on.

    Attributes:
        folder: as given; it contains the server's log.
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
        """SQLAlchemy URL of the database ``postgres``, which every cluster has."""
        return self._url("postgres")

    def database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"queue_{next(self._numbers)}"
        self._run("createdb", *self._address(), name)
        return self._url(name)

    def start(self) -> None:
        """Start, recover after a crash, and wait until connections are accepted."""
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
        """Stop as ``pg_ctl stop --mode`` does.

        Args:
            mode: ``fast`` ends all sessions and writes everything to disk; ``immediate`` drops them,
                and the next start recovers.
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

        As in a power cut, no process can finish anything; but data that was passed to the kernel is
        still written.
        """
        postmaster, self._postmaster = self._postmaster, None
        if not postmaster or postmaster.poll() is not None:
            return
        # A stopped parent cannot start processes, and the ids of its dead children stay reserved.
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
                # Readable once the process is dead, even if nobody has reaped it.
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
        """Remove the System V segment that marks the cluster as in use; nothing else removes it.

        The lock file names it in its seventh line: see ``utils/pidfile.h`` of PostgreSQL.
        """
        lock = self._data / "postmaster.pid"
        # A server that was killed early has no lock file yet, or one with fewer lines.
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
    """Run a server within the block; afterwards stop it in any case and delete its files.

    Args:
        durable: see :class:`Server`.
        host: see :class:`Server`.
        within: the folder for its folder; for root, one that ``nobody`` can reach.

    Raises:
        Unavailable: if PostgreSQL is neither installed nor can be downloaded.
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
    # Not the generator of `random` itself, which some code seeds before every test.
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerFailed(f"no port of {_PORTS} is free")


def _children(parent: int) -> list[int]:
    """Return the processes whose parent is `parent`, including dead ones that it has not reaped."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # State and parent come after the name, which can contain anything; see proc(5).
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(folder.name))
    return found
