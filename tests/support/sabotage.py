"""Films that make their decoder misbehave, for tests of the consequences.

The decoder process is this project's own. Python runs `sitecustomize` before anything else; here
it replaces the JPEG-LS decoder by one that does what the bytes after the stream say.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from makers import dicom_bytes, dicom_film

_SITECUSTOMIZE = """
import sys

def _obey(stream, decode):
    import ctypes, os, re, signal, time

    _picture, marker, what = bytes(stream).rpartition(b"SABOTAGE:")
    if not marker:
        return decode(stream)
    what = what.rstrip(b"\\0").decode("latin-1")
    # An empty file says that it begins; more may not be written here.
    os.close(os.open(os.path.join(os.path.dirname(__file__), "began " + what), os.O_CREAT))
    if what == "hang":
        # In C, with the interpreter lock held: an infinite loop that no thread can interrupt.
        ctypes.PyDLL(None).sleep(100_000)
    elif what == "loop":
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif what == "sleep":
        time.sleep(100_000)
    elif what == "abort":
        os.abort()
    elif what == "memory":
        bytearray(40 * 1024**3)
    elif what == "exit":
        sys.exit(3)
    elif what.isdecimal():
        os.kill(os.getpid(), int(what))
        time.sleep(100_000)
    elif what == "print":
        print("x" * 100_000, flush=True)
        os.write(1, b"x" * 100_000)
        ctypes.CDLL(None).puts(b"x" * 1000)
    elif what == "garbage":
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                pipe = fd > 2 and os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
                pipe and os.write(fd, b"garbage" * 9)
            except OSError:
                pass
    return decode(stream)

if any("screening.inference.sandbox_process" in word for word in sys.orig_argv):
    if START == "never":
        raise SystemExit(7)
    import imagecodecs
    _decode = imagecodecs.jpegls_decode
    imagecodecs.jpegls_decode = lambda stream: _obey(stream, _decode)
"""


def saboteur(folder: Path, *, start: str = "") -> str:
    """Return a ``PYTHONPATH`` that sabotages decoder processes.

    Args:
        folder: where the module is written.
        start: ``never`` to make the process end before it has started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code = _SITECUSTOMIZE.replace("START", repr(start))
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return str(folder)


def jpeg_ls_film(film: npt.NDArray[np.uint8], what: str = "") -> bytes:
    """Make a DICOM film in JPEG-LS; `what` tells a sabotaged decoder what to do."""
    stream = imagecodecs.jpegls_encode(film)
    dataset = dicom_film(film, JPEGLSLossless, WindowCenter=128, WindowWidth=256)
    dataset.PixelData = encapsulate([stream + (b"SABOTAGE:" + what.encode() if what else b"")])
    dataset["PixelData"].VR = "OB"
    return dicom_bytes(dataset)


def children(parent: int) -> set[int]:
    """Return child processes of `parent` that have not ended, including zombies; see proc(5).

    A database server started by other tests lives as long as the test run and is left out.
    """
    found = {pid for pid, _name, _state, its_parent in _processes() if its_parent == parent}
    servers = {pid for pid, name, _state, _parent in _processes() if name == "postgres"}
    return found - servers


def is_running(pid: int) -> bool:
    """Return whether the process has not ended; a zombie has ended."""
    return any(pid == other and state not in "ZX" for other, _name, state, _parent in _processes())


def _processes() -> Iterator[tuple[int, str, str, int]]:
    """Yield process id, name, state and parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            before, _bracket, after = stat.rpartition(")")
            state, parent, *_rest = after.split()
            yield int(entry.name), before.partition("(")[2], state, int(parent)


#: No test may leave such a process behind, whatever its result.
def end(pid: int) -> None:
    """Kill a process that should have ended by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
