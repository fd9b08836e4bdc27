"""Decode films in child processes, so that a decoder that hangs or crashes loses only its film.

Plain PNG and JPEG are read in this process. For every other format the parent sends the film's
name; the child reads the file and answers with a JSON head and the tensor's bytes. The parent
never unpickles data from a child, and knows its size in advance.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Final, Self

from screening.errors import DecoderError, NotAFilm, UnreadableFilm
from screening.files import Found, film_path
from screening.imaging.film import DecodeLimits
from screening.imaging.raster import is_installed
from screening.imaging.sniff import FIRST_BYTES, is_plain
from screening.inference.reader import Reader, ReadFilm, failed, hash_of, read_file
from screening.inference.sandbox_messages import Garbled, unpack
from screening.inference.sandbox_process import READY
from screening.model.preprocess import Preprocessing

#: Seconds within which a child must have started; a cold disk is slow.
_BEGIN: Final = 120.0

#: Returning memory to the system after each film would cost a fifth of the time; mallopt(3), glibc.
#: Starting threads for linear algebra takes as long as importing numpy, and a child needs none.
_ENVIRONMENT: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "OPENBLAS_NUM_THREADS": "1",
}

#: Capacity of a pipe in bytes: a whole answer, so that a child need not wait for the parent.
_PIPE: Final = 1 << 18

#: Size in bytes from which decoding a PNG takes longer than a round trip to a child.
_LARGE: Final = 200_000

#: The first large PNGs are read in this process: a child would take longer to start.
_FEW: Final = 32

#: Films that cost as much as starting a child; one more child is started per this many films.
_WORTH: Final = 16

#: Seconds to wait for a busy child; by then another child would have started.
_PATIENCE: Final = 0.5

#: The child gets the parent's module path, so that a packed program finds its own modules.
_START: Final = "import sys; sys.path[:] = sys.argv[2:]; from screening.inference.sandbox_process import main; main()"


class IsolatedReader:
    """Reads films for several threads; each uses a child process of its own when it needs one.

    Args:
        folder: the folder of the films.
        preprocessing: preprocessing of the model that they are read for.
        exact: decode every film in full.
    """

    def __init__(
        self,
        folder: Path,
        preprocessing: Preprocessing,
        limits: DecodeLimits | None = None,
        *,
        exact: bool = False,
    ) -> None:
        self.folder = folder
        self._reader = Reader(folder, preprocessing, limits or DecodeLimits(), exact)
        self._lock = threading.Condition()
        self._children: set[_Child] = set()
        self._idle: list[_Child] = []
        self._closed = False
        self._large = 0
        self._isolated = 0

    @classmethod
    def of(cls, recipe: Reader) -> Self:
        """Return a reader like `recipe` that isolates formats that may hang or crash."""
        return cls(recipe.folder, recipe.preprocessing, recipe.limits, exact=recipe.exact)

    @property
    def recipe(self) -> Reader:
        """A reader that gives the same results and can be sent to another machine."""
        return self._reader

    def known(self, _found: Found) -> None:
        """Return None: every film must be read."""

    def read(self, found: Found) -> ReadFilm:
        """Read, decode, gate and preprocess one film. Never raises because of a file's content.

        Raises:
            DecoderError: if no child process can be started.
        """
        if not found.is_file or (not self._is_worth_a_child(found) and self._is_plain(found)):
            return self._read_here(found)
        child = self._take()
        film = child.read(found)
        with self._lock:
            kept = child.fit and not self._closed
            if kept:
                self._idle.append(child)
            else:
                self._children.discard(child)
            self._lock.notify()
        if not kept:
            child.end()
        return film

    def close(self) -> None:
        """End all children, including busy ones, whose films are no longer needed."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            idle, busy = self._idle, self._children.difference(self._idle)
            self._idle, self._children = [], set()
        for child in idle:
            child.end()
        # The thread that waits for a busy child notices that it is dead and cleans up.
        for child in busy:
            child.kill()

    def _read_here(self, found: Found) -> ReadFilm:
        try:
            return self._reader.read(found)
        except MemoryError:
            error = UnreadableFilm("out_of_memory", "the system has no memory left")
            path = film_path(self.folder, found.film)
            return replace(failed(found.film, error), sha256=hash_of(path))

    def _take(self) -> "_Child":
        with self._lock:
            self._isolated += 1
            self._lock.wait_for(self._may_go_on, _PATIENCE)
            if self._closed:
                raise DecoderError("this reader is closed")
            if self._idle:
                return self._idle.pop()
            # Start it under the lock: a child that is not in the set would outlive close().
            child = _Child(self._reader)
            self._children.add(child)
            return child

    def _may_go_on(self) -> bool:
        """False while a busy child is worth waiting for: too few films to start another one."""
        few = self._isolated <= _WORTH * len(self._children)
        return self._closed or bool(self._idle) or not few

    def _is_worth_a_child(self, found: Found) -> bool:
        """True for large PNG after the first few; the fastest decoder blocks all other threads."""
        if found.size < _LARGE or not found.film.lower().endswith(".png") or not is_installed():
            return False
        with self._lock:
            self._large += 1
            return self._large > _FEW

    def _is_plain(self, found: Found) -> bool:
        """True for files that are safe to read in this process or that no process can read."""
        try:
            first = read_file(film_path(self.folder, found.film), FIRST_BYTES)
            return is_plain(first, found.film)
        except (NotAFilm, UnreadableFilm):
            return True


class _Child:
    """One decoder process.

    Attributes:
        fit: False once it has ended or has reached its memory limit.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        order = {
            "folder": str(reader.folder.absolute()),
            "preprocessing": asdict(reader.preprocessing),
            "limits": asdict(reader.limits),
            "exact": reader.exact,
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(order), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_ENVIRONMENT | os.environ,
            )
        except OSError as error:
            raise DecoderError(f"no decoder process can be started: {error.strerror}") from error
        self.fit = True
        # Fall back to the default pipe size: pipe memory per user is limited, and some systems
        # cannot resize pipes.
        with suppress(OSError, AttributeError):
            fcntl.fcntl(_pipe(self._process.stdout), fcntl.F_SETPIPE_SZ, _PIPE)
        self._deadline = time.monotonic() + _BEGIN
        try:
            begun = self._receive(len(READY)) == READY
        except (EOFError, TimeoutError):
            begun = False
        if not begun:
            self.end()
            raise DecoderError(
                "no decoder process can be started; to see why, run "
                f"`{sys.executable} -c 'import screening.inference.sandbox_process'`"
            )

    def read(self, found: Found) -> ReadFilm:
        """Return the child's answer, or a failed film if the child hangs, crashes or garbles it."""
        seconds = self._reader.limits.seconds
        started = time.monotonic()
        self._deadline = started + seconds
        try:
            self._send(json.dumps(vars(found)).encode() + b"\n")
            film = unpack(self._receive, found.film, self._reader.preprocessing.shape)
        except TimeoutError:
            error = UnreadableFilm("decode_timeout", f"{seconds:g} s are allowed")
            film = failed(found.film, error)
        except (EOFError, OSError, Garbled):
            film = failed(found.film, self._cause_of_death())
        else:
            if film.reason is None or film.reason.code != "out_of_memory":
                return film
        # After running out of memory a child's heap may be fragmented: end it too.
        self.kill()
        sha256 = hash_of(film_path(self._reader.folder, found.film))
        return replace(film, sha256=sha256, seconds=time.monotonic() - started)

    def kill(self) -> None:
        """Kill the process and reap it, so that no zombie remains."""
        self.fit = False
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Kill the process and close its pipes; only while no other thread reads from them."""
        self.kill()
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()

    def _cause_of_death(self) -> UnreadableFilm:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return UnreadableFilm("decoder_crashed", "it gave no valid answer")
        if code == -signal.SIGKILL:
            return UnreadableFilm("out_of_memory", "the system killed it")
        if code == -signal.SIGALRM:
            return UnreadableFilm(
                "decode_timeout", f"{self._reader.limits.seconds:g} s are allowed"
            )
        return UnreadableFilm("decoder_crashed", _name_of(code))

    def _send(self, data: bytes) -> None:
        # Far less than a pipe holds, so a child that does not read cannot block the parent.
        _pipe(self._process.stdin).write(data)

    def _receive(self, count: int) -> bytes:
        """Return exactly `count` bytes.

        Raises:
            TimeoutError: if they have not arrived by the deadline.
            EOFError: if the child has ended.
        """
        pipe = _pipe(self._process.stdout).fileno()
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        received = bytearray()
        while len(received) < count:
            left = self._deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError
            part = os.read(pipe, count - len(received))
            if not part:
                raise EOFError
            received += part
        return bytes(received)


def _name_of(code: int) -> str:
    """Describe how a process ended; see :attr:`subprocess.Popen.returncode`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # real-time signals have no name
        return f"signal {-code}"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise DecoderError("a decoder process has no pipe")
    return stream
