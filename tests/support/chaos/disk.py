"""A small disk that tests can fill up."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BLOCK = bytes(1 << 20)


@contextmanager
def small_disk(place: Path, mebibytes: int) -> Iterator["Disk"]:
    """Mount a tmpfs at `place`; requires root.

    Raises:
        OSError: if it cannot be mounted.
    """
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "chaos", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Disk:
    """A mounted filesystem."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / ".ballast"

    def fill(self) -> None:
        """Use all free space."""
        size = len(_BLOCK)
        with self._ballast.open("ab", buffering=0) as file:
            while size:
                try:
                    file.write(_BLOCK[:size])
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Release the space used by :meth:`fill`."""
        with suppress(FileNotFoundError):
            self._ballast.unlink()
