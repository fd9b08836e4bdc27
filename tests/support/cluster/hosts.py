"""Virtual hosts: network namespaces, each connected to a switch by a link that can be cut."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from makers import COMMAND

#: Not visible outside: the switch is in a namespace as well.
_NETWORK: Final = "10.213.7."

_NUMBERS: Final = count(1)

#: CLONE_NEWNET, <linux/sched.h>
_NEW_NETWORK: Final = 0x40000000


class NoHosts(Exception):
    """Namespaces cannot be created here; the message gives the reason."""


@dataclass
class Host:
    """One virtual host; it shares disks and processors with the others.

    Attributes:
        address: IPv4.
        place: folder for the output of its programs.
    """

    name: str
    address: str
    place: Path
    environment: Mapping[str, str]
    _switch: str
    _port: str
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *words: object, log: str = "log", **extra: str) -> subprocess.Popen[bytes]:
        """Start a program of this Python environment; its output goes to a file."""
        program, *arguments = map(str, words)
        with (self.place / log).open("ab") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, COMMAND.with_name(program), *arguments],
                env={**self.environment, **extra},
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._started.append(process)
        return process

    def said(self, log: str = "log") -> str:
        """Return its output so far."""
        return (self.place / log).read_text(errors="replace")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Run this thread, and what it starts, on this host; see setns(2)."""
        with Path("/proc/thread-self/ns/net").open() as before:
            _enter(Path("/run/netns", self.name))
            try:
                yield
            finally:
                _enter(Path(f"/proc/self/fd/{before.fileno()}"))

    def kill(self) -> None:
        """Kill all processes of the host at once."""
        while pids := _ip("netns", "pids", self.name).split():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.01)
        for process in self._started:
            process.wait()

    def unplug(self) -> None:
        """Cut the link to the switch: packets are lost without notice."""
        _ip("-n", self._switch, "link", "set", self._port, "down")

    def plug(self) -> None:
        """Restore the link."""
        _ip("-n", self._switch, "link", "set", self._port, "up")


@contextmanager
def hosts(number: int, place: Path, environment: Mapping[str, str]) -> Iterator[list[Host]]:
    """Create hosts on one switch; everything is removed at the end.

    Raises:
        NoHosts: without root, or where a container does not allow namespaces.
    """
    mark = f"s{os.getpid()}x{next(_NUMBERS)}"
    switch = f"{mark}sw"
    with ExitStack() as stack:
        _add(stack, switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        made = []
        for index in range(1, number + 1):
            name, port = f"{mark}h{index}", f"port{index}"
            _add(stack, name)
            (place / name).mkdir(parents=True)
            host = Host(name, f"{_NETWORK}{index}", place / name, environment, switch, port)
            _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "eth0", "netns", name)
            _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
            stack.callback(host.kill)
            made.append(host)
        yield made


def _add(stack: ExitStack, name: str) -> None:
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise NoHosts(f"no network namespace can be made: {said.strip()}") from error
    stack.callback(_ip, "netns", "delete", name)


def _enter(namespace: Path) -> None:
    with namespace.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
    return done.stdout
