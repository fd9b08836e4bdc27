"""What is no regular file, for tests of what must not be waited for."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def special(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """Put a pipe, socket, device, folder or link at a path."""

    def made(path: Path, kind: str) -> None:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            # The name of a socket may be no longer than 107 bytes.
            monkeypatch.chdir(path.parent)
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        elif kind == "device":
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("only root can make a device")
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")

    return made
